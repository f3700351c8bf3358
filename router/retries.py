"""Requests that are tried again after a pause, because they may well succeed then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 0.05
"""Before a request is tried again. Ours: a partition's capacity, or room in a full router, comes in
less."""

RETRIES_MAX: Final = 4_096
"""Most requests that pause. Ours: 160 batches."""


class Retries:
    """A queue of what is to be done after one and the same pause: first in, first out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is in seconds, and the one that deadlines are on."""
        self._clock = clock
        self._pausing: deque[tuple[float, Callable[[], object]]] = deque()

    def after_a_pause(self, act: Callable[[], object], deadline: float) -> bool:
        """Call `act` after a pause; return False if that is past the deadline, or too many wait."""
        due = self._clock() + PAUSE_SECONDS
        if due >= deadline or len(self._pausing) >= RETRIES_MAX:
            return False
        self._pausing.append((due, act))
        return True

    def tick(self) -> None:
        """Do what is due. Call it many times a second."""
        now, pausing = self._clock(), self._pausing
        while pausing and pausing[0][0] <= now:
            pausing.popleft()[1]()

    def drop_all(self) -> None:
        """Forget everything."""
        self._pausing.clear()
