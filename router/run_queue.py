"""Calls that were read and wait for their turn on the loop.

All that has arrived is read first, and what must be refused is refused, before the calls are run:
in slices, so that what arrives meanwhile is read soon. The delay of this loop is how many wait
times what each takes; a router that is behind by too much takes no more calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from quorate.http.exchange import Exchange
from quorate.logs import bug
from router.exponential_average import ExponentialAverage

SLICE_SECONDS: Final = 0.004
"""How long calls are run at least before the loop reads again. Ours: refusals wait for so long."""

SLICE_SECONDS_MAX: Final = 0.01
"""How long at most, when reading takes long. Ours."""

DELAY_SECONDS_MAX: Final = 0.1
"""A call that would wait for longer is not taken. Ours: half of what calls may take at nodes."""

AVERAGED: Final = 64
"""Over how many calls the time of each is averaged. Ours."""


class RunQueue:
    """First in, first out. Bounded by the delay, and by one call for each connection."""

    __slots__ = ("_call_soon", "_clock", "_ran_until", "_seconds_each", "_serve", "_waiting")

    def __init__(
        self,
        serve: Callable[[Exchange, float], None],
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        """`serve` runs what came in an exchange, and when; `call_soon` is the loop's."""
        self._serve = serve
        self._clock = clock
        self._call_soon = call_soon
        self._waiting: deque[tuple[Exchange, float]] = deque()
        self._ran_until = 0.0  # when the last slice ended
        # That calls have taken of late, with all that the loop did besides.
        self._seconds_each = ExponentialAverage(AVERAGED)

    @property
    def is_behind(self) -> bool:
        """Whether what is put here now would wait for too long."""
        return len(self._waiting) * self._seconds_each.value > DELAY_SECONDS_MAX

    def put(self, exchange: Exchange, now: float) -> None:
        """Let an exchange wait for its turn."""
        self._waiting.append((exchange, now))
        if len(self._waiting) == 1:
            self._ran_until = now  # before, the loop had nothing to run
            self._call_soon(self._run)

    def clear(self) -> None:
        """Forget all that waits."""
        self._waiting.clear()

    def _run(self) -> None:
        waiting, clock = self._waiting, self._clock
        if not waiting:
            return
        now = clock()
        # As long as the loop has read and refused: what is taken must not starve beside it.
        until, count = now + max(SLICE_SECONDS, min(now - self._ran_until, SLICE_SECONDS_MAX)), 0
        while waiting and now < until:
            exchange, arrived = waiting.popleft()
            try:
                self._serve(exchange, arrived)
            except Exception:  # noqa: BLE001 - a bug met by one call must not end the others
                bug("exchange_failed")
                exchange.keep_alive = False
                exchange.reply(500, b"Content-Type: text/plain\r\n", b"")
            count += 1
            now = clock()
        each = (now - self._ran_until) / count
        self._seconds_each.add(each, count)
        self._ran_until = now
        if waiting:
            self._call_soon(self._run)
