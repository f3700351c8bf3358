"""The audit of what was refused to whom: one line each, without anything secret, within bounds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from model.errors import AccessDenied, ModelError

log = logging.getLogger(__name__)

LINES_PER_SECOND_MAX: Final = 10
"""Most refusals that are logged in a second; the next line tells how many were not. Ours."""


class RefusalLog:
    """Writes the lines, and counts those that were too many."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        """Take a clock that tells seconds since 1970."""
        self._wall_clock = wall_clock
        self._second = 0
        self._written = self._left_out = 0

    def write(self, what: str, who: str, request_id: bytes, error: ModelError) -> None:
        """Log that a call of `who`, a user or an address, was refused."""
        second = int(self._wall_clock())
        if second != self._second:
            if self._left_out:
                log.warning("%d more calls were refused", self._left_out)
            self._second, self._written, self._left_out = second, 0, 0
        if self._written >= LINES_PER_SECOND_MAX:
            self._left_out += 1
            return
        self._written += 1
        # What other errors say may quote what the stranger sent; this names user, action and table.
        why = f"{error.code}: {error}" if isinstance(error, AccessDenied) else error.code
        log.warning("refused %r from %s, request %s: %s", what, who, request_id.hex(), why)
