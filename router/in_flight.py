"""How many requests a router lets be at the nodes: no more than they answer in a moment.

Where the nodes keep up, the bound is high and nobody meets it. When answers get late, it becomes
what Little's law gives for the latency wanted: the rate of answers times that latency. More in
flight would wait longer and not be answered sooner. Pure: time comes in.
"""

from __future__ import annotations

from typing import Final

from router.exponential_average import ExponentialAverage

LATE_SECONDS: Final = 0.2
"""Mean time at the nodes above which they are overloaded. Ours: well above a write on a slow disk,
well below what a client takes for an outage."""

COUNT_MAX: Final = 4_096
"""The bound where nothing is late. Ours: a sudden burst of so many is served, not refused."""

COUNT_MIN: Final = 128
"""The lowest bound: a slow disk, or a few slow requests, are no overload. Ours."""

WINDOW_SECONDS: Final = 0.1
"""How often the bound is set anew. Ours."""

RATE_SECONDS: Final = 0.5
"""Over how long the rate of answers is averaged: they come in batches. Ours."""

GROWTH: Final = 1.1
"""By which factor the bound rises in a window without lateness. Ours: from the lowest to the
highest in less than four seconds."""


LOOP_PASSES: Final = 4
"""How many passes of the router's own loop a request takes: into the outbox, out of it, the reply
read, the answer told. Ours."""

DELAY_TICKS: Final = 5
"""Over how many ticks their delay is averaged. Ours."""


class InFlightLimit:
    """The bound on requests in flight, `count`, from how long they have taken of late."""

    __slots__ = ("_ended", "_loop_delay", "_rate", "_seconds", "_window_began", "count")

    def __init__(self, now: float) -> None:
        """Begin with the highest bound."""
        self.count: float = COUNT_MAX
        self._ended = 0
        self._seconds = 0.0
        self._rate = ExponentialAverage(RATE_SECONDS)
        self._loop_delay = ExponentialAverage(DELAY_TICKS)
        self._window_began = now

    def ended(self, count: int, seconds: float) -> None:
        """Take note of requests that were answered, and of the sum of their times at nodes."""
        self._ended += count
        self._seconds += seconds

    def tick(self, now: float, in_flight: int, loop_delay: float) -> None:
        """Let time pass; `in_flight` are at nodes now. No answer to them says nothing.

        `loop_delay` is how late this tick has come: so late the router was itself to send what it
        had and to take answers, and the nodes are not to be blamed for that.
        """
        self._loop_delay.add(loop_delay, 1)
        elapsed = now - self._window_began
        if elapsed < WINDOW_SECONDS:
            return
        self._window_began = now
        self._rate.add(self._ended / elapsed, elapsed)
        late_seconds = LATE_SECONDS + self._loop_delay.value * LOOP_PASSES
        if self._seconds > self._ended * late_seconds:
            self.count = min(max(self._rate.value * late_seconds, COUNT_MIN), COUNT_MAX)
        elif self._ended or not in_flight:
            self.count = min(self.count * GROWTH, COUNT_MAX)
        self._ended = 0
        self._seconds = 0.0
