"""Virtual time: what happens next, and the story of what has happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

STORY_LINES = 400
"""Events that a failure shows."""

Act = Callable[..., object]


class Violation(AssertionError):
    """Something happened that must never happen."""


class Schedule:
    """A clock that jumps from event to event. Ties are broken by order of arrival.

    The story is kept only where it will be read: a run that fails is run again, for its story.
    """

    __slots__ = ("_heap", "_serial", "failure", "now", "recording", "steps", "story")

    def __init__(self, *, recording: bool = False) -> None:
        self.now = 0.0
        self.steps = 0
        self.recording = recording
        self.failure: Exception | None = None  # found where an exception would be caught
        self._heap: list[tuple[float, int, Act, tuple[Any, ...]]] = []
        self._serial = 0
        self.story: deque[tuple[float, str, str, tuple[Any, ...]]] = deque(maxlen=STORY_LINES)

    def after(self, seconds: float, act: Act, *arguments: Any) -> None:
        """Let `act` happen so many seconds from now."""
        self._serial = serial = self._serial + 1
        heappush(self._heap, (self.now + seconds, serial, act, arguments))

    def at(self, when: float, act: Act, *arguments: Any) -> None:
        """Let `act` happen at a moment that is not past."""
        self._serial = serial = self._serial + 1
        heappush(self._heap, (when, serial, act, arguments))

    def run(self, *, steps: int, seconds: float = float("inf")) -> None:
        """Let events happen: at most so many, for at most so long."""
        heap, until = self._heap, self.now + seconds
        for _ in range(steps):
            if self.now >= until:
                return
            self.now, _, act, arguments = heappop(heap)
            self.steps += 1
            act(*arguments)
            if self.failure is not None:
                raise self.failure

    def fail(self, error: Exception) -> None:
        """Let the run end with what was found first."""
        self.failure = self.failure or error

    def tell(self, who: str, what: str, *facts: Any) -> None:
        """Add a line to the story; formatted only if somebody reads it."""
        if self.recording:
            self.story.append((self.now, who, what, facts))

    def read_story(self) -> str:
        """Return the last lines of the story."""
        return "\n".join(
            f"{now:10.4f}  {who:<9} {what} {' '.join(map(_text, facts))}"
            for now, who, what, facts in self.story
        )


def _text(fact: Any) -> str:
    if isinstance(fact, bytes):
        return fact.hex()
    return str(fact)
