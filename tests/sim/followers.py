"""How a node that hears of a newer catalog gets it, as `node.catalog_follower` does; and how soon.

It asks all others; one that does not answer is asked again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sim.schedule import Violation

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

GRACE_SECONDS = 0.05
ASK_SECONDS = 1.0

BEHIND_SECONDS = 2.2
"""A node may refuse requests for so long for want of a catalog that another one has, with which it
could speak all the while: no longer than a fail-over takes."""

GAP_SECONDS = 0.5
"""Refusals with a longer gap between them are not of one time."""


class Follower:
    """Of one life of a node."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._waiting = False
        self._silent_until: dict[int, float] = {}

    def want(self) -> None:
        """Ask all others, unless the watch brings it at once."""
        if not self._waiting:
            self._waiting = True
            self._node.later(GRACE_SECONDS, self._ask_all)

    def _ask_all(self) -> None:
        self._waiting = False
        node, world = self._node, self._node.world
        now = world.schedule.now
        for other in world.nodes.values():
            if other is node or self._silent_until.get(other.id, 0.0) > now:
                continue
            if self._reaches(other):
                node.later(world.options.delay, node.host.adopt_catalog, other.host.catalog)
            else:
                self._silent_until[other.id] = now + ASK_SECONDS

    def _reaches(self, other: SimulatedNode) -> bool:
        return other.answers and self._node.world.network.is_whole(self._node.id, other.id)


@dataclass(slots=True)
class _Behind:
    """Refusals of one node with one catalog, without a gap; `helpers` could have ended them."""

    since: float
    until: float
    catalog: tuple[int, int]  # life, epoch
    helpers: set[tuple[int, int]]  # id, life


class StaleRefusals:
    """No node goes on refusing for want of a catalog that it could get."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._behind: dict[int, _Behind] = {}

    def heard(self, node: SimulatedNode) -> None:
        """Take note of an answer that the node's catalog is behind."""
        world = self._world
        if not node.answers:
            return  # an old answer
        world.counts["behind"] += 1
        now, epoch = world.schedule.now, node.host.catalog.epoch
        helpers = {
            (other.id, other.life)
            for other in world.nodes.values()
            if other.answers
            and other.host.catalog.epoch > epoch
            and world.network.is_whole(node.id, other.id)
        }
        behind = self._behind.get(node.id)
        catalog = (node.life, epoch)
        if behind is None or behind.catalog != catalog or now - behind.until > GAP_SECONDS:
            self._behind[node.id] = _Behind(now, now, catalog, helpers)
            return
        behind.until = now
        behind.helpers &= helpers
        if behind.helpers and now - behind.since > BEHIND_SECONDS:
            raise Violation(
                f"{node.name} refuses for want of a catalog newer than {epoch} since "
                f"{behind.since:.3f}; {sorted(behind.helpers)} had it all the while"
            )
