"""Counts by size, for histograms that are kept where nothing may cost a microsecond.

prometheus_client's own takes a lock for each bucket and each sum. One thread writes here, and a
scrape may miss what is written meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.samples import Exemplar

STAGE_SECONDS: Final = (
    0.00001, 0.000025, 0.0001, 0.00025, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015,
    0.025, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip
"""Bounds for what a request goes through: from some microseconds to a second, closest together
where a fsync and two ways between AZs are. Ours."""

DELAY_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Bounds for how late a loop comes to its work. Ours: at an election timeout (1 s) a node loses its
leaderships."""


class Buckets:
    """How many observations there were up to each bound, and their sum."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Take upper bounds, inclusive, in ascending order; what is above all is counted, too."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, Exemplar] = {}  # by bucket

    def observe(self, value: float, count: int = 1) -> None:
        """Count `count` observations of the same value."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def exemplify(self, exemplar: Exemplar) -> None:
        """Show, beside the bucket of its value, the newest observation that can be looked up."""
        self._exemplars[bisect_left(self._bounds, exemplar.value)] = exemplar

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self._counts)

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Return cumulative counts by bound, and the sum: what Prometheus wants."""
        names = [*map(repr, map(float, self._bounds)), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True)), self._sum

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Show this histogram under labels."""
        buckets, total = self.read()
        rows: list[tuple[str, float] | tuple[str, float, Exemplar]] = [*buckets]
        for place, exemplar in self._exemplars.items():
            rows[place] = (*buckets[place], exemplar)
        family.add_metric(labels, rows, total)
