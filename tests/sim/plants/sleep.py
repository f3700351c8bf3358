"""Planted bugs: routers that sleep, and nodes that listen to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node import host
from node.intake import take_in
from router.wakefulness import Wakefulness
from tests.sim.plants.registry import Change, plant


@plant
def sleep_is_not_noticed() -> Sequence[Change]:
    """A router that wakes goes on with all that it read before, or finds unread."""
    return [(Wakefulness, "_slept", lambda self, seconds: None)]


@plant
def sleep_is_noticed_by_the_own_clock_only() -> Sequence[Change]:
    """A machine that was suspended believes that no time has passed."""
    return [(Wakefulness, "heard", lambda self, node_id, clock_ms: self.look())]


@plant
def sleep_is_noticed_by_the_nodes_clocks_only() -> Sequence[Change]:
    """A process that was stopped finds that its clock and the nodes' agree."""

    def look(self: Wakefulness) -> None:
        self._looked_at = self._clock()

    return [(Wakefulness, "look", look)]


@plant
def sleep_is_noticed_at_ticks_only() -> Sequence[Change]:
    """A reply that is read before the first tick lets what was unread be sent on."""
    return [(Wakefulness, "heard", lambda self, node_id, clock_ms: None)]


@plant
def old_batches_are_taken() -> Sequence[Change]:
    """A node takes writes from a router that has not heard it for long."""

    def trusting(*arguments: Any, **named: Any) -> Any:
        return take_in(*arguments, **{**named, "too_old": False})

    return [(host, "take_in", trusting)]
