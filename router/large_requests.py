"""Prepares large requests in a thread of its own: on the loop they would hold up all others.

One at a time, and the networks that they come from in turn.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

WAITING_BYTES_MAX: Final = 64 << 20
"""Most bytes of requests that wait. Ours: what is made of JSON takes several times its memory."""

WAITING_BYTES_PER_NETWORK_MAX: Final = WAITING_BYTES_MAX // 2
"""Most of them from one network. Ours."""

LARGE_BYTES: Final = 32 << 10
"""A request of more bytes is large. Ours: the loop takes less than 10 ms for any that is not."""

SWITCH_SECONDS: Final = 0.001
"""How long the thread keeps the interpreter when the loop wants it. Ours: by default it is 5 ms,
and a write takes several turns of the loop."""

Outcome = Callable[[], Any]
"""Returns what the work has returned, or raises what it has raised."""


@dataclass(slots=True)
class _Waiting:
    size_bytes: int
    work: Callable[[], Any]
    done: Callable[[Outcome], None]


class LargeRequests:
    """The thread, and what waits for it."""

    def __init__(self) -> None:
        """Start with nothing; the thread begins with the first request."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="large-requests")
        self._waiting: OrderedDict[str, deque[_Waiting]] = OrderedDict()  # by network, in turn
        self._bytes_by_network: dict[str, int] = {}
        self._is_running = False

    def put(
        self,
        network: str,
        size_bytes: int,
        work: Callable[[], Any],
        done: Callable[[Outcome], None],
    ) -> bool:
        """Have `work` done in the thread, and `done` called on the loop; False: no room.

        A request finds room if its network has none that waits, whatever its size.
        """
        of_network = self._bytes_by_network.get(network, 0)
        if of_network and (
            of_network + size_bytes > WAITING_BYTES_PER_NETWORK_MAX
            or sum(self._bytes_by_network.values()) + size_bytes > WAITING_BYTES_MAX
        ):
            return False
        self._bytes_by_network[network] = of_network + size_bytes
        self._waiting.setdefault(network, deque()).append(_Waiting(size_bytes, work, done))
        self._run_next()
        return True

    def drop_all(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self._bytes_by_network.clear()

    def _run_next(self) -> None:
        if self._is_running or not self._waiting:
            return
        network, queue = self._waiting.popitem(last=False)
        waiting = queue.popleft()
        if queue:
            self._waiting[network] = queue  # behind the others
            self._bytes_by_network[network] -= waiting.size_bytes
        else:
            del self._bytes_by_network[network]
        self._is_running = True
        loop = asyncio.get_running_loop()

        def ended(future: Future[Any]) -> None:
            loop.call_soon_threadsafe(self._ended, waiting, future)

        self._thread.submit(waiting.work).add_done_callback(ended)

    def _ended(self, waiting: _Waiting, future: Future[Any]) -> None:
        self._is_running = False
        try:
            waiting.done(future.result)
        finally:
            self._run_next()

    def close(self) -> None:
        """Let the thread end."""
        self.drop_all()
        self._thread.shutdown(wait=False, cancel_futures=True)
