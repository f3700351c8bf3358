"""Calls that were read and wait for their turn on the loop.

All that has arrived is read first, and what must be refused is refused, before the calls are run:
in slices, so that what arrives meanwhile is read soon. How long the first in the queue has waited
is the delay of this loop; a router that is behind by too much takes no more calls.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from quorate.http.protocol import Exchange

log = logging.getLogger(__name__)

SLICE_SECONDS: Final = 0.004
"""How long calls are run before the loop reads again. Ours: a refusal waits for so long."""

DELAY_SECONDS_MAX: Final = 0.1
"""Behind by more, a router takes no more calls. Ours: half of what they may take at nodes."""


class RunQueue:
    """First in, first out. Bounded by the delay, and by one call for each connection."""

    __slots__ = ("_call_soon", "_clock", "_serve", "_waiting")

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

    def is_behind(self, now: float) -> bool:
        """Whether this loop is so far behind that nothing more should be put here."""
        return bool(self._waiting) and now - self._waiting[0][1] > DELAY_SECONDS_MAX

    def put(self, exchange: Exchange, now: float) -> None:
        """Let an exchange wait for its turn."""
        self._waiting.append((exchange, now))
        if len(self._waiting) == 1:
            self._call_soon(self._run)

    def _run(self) -> None:
        waiting, clock = self._waiting, self._clock
        until = clock() + SLICE_SECONDS
        while waiting:
            exchange, arrived = waiting.popleft()
            try:
                self._serve(exchange, arrived)
            except Exception:  # a bug met by one call must not end the others
                log.exception("serving an exchange failed")
                exchange.keep_alive = False
                exchange.reply(500, b"Content-Type: text/plain\r\n", b"")
            if clock() > until:
                break
        if waiting:
            self._call_soon(self._run)
