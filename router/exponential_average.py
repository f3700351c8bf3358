"""An average in which what was seen of late weighs most. Pure: time, or a count, comes in."""

from __future__ import annotations


class ExponentialAverage:
    """Follows samples: one that stands for the whole `span` replaces what was there.

    The span is in seconds, or in samples if these are counted.
    """

    __slots__ = ("_span", "value")

    def __init__(self, span: float, value: float = 0.0) -> None:
        assert span > 0
        self._span = span
        self.value = value

    def add(self, sample: float, part: float) -> None:
        """Follow a sample that stands for a part of the span; for more than all, it is all."""
        self.value += (sample - self.value) * min(1.0, part / self._span)
