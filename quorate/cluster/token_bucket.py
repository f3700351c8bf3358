"""The token bucket of pools, of partitions' caps and of what routers know of a pool.

Pure: time is an argument.
"""

from __future__ import annotations

from typing import Final

BURST_SECONDS: Final = 300.0
"""How much unused capacity may be saved up. Source: Developer Guide, burst capacity."""


class TokenBucket:
    """Capacity units that come in at `rate` a second, up to `capacity`.

    Who asks is admitted while anything is left (`level` > 0) and then takes the whole price, so
    the level may go below zero by one operation: prices are known only when the operation is done.
    Over any span of time what is taken is at most rate x span + capacity + one operation.
    """

    __slots__ = ("_at", "capacity", "level", "rate")

    def __init__(self, rate: float, capacity: float, level: float, now: float) -> None:
        """`rate` is in units a second, `now` in seconds of any clock that does not go back."""
        assert rate >= 0
        assert capacity >= 0
        self.rate = rate
        self.capacity = capacity
        self.level = min(level, capacity)
        self._at = now

    def refill(self, now: float) -> None:
        """Add what has come in since the last time."""
        if now > self._at:
            level = self.level + (now - self._at) * self.rate
            self.level = level if level < self.capacity else self.capacity
            self._at = now

    def settle(self, units: float) -> None:
        """Take what an admitted operation has cost; negative gives back."""
        self.level = min(self.level - units, self.capacity)

    def change(self, rate: float, capacity: float, now: float) -> None:
        """Let another rate hold from now on."""
        self.refill(now)
        self.rate = rate
        self.capacity = capacity
        self.level = min(self.level, capacity)
