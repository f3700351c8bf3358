"""Prepares large requests in a thread of its own: on the loop they would hold up all others.

One at a time, and the networks that they come from in turn.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from model.errors import ModelError

WAITING_BYTES_MAX: Final = 256 << 20
"""Most bytes of requests that wait. Ours: as of bodies that come over HTTP."""

WAITING_BYTES_PER_NETWORK_MAX: Final = WAITING_BYTES_MAX // 2
"""Most of them from one network. Ours."""

LARGE_BYTES: Final = 32 << 10
"""A request of more bytes is large. Ours: the loop takes less than 10 ms for any that is not."""

SWITCH_SECONDS: Final = 0.001
"""How long the thread keeps the interpreter when the loop wants it. Ours: by default it is 5 ms,
and a write takes several turns of the loop."""

REST_SECONDS_MIN: Final = 0.005
"""After work that took longer the thread rests for as long. Ours: as long as it works the loop has
no more than its turns, and a stranger can send one large request after the other."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the work has returned, or the error that it has raised."""

    result: Any = None
    error: Exception | None = None


def take_apart(value: object) -> None:
    """Empty a JSON value, which nobody has any more, from within.

    To free half a million values at once keeps the interpreter for long.
    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(inner for inner in each.values() if isinstance(inner, dict | list))
            each.clear()
        elif isinstance(each, list):
            waiting.extend(inner for inner in each if isinstance(inner, dict | list))
            each.clear()


def _outcome_of(work: Callable[[], Any]) -> Outcome:
    """Do the work; return its outcome, which holds nothing of what the work had besides."""
    try:
        return Outcome(work())
    except Exception as error:  # noqa: BLE001 - it is for whoever waits for the outcome
        if not isinstance(error, ModelError):
            return Outcome(error=error)
        error.__context__ = None
        return Outcome(error=error.with_traceback(None))


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

        work, done = waiting.work, waiting.done

        def run() -> None:
            began_at = time.monotonic()
            outcome = _outcome_of(work)
            seconds = time.monotonic() - began_at
            loop.call_soon_threadsafe(self._ended, done, outcome, seconds)

        # A collection would walk all that a large text becomes, and keep everybody waiting.
        gc.disable()
        self._thread.submit(run)

    def _ended(self, done: Callable[[Outcome], None], outcome: Outcome, seconds: float) -> None:
        gc.enable()
        if seconds > REST_SECONDS_MIN:
            asyncio.get_running_loop().call_later(seconds, self._rested)
        else:
            self._rested()
        done(outcome)

    def _rested(self) -> None:
        self._is_running = False
        self._run_next()

    def close(self) -> None:
        """Let the thread end."""
        self.drop_all()
        self._thread.shutdown(wait=False, cancel_futures=True)
