"""Situations that a seed may begin with, for chance would rarely bring them about.

Each puts the cluster where some promises are hard to keep, and leaves it there to its other faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft.types import Role

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

CHECKPOINT_SECONDS = 0.15
LATE_SECONDS = 2.0
"""How late messages may come."""


def bring_about(world: World) -> None:
    """Let the situation that the seed has drawn arise soon."""
    if world.options.situation:
        situation = _SITUATIONS[world.options.situation]
        world.schedule.after(0.3 * world.rng.random(), situation, world)


def _fall_behind(world: World) -> None:
    """A node is away while the others cut their logs: it needs snapshots when it is back."""
    up = [node for node in world.nodes.values() if node.is_up]
    if not up:
        return
    rng = world.rng
    node = min(up, key=lambda node: (len(_led_by(node)), rng.random()))
    seconds = rng.choice((0.6, 1.2, 2.0))
    if rng.random() < 0.5:
        world.faults.cut_off(node, seconds=seconds)
    else:
        world.faults.kill(node, why="for a while")
        world.schedule.after(seconds, world.start_node, node)
    others = [other for other in up if other is not node]
    for number in range(1, int(seconds / CHECKPOINT_SECONDS) + 1):
        world.schedule.after(number * CHECKPOINT_SECONDS, _checkpoint, others)


def _checkpoint(nodes: list[SimulatedNode]) -> None:
    for node in nodes:
        if node.is_up:
            node.call(node.host.checkpointer.hurry)


def _cut_off_leader(world: World) -> None:
    """The others elect a new leader at once; the old one hears old messages, and some clients.

    Their answers to its heartbeats come late and again: it goes on for a while.
    """
    leaders = [node for node in world.nodes.values() if node.answers and _led_by(node)]
    if not leaders:
        return
    rng, network = world.rng, world.network
    node = rng.choice(leaders)
    others = [other for other in world.nodes if other != node.id]
    on_its_side = [node.id, world.routers[0].id]
    seconds = rng.choice((1.5, 3.0))
    pairs = world.faults.pairs_between(on_its_side, others)
    world.tell("network", "leader cut off:", node.name)
    for pair in pairs:
        network.cut(pair, "hold")
        if pair in network.streams:
            network.break_stream(network.streams[pair])
    world.schedule.after(seconds, world.faults.mend, pairs)
    for sent in network.newest_to(node.id):
        world.schedule.after(LATE_SECONDS * rng.random(), network.deliver_late, sent)


def _led_by(node: SimulatedNode) -> list[int]:
    """Return the partitions that a node leads."""
    replicas = node.host.replicas
    return [group for group, each in replicas.items() if group and each.core.role is Role.LEADER]


_SITUATIONS = {"fall_behind": _fall_behind, "cut_off_leader": _cut_off_leader}
