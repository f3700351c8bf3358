"""What goes wrong again and again, in few lines: that it began, that it lasts, that it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from quorate.logs import log

LINE_SECONDS: Final = 60.0
"""Between two lines on what lasts; what was not met for so long was over. Ours."""

TROUBLES_MAX: Final = 1_000
"""Most troubles of a kind that are remembered; the one that began first is forgotten. Ours."""


@dataclass(slots=True)
class _Trouble:
    """When it was first met, last met and last told of, in seconds; and how often it was met."""

    since: float
    met_at: float
    told_at: float
    times: int = 1


class Troubles:
    """Of one kind, told apart by what they are about: a node, a group.

    Of each, a line when it is first met, one a minute while it is met again, with how often and for
    how long by then, and one when it is over, with the same.
    """

    def __init__(
        self,
        event: str,
        over: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[..., None] = log,
    ) -> None:
        """`over` is the event that it is over, "" if another line says so. `clock` in seconds."""
        self._event = event
        self._over = over
        self._clock = clock
        self._say = say
        self._troubles: dict[Hashable, _Trouble] = {}

    def met(self, about: Hashable = "", **facts: object) -> None:
        """Take note of one more; `facts` are those of the line, if there is one."""
        now = self._clock()
        trouble = self._troubles.get(about)
        if trouble is None or now - trouble.met_at > LINE_SECONDS:
            self._troubles.pop(about, None)
            while len(self._troubles) >= TROUBLES_MAX:
                del self._troubles[next(iter(self._troubles))]
            self._troubles[about] = _Trouble(now, now, now)
            self._say(self._event, **facts)
            return
        trouble.met_at = now
        trouble.times += 1
        if now - trouble.told_at >= LINE_SECONDS:
            trouble.told_at = now
            self._say(self._event, **facts, **_account(trouble, now))

    def over(self, about: Hashable = "", **facts: object) -> None:
        """Take note that it is over. Harmless if there was none, and without a line."""
        if not self._troubles:
            return
        trouble = self._troubles.pop(about, None)
        if trouble is not None and self._over:
            self._say(self._over, **facts, **_account(trouble, self._clock()))


def _account(trouble: _Trouble, now: float) -> dict[str, object]:
    return {"times": trouble.times, "seconds": round(now - trouble.since, 1)}
