"""The door of a node: what routers ask for is refused while this process cannot keep up.

Routers bound what they have at nodes (`router.in_flight`), so a node meets this seldom: when there
are many routers, or its machine is short of processor time. A refusal costs a hundredth of a write,
and what is refused here has no effect; the router tries again, a few times. Pure.
"""

from __future__ import annotations

from typing import Final

LOOP_DELAY_SECONDS_MAX: Final = 0.25
"""A loop that is later than this takes no requests. Ours: a quarter of the shortest election
timeout, for what delays requests delays heartbeats, too."""

WAITING_BYTES_MAX: Final = 256 << 20
"""Bytes of writes that wait at all partitions together, above which more are refused. Ours."""


class Door:
    """Whether requests are taken, and how many were not."""

    __slots__ = ("_is_late", "refused")

    def __init__(self) -> None:
        """Begin open."""
        self._is_late = False
        self.refused = 0

    def loop_delayed(self, seconds: float) -> None:
        """Take note of how late the loop came to a tick."""
        self._is_late = seconds > LOOP_DELAY_SECONDS_MAX

    def is_open(self, waiting_bytes: int) -> bool:
        """Return whether requests are taken while so many bytes of writes wait."""
        return not self._is_late and waiting_bytes <= WAITING_BYTES_MAX
