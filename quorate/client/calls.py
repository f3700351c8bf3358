"""The open calls of one client: which wait to be sent, which to be answered, and until when.

Pure bookkeeping, no I/O: `quorate.client.pipeline` moves the bytes. A call is in `_open` from its
start to its end, and besides in `_waiting` while it has yet to be (re)sent.
"""

from __future__ import annotations

from asyncio import Future
from collections import deque
from typing import Final

MESSAGE_CALLS_MAX: Final = 1024
"""Most calls in one message. Ours: large enough to share its cost, small enough to stay quick."""

MESSAGE_BYTES_MAX: Final = 1 << 20
"""Most body bytes in a message of more than one call. Ours."""

BODY_BYTES_MAX: Final = 4 << 20
"""Largest body of one call. Source: a router's limit on messages, for these and 64 KiB more.

One call over it would break the stream for all others.
"""


class Call:
    """One attempt after another to do one operation; the request id is the same for all.

    `future` resolves to (status, body), or to None when the deadline has passed.
    """

    __slots__ = (
        "body",
        "deadline",
        "doubtful",
        "future",
        "id",
        "operation",
        "request_id",
        "sent",
    )

    def __init__(self, operation: str, body: bytes, request_id: bytes, deadline: float) -> None:
        """Take what is sent, and the deadline on the loop's clock, seconds."""
        self.operation = operation
        self.body = body
        self.request_id = request_id
        self.deadline = deadline
        self.id = 0
        self.sent = False  # the present attempt may have reached a router
        self.doubtful = False  # an earlier attempt may have been done
        self.future: Future[tuple[int, bytes] | None]


class Calls:
    """All open calls of one stream. At most `open_max` of them."""

    def __init__(self, open_max: int) -> None:
        """Start with none."""
        assert open_max >= 1
        self.open_max = open_max
        self._open: dict[int, Call] = {}
        self._waiting: deque[Call] = deque()
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether another call must wait for one of these to end."""
        return len(self._open) >= self.open_max

    @property
    def has_waiting(self) -> bool:
        """Whether something is to be sent."""
        return bool(self._waiting)

    def add(self, call: Call) -> None:
        """Take one more attempt of a call, to be sent."""
        assert not self.is_full
        self._last_id = call.id = self._last_id + 1
        self._open[call.id] = call
        self._waiting.append(call)

    def take_batch(self) -> list[Call]:
        """Return the calls for the next message and mark them sent; ended ones are left out."""
        batch: list[Call] = []
        size_bytes = 0
        waiting, still_open = self._waiting, self._open
        while waiting and len(batch) < MESSAGE_CALLS_MAX:
            call = waiting[0]
            if call.id in still_open:
                size_bytes += len(call.body)
                if batch and size_bytes > MESSAGE_BYTES_MAX:
                    break
                call.sent = True
                batch.append(call)
            waiting.popleft()
        return batch

    def answer(self, call_id: int, status: int, body: bytes) -> None:
        """Resolve a call; an answer to one that has ended already is ignored."""
        call = self._open.pop(call_id, None)
        if call is not None and not call.future.done():
            call.future.set_result((status, body))

    def answer_all(self, status: int, body: bytes) -> None:
        """Resolve every call with one answer: nobody of this client is served."""
        for call_id in list(self._open):
            self.answer(call_id, status, body)

    def forget(self, call: Call) -> None:
        """Drop a call whose caller no longer waits."""
        self._open.pop(call.id, None)

    def resend_all(self) -> None:
        """The stream broke: everything unanswered is to be sent again, oldest first."""
        for call in self._open.values():
            call.doubtful = call.doubtful or call.sent
        self._waiting = deque(self._open.values())

    def expire(self, now: float) -> float | None:
        """Resolve every call whose deadline has passed; return the earliest one left, if any."""
        late = [call for call in self._open.values() if call.deadline <= now]
        for call in late:
            del self._open[call.id]
            if not call.future.done():
                call.future.set_result(None)
        return min((call.deadline for call in self._open.values()), default=None)
