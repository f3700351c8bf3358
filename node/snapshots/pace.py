"""How long a transfer may take: as long as it makes progress."""

from __future__ import annotations

from typing import Final

SILENCE_SECONDS: Final = 30.0
"""Longest silence within a transfer. Ours."""

GRACE_SECONDS: Final = 60.0
"""How long a transfer may take, however small. Ours."""

BYTES_PER_SECOND_MIN: Final = 1 << 20
"""What a transfer must come up to beyond that. Ours: an open view of the tree keeps its pages from
being used again, so a large partition over a bad network is better given up."""


class Pace:
    """The deadline of one transfer; it moves on with what has passed. Seconds of any clock."""

    def __init__(self, now: float) -> None:
        """Begin at `now` with nothing."""
        self._started = now
        self._size_bytes = 0

    def passed(self, size_bytes: int, now: float) -> float:
        """Count what has just passed; return by when something more must."""
        self._size_bytes += size_bytes
        allowed = GRACE_SECONDS + self._size_bytes / BYTES_PER_SECOND_MIN
        return min(now + SILENCE_SECONDS, self._started + allowed)
