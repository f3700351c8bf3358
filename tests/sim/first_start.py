"""The first start of a cluster: all processes at once, in any order, and perhaps it goes wrong.

If it does, some nodes die before they have joined, then the power fails. What those that had joined
have made together must outlive that, though one comes back with an empty directory, and the others,
when they start anew, have no catalog to show yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from quorate.cluster.catalog import CATALOG_GROUP
from raft.types import Role

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

WAIT_SECONDS = 4.0
"""Longest wait for a majority to join, and for one of it to lead."""

CUT_OFF_SECONDS = (0.5, 2.0, 4.0)
"""How long one may be cut off while the cluster starts."""


def start_all(world: World) -> None:
    """Start every process within some seconds; one of them may be silent for a while."""
    rng, options = world.rng, world.options
    for node in world.nodes.values():
        world.network.add_node(node.id)
        world.schedule.after(options.starts_within * rng.random(), world.start_node, node)
    if options.cut_off_at_start:
        node = rng.choice(list(world.nodes.values()))
        seconds = rng.choice(CUT_OFF_SECONDS)
        begins = (options.starts_within + 1.0) * rng.random()
        world.schedule.after(begins, lambda: world.faults.cut_off(node, seconds=seconds))


class RoughStart:
    """The first seconds of a cluster, before any client."""

    def __init__(self, world: World) -> None:
        self._world = world
        voters = [world.nodes[node_id] for node_id in world.catalog_voters]
        world.rng.shuffle(voters)
        few = len(voters) // 2
        self._late, self._majority = voters[:few], voters[few:]
        self._emptied = self._majority[-1]

    def run(self) -> None:
        """Let it go wrong; everything is starting again when this returns."""
        world = self._world
        rng, faults = world.rng, world.faults
        self._wait_for(self._majority_has_joined)
        for node in self._late:
            faults.kill(node, why="before it has joined")
        if rng.random() < 0.7:  # soon after the first leader: something is committed, no catalog
            self._wait_for(self._somebody_leads)
        world.schedule.run(steps=1000, seconds=rng.choice((0.02, 0.05, 0.3)) * rng.random())
        for node in world.nodes.values():
            faults.kill(node, why="power cut")
        if self._majority_has_joined() and rng.random() < 0.8:
            faults.lose_directory(self._emptied)
        again = rng.random() < 0.8
        for node in world.nodes.values():
            if again and node in self._majority[:-1]:
                self._start_twice(node)
            else:
                world.schedule.after(0.2 * rng.random(), world.start_node, node)

    def _wait_for(self, reached: Callable[[], bool]) -> None:
        until = self._world.schedule.now + WAIT_SECONDS
        while self._world.schedule.now < until and not reached():
            self._world.schedule.run(steps=1)

    def _majority_has_joined(self) -> bool:
        return all(node.identity.joined for node in self._majority)

    def _somebody_leads(self) -> bool:
        return any(
            node.host.replicas[CATALOG_GROUP].core.role is Role.LEADER
            for node in self._majority
            if node.is_up
        )

    def _start_twice(self, node: SimulatedNode) -> None:
        """Let a node say who it is, and die before it can say much more."""
        world = self._world
        rng, after = world.rng, world.schedule.after
        seconds = 0.1 * rng.random()
        after(seconds, world.start_node, node)
        seconds += rng.choice((0.2, 0.3, 0.5))
        after(seconds, world.faults.kill, node, "once more")
        after(seconds + rng.choice((1.0, 3.0, 5.0)), world.start_node, node)

    def replace_lost(self) -> bool:
        """Have a node replaced that was kept out; whether there was one."""
        node, world = self._emptied, self._world
        if not node.is_over:
            return False
        world.lost.append(node.id)
        world.faults.replace(node)
        return True
