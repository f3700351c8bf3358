"""The audit of what was refused to whom: one line each, without anything secret, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from model.errors import AccessDenied, ModelError
from quorate.logs import LineLimit, warn

LINES_PER_SECOND_MAX: Final = 10
"""Most refusals that are logged in a second; the next line tells how many were not. Ours."""


class RefusalLog:
    """Writes the lines, and counts those that were too many."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        """Take a clock that tells seconds since 1970."""
        self._limit = LineLimit(LINES_PER_SECOND_MAX, wall_clock)

    def write(self, what: str, who: str, request_id: bytes, error: ModelError) -> None:
        """Log that a call of `who`, a user or an address, was refused."""
        admitted, left_out = self._limit.admit()
        if not admitted:
            return
        more = {"left_out": left_out} if left_out else {}
        # What other errors say may quote what the stranger sent; this names user, action and table.
        why = f"{error.code}: {error}" if isinstance(error, AccessDenied) else error.code
        warn("refused", what=what, who=who, request=request_id.hex(), why=why, **more)
