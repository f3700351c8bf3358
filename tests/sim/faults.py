"""Chance's bad ideas: crashes, cuts, pauses, bad disks; each heals after a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from quorate.cluster.catalog import NodeRecord
from raft.types import Role
from tests.sim.nodes import SimulatedNode

if TYPE_CHECKING:
    from tests.sim.world import World

DRIFT = 0.05
"""How much a clock may run fast or slow at least, if its speed changes at all."""

TABLES_MAX = 4

LEFT_DEAD = 0.2
"""Probability that one node stays dead in the end: a quorum must be enough."""

DELICATE = ("membership_changing", "snapshot_installing")
"""What nodes do rarely; faults that come by chance would mostly miss it."""


class Faults:
    """Draws a fault now and then, until it is told to stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.active = True
        self._tables = 0
        self._directories = 0

    def start(self) -> None:
        self._schedule_next()

    def _schedule_next(self) -> None:
        world = self._world
        seconds = world.rng.expovariate(1 / world.options.fault_every)
        world.schedule.after(seconds, self._next)

    def _next(self) -> None:
        if not self.active:
            return
        world = self._world
        faults = world.options.faults
        (kind,) = world.rng.choices(list(faults), list(faults.values()))
        world.counts[kind] += 1
        act: Callable[[], None] = getattr(self, kind)
        act()
        self._schedule_next()

    def _some(self) -> SimulatedNode | None:
        up = [node for node in self._world.nodes.values() if node.is_up]
        return self._world.rng.choice(up) if up else None

    def _some_leader(self) -> SimulatedNode | None:
        """Prefer a node that leads a partition: that is where faults hurt."""
        world = self._world
        leaders = [
            node
            for node in world.nodes.values()
            if node.is_up
            and any(r.core.role is Role.LEADER for r in node.host.replicas.values() if r.group)
        ]
        if leaders and world.rng.random() < 0.6:
            return world.rng.choice(leaders)
        return self._some()

    def pairs_between(self, some: Sequence[int], others: Sequence[int]) -> list[tuple[int, int]]:
        """Return all pairs of one of each, in both directions."""
        pairs = [(one, other) for one in some for other in others]
        return pairs + [(to, sender) for sender, to in pairs]

    def _seconds(self) -> float:
        """How long a fault lasts: mostly short, sometimes beyond an election."""
        rng = self._world.rng
        return rng.choice((0.05, 0.5, 2.0, 5.0)) * (0.5 + rng.random())

    # Nodes

    def crash(self) -> None:
        node = self._some_leader()
        if node is not None:
            self.crash_node(node, why="kill")

    def crash_node(self, node: SimulatedNode, *, why: str) -> None:
        world = self._world
        self.kill(node, why=why)
        world.schedule.after(world.rng.choice((0.02, 0.3, 2.0)), world.start_node, node)

    def kill(self, node: SimulatedNode, why: str) -> None:
        """End a node's process, if it has one."""
        world = self._world
        if not node.is_running:
            return
        world.tell(node.name, "is killed:", why)
        node.crash(world.options.kept)
        world.network.node_died(node.id, noticed=world.rng.random() < 0.7)
        world.break_router_streams(node)

    def empty_disk(self) -> None:
        """A node comes back with an empty directory: it must be kept out, for it has forgotten."""
        world = self._world
        node = self._some_leader()
        if node is None or self._some_are_lost():
            return
        self.kill(node, why="its directory is lost")
        world.lost.append(node.id)
        self.lose_directory(node)
        if world.rng.random() < 0.3:
            self.power_cut()
        world.schedule.after(world.rng.choice((0.02, 0.3, 2.1)), world.start_node, node)
        if world.rng.random() < 0.7:
            world.schedule.after(3 * world.rng.random(), self.replace, node)

    def lose_directory(self, node: SimulatedNode) -> None:
        self._world.tell(node.name, "loses its directory")
        node.use_new_disk(self._new_incarnation())

    def replace_node(self) -> None:
        """A new node takes the place of one that is well."""
        node = self._some_leader()
        if node is not None and not self._some_are_lost():
            self.replace(node)

    def replace(self, node: SimulatedNode, *, seconds: float = 2.0) -> bool:
        """Let a new node, which starts within so many seconds, take a node's place, if it may."""
        world = self._world
        catalog = world.newest_catalog
        old = catalog.node_by_id.get(node.id)
        others = [each for each in catalog.nodes if catalog.replacements.get(each.id) != node.id]
        if old is None or any(each.replacement for each in others):
            return False
        incarnation = self._new_incarnation()
        name = old.name if node.is_over and world.rng.random() < 0.5 else incarnation
        world.tell(node.name, "is to be replaced by", name)
        world.catalog_client.replace_node(old, name)
        new = SimulatedNode(
            world,
            NodeRecord(id=0, name=name, az=old.az, address=f"{name}:1", incarnation=incarnation),
        )
        world.schedule.after(seconds * world.rng.random(), self._start_new, new, old.id)
        return True

    def replace_those_that_ended(self) -> None:
        """Do what an operator would, for nodes kept out and for those lost while they join."""
        world = self._world
        if world.catalog_client.pending:
            return
        catalog = world.newest_catalog
        for new in catalog.replacements.values():
            if world.nodes[new].is_over:
                self.replace(world.nodes[new])
        for record in catalog.nodes:
            node = world.nodes[record.id]
            if node.is_over and node.id not in world.lost:
                world.lost.append(node.id)
                self.replace(node)

    def _start_new(self, new: SimulatedNode, old: int) -> None:
        """Start a new node, once its place is kept for it: else its name might be refused."""
        world = self._world
        record = world.newest_catalog.node_by_id.get(old)
        if record is not None and not record.replacement:
            world.schedule.after(0.1, self._start_new, new, old)
        else:
            new.start()

    def _some_are_lost(self) -> bool:
        """Whether a node of the cluster has lost its disk: a second one may be one too many."""
        world = self._world
        return any(
            node_id in world.lost or world.nodes[node_id].is_over
            for node_id in world.newest_catalog.node_by_id
        )

    def _new_incarnation(self) -> str:
        self._directories += 1
        return f"new{self._directories}"

    def power_cut(self) -> None:
        """All nodes at once; the power comes back for all at once, too."""
        world = self._world
        seconds = world.rng.choice((0.02, 0.3, 2.0))
        for node in list(world.nodes.values()):
            if node.is_up:
                self.kill(node, why="power cut")
                world.schedule.after(seconds + 0.2 * world.rng.random(), world.start_node, node)

    # At the worst moment

    def noticed(self, node: SimulatedNode, event: str, learners: Sequence[int] = ()) -> None:
        """Strike, perhaps, while a node does something that is rare and takes a short time."""
        world = self._world
        if not self.active or event not in DELICATE or world.rng.random() >= world.options.strikes:
            return
        strikes = [self._strike, self._cut_power]
        if event == "membership_changing":
            strikes.append(self._isolate)
            if learners and world.rng.random() < 0.5:
                node = world.nodes[learners[-1]]
        strike = world.rng.choice(strikes)
        world.schedule.after(world.rng.choice((0.0, 0.01, 0.04)), strike, node)

    def _isolate(self, node: SimulatedNode) -> None:
        if self.active:
            self.cut_off(node, seconds=3.0)

    def _cut_power(self, node: SimulatedNode) -> None:
        if self.active:
            self.power_cut()

    def _strike(self, node: SimulatedNode) -> None:
        if node.is_up and self.active:
            self.crash_node(node, why="at the worst moment")

    def pause(self) -> None:
        node = self._some_leader()
        if node is not None and not node.paused:
            self._world.tell(node.name, "is paused")
            node.pause()
            self._world.schedule.after(self._seconds(), self._go_on, node, node.life)

    def _go_on(self, node: SimulatedNode, life: int) -> None:
        if node.life == life and node.paused:
            self._world.tell(node.name, "goes on")
            node.go_on()

    def change_drift(self) -> None:
        """A clock that was slow is fast, or the other way round."""
        node = self._some()
        if node is not None:
            drift = 1.0 + self._world.rng.uniform(-1, 1) * max(
                DRIFT, self._world.options.clock_drift
            )
            self._world.tell(node.name, "has a clock of speed", drift)
            node.change_drift(drift)

    # Network

    def cut_one_way(self) -> None:
        world = self._world
        sender, to = world.rng.sample(list(world.nodes), 2)
        self._cut([(sender, to)])

    def split(self) -> None:
        """Some nodes, mostly one, and some routers on one side, the others on the other."""
        world = self._world
        node = self._some_leader()
        if node is None:
            return
        others = [other for other in world.nodes if other != node.id]
        side = [node.id]
        if len(others) > 2 and world.rng.random() < 0.5:
            side.append(others.pop(world.rng.randrange(len(others))))
        pairs = self.pairs_between(side, others)
        for router in world.routers:
            pairs += self.pairs_between([router.id], others if world.rng.random() < 0.5 else side)
        self._cut(pairs, seconds=world.rng.choice((0.4, 0.8, 3.0, 6.0)))

    def cut_off(self, node: SimulatedNode, *, seconds: float) -> None:
        """Cut a node off from all others."""
        others = [other for other in self._world.nodes if other != node.id]
        self._cut(self.pairs_between([node.id], others), seconds=seconds)

    def bridge(self) -> None:
        """Two sides that do not see each other, and one node that sees both."""
        world = self._world
        nodes = list(world.nodes)
        world.rng.shuffle(nodes)
        world.tell("network", "bridge:", nodes.pop())
        middle = len(nodes) // 2
        self._cut(self.pairs_between(nodes[:middle], nodes[middle:]))

    def _cut(self, pairs: list[tuple[int, int]], *, seconds: float = 0.0) -> None:
        world = self._world
        mode = world.rng.choice(("drop", "hold"))
        world.tell("network", "cut", mode, pairs)
        for pair in pairs:
            world.network.cut(pair, mode)
        breaks = world.rng.choice(("none", "all", "some", "outgoing"))
        for pair in pairs:
            stream = world.network.streams.get(pair)
            if stream is not None and (
                breaks == "all"
                or (breaks == "some" and world.rng.random() < 0.5)
                or (breaks == "outgoing" and pair[0] == pairs[0][0])
            ):
                world.network.break_stream(stream)
        world.schedule.after(seconds or self._seconds(), self.mend, pairs)

    def mend(self, pairs: list[tuple[int, int]]) -> None:
        self._world.tell("network", "mended", pairs)
        for pair in pairs:
            self._world.network.mend(pair)

    def cut_router(self) -> None:
        world = self._world
        router = world.rng.choice(world.routers)
        node_id = world.rng.choice(list(world.nodes))
        pairs = self.pairs_between([router.id], [node_id])
        self._cut([pair for pair in pairs if world.rng.random() < 0.7] or pairs)

    def break_peer_stream(self) -> None:
        network = self._world.network
        network.break_stream(self._world.rng.choice(list(network.streams.values())))

    def break_router_stream(self) -> None:
        world = self._world
        upstreams = list(world.rng.choice(world.routers).upstreams.values())
        if upstreams:
            world.rng.choice(upstreams).break_stream()

    def restart_router(self) -> None:
        world = self._world
        router = world.rng.choice(world.routers)
        if router.is_up:
            router.stop()
            for client in world.clients:
                client.router_died(router)
            world.schedule.after(0.1 + 0.3 * world.rng.random(), router.start)

    def stop_router(self) -> None:
        """Stop a router's process for a while, with requests under way and unread."""
        world = self._world
        router = world.rng.choice(world.routers)
        router.sleep(suspended=world.rng.random() < 0.3)
        world.schedule.after(self._seconds(), router.wake)

    def replay(self) -> None:
        for _ in range(self._world.rng.randrange(1, 10)):
            self._world.network.replay()

    # Disks

    def hang_disk(self) -> None:
        node = self._some_leader()
        if node is not None:
            self._world.tell(node.name, "disk hangs")
            node.disk_hung = True
            self._world.schedule.after(self._seconds(), self._mend_disk, node)

    def slow_disk(self) -> None:
        node = self._some()
        if node is not None:
            self._world.tell(node.name, "disk is slow")
            node.disk_slow = self._world.rng.choice((0.02, 0.2))
            self._world.schedule.after(self._seconds(), self._mend_disk, node)

    def fill_disk(self) -> None:
        node = self._some_leader()
        if node is not None:
            self._world.tell(node.name, "disk is full")
            node.disk_full = True
            self._world.schedule.after(self._seconds(), self._mend_disk, node)

    def _mend_disk(self, node: SimulatedNode) -> None:
        self._world.tell(node.name, "disk is well")
        node.disk_hung = node.disk_full = False
        node.disk_slow = 0.0

    def fail_disk(self) -> None:
        """The next log commit fails, and nobody knows what is on the disk."""
        node = self._some()
        if node is not None:
            node.eio_due = True

    def fail_read(self) -> None:
        """The next read of the log or of the items fails, in the middle of whatever it was for."""
        node = self._some()
        if node is not None:
            node.read_eio_due = True

    # Work

    def checkpoint(self) -> None:
        node = self._some()
        if node is not None:
            node.call(node.host.checkpointer.hurry)

    def transfer(self) -> None:
        world = self._world
        group = world.rng.randrange(world.options.partitions + 1)
        to = world.rng.choice(list(world.nodes))
        for node in world.nodes.values():
            if node.is_up:
                node.call(node.host.transfer_leadership, group, to)

    def create_table(self) -> None:
        if self._tables < TABLES_MAX:
            self._tables += 1
            self._world.catalog_client.create(f"extra-{self._tables}")

    def drop_table(self) -> None:
        client = self._world.catalog_client
        extra = [name for name in client.tables if name.startswith("extra")]
        if extra:
            client.drop(self._world.rng.choice(extra))
        elif self.active and self._tables < TABLES_MAX:
            self.create_table()
            self._world.schedule.after(0.2 + self._world.rng.random(), self.drop_table)

    # The end

    def heal(self) -> None:
        """Mend everything, and start what is down."""
        world = self._world
        self.active = False
        world.tell("world", "heals")
        world.network.mend_all()
        if world.rng.random() < LEFT_DEAD and not self._some_are_lost():
            self._leave_dead()
        for node in list(world.nodes.values()):  # one that goes on may learn of another
            node.eio_due = node.read_eio_due = False
            self._mend_disk(node)
            if node.paused:
                node.go_on()
            world.start_node(node)
            if node.is_up:
                node.call(node.host.checkpointer.hurry)  # what was dropped must go
        for router in world.routers:
            if not router.is_up:
                router.start()
            router.wake()

    def _leave_dead(self) -> None:
        world = self._world
        catalog = world.newest_catalog
        if world.catalog_client.pending or any(node.replacement for node in catalog.nodes):
            return
        node = world.nodes[world.rng.choice(catalog.nodes).id]
        # One that was added may be about to replace another, by a command that nobody has seen yet.
        was_there = node.id in world.first_catalog.node_by_id
        if node.is_up and was_there:
            self.kill(node, why="for good")
            node.is_over = True
            world.lost.append(node.id)
