"""Did this process sleep? A router that was stopped or suspended cannot know how old its reads are.

A client gives up after seconds and retries elsewhere, under the same request id, which the nodes
remember for little more than a minute. What still lies in a sleeper's sockets must not be done
when it wakes: its id may be forgotten by then. Two things tell of a sleep: this process's own
clock, which goes on while the loop stands still; and, where that clock stands still too (a virtual
machine that was suspended), the clocks of the nodes, which come with every reply.

A write can reach a node only in a batch that says when the node was last heard, and the node
takes none whose word is old. So whatever was read before a sleep, or lay unread, waits for a reply
that came after it, and each reply is looked at here before anything else is done with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SLEEP_SECONDS: Final = 5.0
"""A loop that stood still for longer has slept. Ours: a busy machine holds a loop up for less, and
the nodes remember ids for far longer."""

DRIFT: Final = 1 / 1000
"""How much slower than ours a node's clock may run at most. Ours: quartz, slewed, stays below."""


class Wakefulness:
    """Looks at the clocks at every tick and every reply; tells of each sleep once."""

    def __init__(self, clock: Callable[[], float], on_slept: Callable[[float], None]) -> None:
        """`clock` is in seconds and goes on in a suspended system; `on_slept` is told how many."""
        self._clock = clock
        self._on_slept = on_slept
        self._looked_at = clock()
        self._ahead: dict[int, tuple[float, float]] = {}  # (seconds, as of when) by node id

    def look(self) -> None:
        """Find out whether the loop stood still since the last look."""
        now = self._clock()
        seconds, self._looked_at = now - self._looked_at, now
        if seconds > SLEEP_SECONDS:
            self._slept(seconds)

    def heard(self, node_id: int, clock_ms: int) -> None:
        """Take note of a node's clock, as its reply has it: has more time passed there than here?

        What counts is by how much it was ahead of ours at most: a reply that was long on its way
        shows less.
        """
        self.look()
        now = self._looked_at
        ahead = clock_ms / 1000 - now
        most, then = self._ahead.get(node_id, (ahead, now))
        most -= (now - then) * DRIFT
        self._ahead[node_id] = (max(ahead, most), now)
        if ahead - most > SLEEP_SECONDS:
            self._slept(ahead - most)

    def _slept(self, seconds: float) -> None:
        self._ahead.clear()  # all of them are as much further ahead, and this sleep is known now
        self._on_slept(seconds)
