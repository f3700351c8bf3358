"""What a node owes the routers: answers gathered in columns, one message per router and turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from node.codec import LeaderHint, Page, encode_reply
from quorate.cluster.outcome import Outcome

if TYPE_CHECKING:
    from quorate.v1 import node_pb2

REPLY_BYTES_MAX: Final = 4 << 20
"""Bytes of images at which a reply is full. Ours: a page, which cannot be split, may come on top
and still pass (node.channels.MESSAGE_BYTES_MAX)."""


class RouteStream:
    """One router's stream as the host sees it: answers go in, one reply message comes out.

    `wake` is called once when there is something to send and nothing was waiting before.
    """

    __slots__ = (
        "_accepted",
        "_leaders",
        "_outcomes",
        "_pages",
        "_payloads",
        "_slots",
        "_units",
        "_wake",
        "closed",
    )

    def __init__(self, wake: Callable[[], None]) -> None:
        """Start with nothing owed."""
        self._wake = wake
        self.closed = False
        self._accepted = 0
        self._leaders: list[LeaderHint] = []
        self._pages: deque[Page] = deque()
        self._slots: list[int] = []
        self._outcomes: list[Outcome] = []
        self._units: list[int] = []
        self._payloads: list[bytes] = []

    def answer(self, slot: int, outcome: Outcome, units: int = 0, payload: bytes = b"") -> None:
        """Answer one write or get."""
        self._slots.append(slot)
        self._outcomes.append(outcome)
        self._units.append(units)
        self._payloads.append(payload)

    def answer_page(self, page: Page) -> None:
        """Answer one range read."""
        self._pages.append(page)

    def accept(self, sequence: int) -> None:
        """Tell the router that it may send its next batch."""
        self._accepted = sequence

    def hint_leaders(self, hints: Sequence[LeaderHint]) -> None:
        """Tell the router about changes of leadership."""
        self._leaders.extend(hints)

    def flush(self) -> None:
        """Wake the sender if anything is owed; called once at the end of a turn."""
        if self.has_reply():
            self._wake()

    def has_reply(self) -> bool:
        """Return whether anything is owed."""
        return bool(self._slots or self._accepted or self._pages or self._leaders)

    def take_reply(self, catalog_epoch: int, clock_ms: int) -> node_pb2.RouteReply:
        """Hand over what is owed as one message; call again while `has_reply`.

        Nearly always that is everything. Large images are split over messages of some
        REPLY_BYTES_MAX: a larger one would not pass, and would hold up both loops.
        """
        count = self._fitting_answers()
        room_bytes = REPLY_BYTES_MAX - sum(map(len, self._payloads[:count]))
        pages = self._take_pages(room_bytes)
        reply = encode_reply(
            accepted=self._accepted,
            slots=self._slots[:count],
            outcomes=self._outcomes[:count],
            units=self._units[:count],
            payloads=self._payloads[:count],
            pages=pages,
            leaders=self._leaders,
            catalog_epoch=catalog_epoch,
        )
        reply.clock_ms = clock_ms
        self._accepted = 0
        self._leaders = []
        del self._slots[:count], self._outcomes[:count]
        del self._units[:count], self._payloads[:count]
        return reply

    def _fitting_answers(self) -> int:
        """Return how many answers go into the next message: all, or up to the bytes' bound."""
        size_bytes = 0
        for count, payload in enumerate(self._payloads, start=1):
            size_bytes += len(payload)
            if size_bytes >= REPLY_BYTES_MAX:
                return count
        return len(self._payloads)

    def _take_pages(self, room_bytes: int) -> list[Page]:
        """Take pages until the room is used up; one that is larger goes alone."""
        pages: list[Page] = []
        while self._pages and room_bytes > 0:
            page = self._pages.popleft()
            pages.append(page)
            room_bytes -= sum(map(len, page.images)) + sum(map(len, page.keys))
        return pages
