"""Situations that a seed may begin with, for chance would rarely bring them about.

Each puts the cluster where some promises are hard to keep, and leaves it there to its other faults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from raft.types import Role

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.routers import SimulatedRouter
    from tests.sim.world import World

CHECKPOINT_SECONDS = 0.15
LATE_SECONDS = 2.0
"""How late messages may come."""

POLL_SECONDS = 0.05
ARRIVAL_POLL_SECONDS = 0.002
"""Between two looks whether an entry has arrived: its commit follows soon."""

CHANGE_SECONDS = 2.0
"""How long a change of members may take to begin."""

ELECTION_SECONDS = 2.5
"""How long an election may take."""

INSTALL_SECONDS = 1.5
"""How long a node that is back may take to have its snapshots."""


class Situation:
    """Nothing special. All is healed only once nobody waits any more, at `until` at the latest."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.until = 0.0

    def begin(self) -> None:
        """Bring it about."""

    def noticed(self, node: SimulatedNode, event: str, facts: Mapping[str, Any]) -> None:
        """See what a node logs."""

    def _wait(self, seconds: float) -> None:
        self.until = self.world.schedule.now + seconds

    def _least_leading(self) -> SimulatedNode | None:
        up = [node for node in self.world.nodes.values() if node.is_up]
        rng = self.world.rng
        return min(up, key=lambda node: (len(_led_by(node)), rng.random()), default=None)


class FallBehind(Situation):
    """A node is away while the others cut their logs: it needs snapshots when it is back."""

    def begin(self) -> None:
        node = self._least_leading()
        if node is None:
            return
        world = self.world
        rng, schedule = world.rng, world.schedule
        self._checkpoint([node])  # so that it has items on its disk
        away, seconds = 0.2 * rng.random(), rng.choice((0.3, 0.6, 1.2))
        if rng.random() < 0.5:
            schedule.after(away, lambda: world.faults.cut_off(node, seconds=seconds))
        else:
            schedule.after(away, world.faults.kill, node, "for a while")
            schedule.after(away + seconds, world.start_node, node)
        others = [other for other in world.nodes.values() if other is not node]
        for number in range(1, int((away + seconds) / CHECKPOINT_SECONDS) + 1):
            schedule.after(number * CHECKPOINT_SECONDS, self._checkpoint, others)
        self._wait(away + seconds + INSTALL_SECONDS)
        schedule.after(away + seconds + POLL_SECONDS, self._look, node)

    def _checkpoint(self, nodes: Sequence[SimulatedNode]) -> None:
        for node in nodes:
            if node.is_up:
                node.call(node.host.checkpointer.hurry)

    def _look(self, node: SimulatedNode) -> None:
        """Wait no longer once it has what is committed."""
        commits = self.world.checker.commit_max
        if node.is_up and all(
            each.core.applied >= commits.get(group, 0) for group, each in node.host.replicas.items()
        ):
            self.until = 0.0
        elif self.world.schedule.now < self.until:
            self.world.schedule.after(POLL_SECONDS, self._look, node)


class CutOffLeader(Situation):
    """The others elect a new leader at once; the old one hears old messages, and some clients.

    Their answers to its heartbeats come late and again: it goes on for a while.
    """

    def begin(self) -> None:
        world = self.world
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


class _Change(Situation):
    """A node is replaced, so that members change."""

    def begin(self) -> None:
        node = self._least_leading()
        if node is not None and self.world.faults.replace(node, seconds=0.1):
            self._wait(CHANGE_SECONDS)
        self._struck = False

    def noticed(self, node: SimulatedNode, event: str, facts: Mapping[str, Any]) -> None:
        if event == "membership_changing" and self.until and not self._struck:
            self._struck = self._changes(node, facts["group"], is_swap=not facts["learners"])

    def _changes(self, node: SimulatedNode, group: int, *, is_swap: bool) -> bool:
        """See a leader propose a configuration; whether that is the one."""
        raise NotImplementedError

    def _cut(self, some: Sequence[int]) -> list[tuple[int, int]]:
        world = self.world
        pairs = world.faults.pairs_between(some, [each for each in world.nodes if each not in some])
        mode = world.rng.choice(("drop", "hold"))
        world.tell("network", "cut", mode, pairs)
        for pair in pairs:
            world.network.cut(pair, mode)
        return pairs


class ChangeIsLost(_Change):
    """A leader is cut off with a configuration that nobody else has, until another one leads."""

    def begin(self) -> None:
        self._of_swap = self.world.rng.random() < 0.6
        super().begin()

    def _changes(self, node: SimulatedNode, group: int, *, is_swap: bool) -> bool:
        if is_swap is self._of_swap:
            self._wait(ELECTION_SECONDS)
            self.world.schedule.after(0.0, self._depose, node, group)
        return is_swap is self._of_swap

    def _depose(self, node: SimulatedNode, group: int) -> None:
        term = node.host.replicas[group].core.term
        self._look(group, term, self._cut([node.id]))

    def _look(self, group: int, term: int, pairs: list[tuple[int, int]]) -> None:
        world = self.world
        cores = [node.host.replicas[group].core for node in _holding(world, group)]
        is_over = any(core.role is Role.LEADER and core.term > term for core in cores)
        if is_over or world.schedule.now >= self.until:
            world.faults.mend(pairs)
            self._wait(0.3)
        else:
            world.schedule.after(POLL_SECONDS, self._look, group, term, pairs)


class ChangeIsSplit(_Change):
    """A majority of the new half has a joint configuration, and is cut off from the others."""

    def _changes(self, node: SimulatedNode, group: int, *, is_swap: bool) -> bool:
        configuration = node.host.replicas[group].core.configuration
        if not configuration.joint:
            return False
        new = [v for v in configuration.voters if v not in configuration.voters_outgoing]
        stay = [v for v in configuration.voters if v not in new and v != node.id]
        some = new + stay[: len(configuration.voters) // 2 + 1 - len(new)]
        self._wait(0.5)
        self._look(group, some)
        return True

    def _look(self, group: int, some: list[int]) -> None:
        world = self.world
        have = [
            node.id
            for node in _holding(world, group)
            if node.host.replicas[group].core.configuration.joint
        ]
        if all(node_id in have for node_id in some):
            ticks = world.options.raft["election_ticks_min"]
            self._wait(2 * ticks * 0.05 + 0.3)
            pairs = self._cut(some)
            world.schedule.at(self.until, world.faults.mend, pairs)
        elif world.schedule.now < self.until:
            world.schedule.after(ARRIVAL_POLL_SECONDS, self._look, group, some)


class RouterSleeps(Situation):
    """A router sleeps until the nodes have forgotten what it has not read yet; clients go on."""

    def begin(self) -> None:
        rng = self.world.rng
        router = rng.choice(self.world.routers)
        sleep = partial(self._sleep, router, suspended=rng.random() < 0.4)
        if rng.random() < 0.5:
            router.sleeps_before_a_batch = sleep
        else:
            sleep()

    def _sleep(self, router: SimulatedRouter, *, suspended: bool) -> None:
        world = self.world
        seconds = world.options.window + 0.5 + 2 * world.rng.random()
        router.sleep(suspended=suspended)
        world.schedule.after(seconds, router.wake)
        self._wait(seconds + 0.5)


def _holding(world: World, group: int) -> list[SimulatedNode]:
    return [node for node in world.nodes.values() if node.is_up and group in node.host.replicas]


def _led_by(node: SimulatedNode) -> list[int]:
    """Return the partitions that a node leads."""
    replicas = node.host.replicas
    return [group for group, each in replicas.items() if group and each.core.role is Role.LEADER]


SITUATIONS: Mapping[str, Callable[[World], Situation]] = {
    "": Situation,
    "fall_behind": FallBehind,
    "cut_off_leader": CutOffLeader,
    "change_is_lost": ChangeIsLost,
    "change_is_split": ChangeIsSplit,
    "router_sleeps": RouterSleeps,
}
"""By the name that is drawn."""
