"""When a leader's log reached an index, and at how many bytes: how far behind a follower is.

Marks are some 50 ms apart, so that they cost a turn next to nothing. A follower's lag is known as
exactly as that; one that has everything lags by nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

SPACING_SECONDS: Final = 0.05
"""Least time between two marks. Ours."""

MARKS_MAX: Final = 512
"""Above so many every other one goes: what is long ago is known less exactly. Ours."""


@dataclass(frozen=True, slots=True)
class Mark:
    """At `at`, on the host's clock, the log had reached `index`, and `size_bytes` proposed here."""

    index: int
    at: float
    size_bytes: int


class Milestones:
    """The marks of one leadership. Invariant: ascending in every field; the first is its begin."""

    __slots__ = ("_marks", "_newest")

    def __init__(self) -> None:
        """Know nothing before `begin`."""
        self._marks: list[Mark] = []
        self._newest = Mark(0, 0.0, 0)

    def begin(self, index: int, now: float) -> None:
        """A leadership begins with a log that ends at `index`."""
        self._newest = Mark(index, now, 0)
        self._marks = [self._newest]

    def reached(self, index: int, size_bytes: int, now: float) -> None:
        """An entry of so many bytes was proposed."""
        self._newest = newest = Mark(index, now, self._newest.size_bytes + size_bytes)
        marks = self._marks
        if now - marks[-1].at >= SPACING_SECONDS:
            if len(marks) >= MARKS_MAX:
                del marks[1::2]
            marks.append(newest)

    def behind(self, match: int, now: float) -> tuple[float, int]:
        """Return (seconds, bytes) that one who has the log up to `match` is behind.

        What it misses from before this leadership counts from its begin.
        """
        newest = self._newest
        if match >= newest.index:
            return 0.0, 0
        place = bisect_right(self._marks, match, key=lambda mark: mark.index)
        had = self._marks[place - 1].size_bytes if place else 0
        missed = self._marks[place] if place < len(self._marks) else newest
        return max(0.0, now - missed.at), newest.size_bytes - had
