"""What one router's clients want of a table's capacity: how much they ask for, and who waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from router.exponential_average import ExponentialAverage

SMOOTHING_SECONDS: Final = 1.0
"""Over how long rates are averaged. Ours."""

MOMENT_SECONDS: Final = 0.02
"""Shortest time from which a beginning load's rate is told. Ours."""

RATE_MIN: Final = 1e-3
"""Units a second: an average below is of a load that has ended. Ours."""

POOLS_WORD: Final = float("inf")
"""A waiter's time: until the pool has said whether there is capacity."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits: for capacity until some time, or for the pool's word (POOLS_WORD).

    `go_on` is called once: with its units if there is capacity, to spend them, or else with none.
    """

    units: float
    until: float
    go_on: Callable[[float], object]


class Demand:
    """Units asked for of late, and the line of those who wait, in the order of their arrival.

    Invariant: `rate` and `largest` are never negative. (`offered` may be: what was not done in the
    end is taken off, although it was counted before the last tick.)
    """

    __slots__ = ("_rate", "largest", "line", "offered")

    def __init__(self) -> None:
        self.offered = 0.0  # since the last tick, admitted or refused
        self.largest = 0.0  # what was taken at once, since the last tick
        self.line: deque[Waiter] = deque()
        self._rate = ExponentialAverage(SMOOTHING_SECONDS)

    @property
    def rate(self) -> float:
        """Units a second that were asked for, on average."""
        return self._rate.value

    def count(self, units: float) -> None:
        """Take note of units that are spent; negative ones are given back."""
        self.offered += units
        if units > self.largest:  # noqa: PLR1730  (faster than max, and called for each request)
            self.largest = units

    def tick(self, elapsed: float) -> float:
        """Let time pass; return the rate of these last seconds alone, if it is a load that begins.

        The average will know of that only later; and one request is not yet a load.
        """
        average = self._rate
        average.add(self.offered / elapsed, elapsed)
        if average.value < RATE_MIN:
            average.value = 0.0
        beginning = (self.offered - self.largest) / max(elapsed, MOMENT_SECONDS)
        self.offered = self.largest = 0.0
        return beginning

    def units_waiting(self) -> float:
        """Return what those in the line want together."""
        return sum(waiter.units for waiter in self.line)

    def take_line(self) -> deque[Waiter]:
        """Take all out of the line."""
        line, self.line = self.line, deque()
        return line

    def take_hopeless(self, now: float, *, pool_has_spoken: bool) -> list[Waiter]:
        """Take those out of the line whose time is up, by the clock or by the pool's word."""
        hopeless: list[Waiter] = []
        kept: deque[Waiter] = deque()
        for waiter in self.line:
            is_over = pool_has_spoken if waiter.until == POOLS_WORD else waiter.until <= now
            (hopeless if is_over else kept).append(waiter)
        self.line = kept
        return hopeless

    def check(self) -> None:
        """Assert the invariants."""
        assert self.rate >= 0, self.rate
        assert self.largest >= 0, self.largest
