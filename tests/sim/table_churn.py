"""Tables that are made and dropped all the while, under all the other faults of a seed.

A leader of the catalog and one of a partition are cut off from each other now and then: then the
second one has a quorum, and the catalog is behind.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from quorate.cluster.catalog import CATALOG_GROUP
from raft.types import Role

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

SHARE = 0.125
"""Of the seeds."""

SECONDS = 5.0
"""How long it goes on: longer than a fail-over takes."""

LIVE_MAX = 3
"""Extra tables at a time."""


class TableChurn:
    """Draws from a Random of its own: seeds without it do not notice that there is such a thing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = rng = Random(f"table churn {world.seed}")
        self.is_wanted = rng.random() < SHARE
        self._pause = rng.choice((0.05, 0.2, 0.6))
        self._made = 0
        self.until = 0.0

    def start(self) -> None:
        """Begin, if this seed has it."""
        if self.is_wanted:
            world = self._world
            world.counts["churn"] += 1
            self.until = world.schedule.now + SECONDS
            self._change()
            world.schedule.after(self._rng.random(), self._cut)

    def _change(self) -> None:
        world, rng = self._world, self._rng
        if not world.faults.active:
            return
        client = world.catalog_client
        extra = [name for name in client.tables if name.startswith("extra")]
        if client.pending < LIVE_MAX:
            if len(extra) < rng.randrange(LIVE_MAX + 1):
                self._made += 1
                client.create(f"extra-churn-{self._made}")
            elif extra:
                client.drop(rng.choice(extra))
        world.schedule.after(2 * self._pause * rng.random(), self._change)

    def _cut(self) -> None:
        world, rng = self._world, self._rng
        if not world.faults.active:
            return
        seconds = rng.choice((0.5, 3.0, 6.0))
        catalog_leaders = self._leading(catalog=True)
        leaders = [node for node in self._leading(catalog=False) if node not in catalog_leaders]
        if catalog_leaders and leaders:
            one, other = rng.choice(catalog_leaders), rng.choice(leaders)
            pairs = [(one.id, other.id), (other.id, one.id)]
            mode = rng.choice(("drop", "hold"))
            world.tell("network", "leaders cut off from each other:", mode, pairs)
            for pair in pairs:
                world.network.cut(pair, mode)
            world.schedule.after(seconds, world.faults.mend, pairs)
        world.schedule.after(seconds + rng.random(), self._cut)

    def _leading(self, *, catalog: bool) -> list[SimulatedNode]:
        return [
            node
            for node in self._world.nodes.values()
            if node.answers
            and any(
                replica.core.role is Role.LEADER
                for group, replica in node.host.replicas.items()
                if (group == CATALOG_GROUP) is catalog
            )
        ]
