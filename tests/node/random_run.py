"""A seeded random run of a cluster of hosts, and the dumb model that its answers are held to.

Clients write, add, write on conditions and read, and send again what was not answered or not
done. Nodes crash, links are cut and held, disks are slow or full, checkpoints and snapshots come
as they come. In the end all is healed, and then everything must add up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.commands import CreateTable
from quorate.cluster.outcome import Outcome
from raft.types import Role
from tests.node.builders import Write, add, image, key, new_id, number, put, put_if_absent
from tests.node.harness import NODES, CatalogRequest, Cluster, Request

COUNTERS = [f"counter{place}" for place in range(3)]
REGISTERS = [f"register{place}" for place in range(4)]
TABLES = [f"made{place}" for place in range(6)]
LOCKS = [f"lock{place}" for place in range(6)]

SURELY_NOT_PROPOSED = frozenset(
    {
        Outcome.NOT_LEADER,
        Outcome.NOT_REPLICA,
        Outcome.OVERLOADED,
        Outcome.EXPIRED,
        Outcome.STORAGE_FULL,
    }
)

TEXT = "x" * 300

GROUPS = (CATALOG_GROUP, 1, 2)

STEPS = 450
DOWN_MAX = 1
"""Nodes that are down or full at a time; cuts come on top."""


@dataclass(slots=True, eq=False)
class Operation:
    """What a client wants, however many requests it takes. `settled`: it will not send again."""

    kind: str
    name: str
    write: Write
    value: int = 0
    request: Request | None = None
    proposed_perhaps: bool = False
    acknowledged: bool = False
    failed: bool = False
    settled: bool = False


@dataclass(slots=True, eq=False)
class Read:
    """A strong read of a counter, and how much was acknowledged when it was sent."""

    name: str
    at_least: int
    request: Request


@dataclass(slots=True, eq=False)
class Command:
    """A table that a client wants. `request` is None once it has its answer."""

    create: CreateTable
    request: CatalogRequest | None
    refused: bool = False


@dataclass
class RandomRun:
    """One run. `counts` tells what happened, to see that chance has not slept."""

    cluster: Cluster
    rng: Random
    operations: list[Operation] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    register_of: dict[str, Operation] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        for _ in range(STEPS):
            self.step()
            self.note_answers()
        self.finish()

    # Chance

    def step(self) -> None:
        choices = {
            self.begin: 35,
            self.send_again: 20,
            self.read: 8,
            self.change_catalog: 5,
            self.let_something_happen: 60,
            self.settle: 6,
            self.tick: 25,
            self.hold_or_release_link: 6,
            self.cut_or_heal: 1,
            self.crash: 2,
            self.restart: 4,
            self.hold_or_release_log: 6,
            self.hold_or_release_items: 3,
            self.fill_disk: 1,
            self.make_room: 3,
            self.checkpoint: 4,
            self.hand_over: 2,
        }
        (act,) = self.rng.choices(list(choices), list(choices.values()))
        act()

    def begin(self) -> None:
        kind = self.rng.choice(["add", "add", "put", "lock"])
        if kind == "add":
            name = self.rng.choice(COUNTERS)
            operation = Operation(kind, name, add(name))
        elif kind == "put":
            # One writer a register, one write at a time: the newest acknowledged one must stay.
            name = self.rng.choice(REGISTERS)
            before = self.register_of.get(name)
            if before is not None and not before.acknowledged:
                return
            value = before.value + 1 if before else 1
            operation = Operation(kind, name, put(name, n=value, text=TEXT), value)
            self.register_of[name] = operation
        else:
            name = self.rng.choice(LOCKS)
            value = len(self.operations)
            operation = Operation(kind, name, put_if_absent(name, n=value), value)
        self.operations.append(operation)
        self.send(operation)

    def send(self, operation: Operation) -> None:
        """Send to the node that seems to lead, or to any."""
        up = self.cluster.up()
        group = self.cluster.partition_of(operation.write.key)
        leaders = [node for node in up if node.replica(group).core.role is Role.LEADER]
        node = self.rng.choice(leaders or up) if self.rng.random() < 0.9 else self.rng.choice(up)
        (operation.request,) = self.cluster.write(operation.write, at=node.id)

    def send_again(self) -> None:
        """A client lost patience, or was told to ask again."""
        open_ones = [operation for operation in self.operations if not operation.settled]
        if open_ones:
            operation = self.rng.choice(open_ones)
            if operation.request is not None and operation.request.outcome is None:
                operation.proposed_perhaps = True  # and its answer is not waited for any more
            self.send(operation)

    def change_catalog(self) -> None:
        """Ask for a new table, or once more for one that is not answered or not made."""
        node = self.rng.choice(self.cluster.up())
        waiting = [command for command in self.commands if command.request is not None]
        if waiting and self.rng.random() < 0.7:
            command = self.rng.choice(waiting)
            command.request = self.cluster.command(command.create, at=node.id)
            return
        create = CreateTable(new_id(), self.rng.choice(TABLES), b"{}")
        self.commands.append(Command(create, self.cluster.command(create, at=node.id)))

    def read(self) -> None:
        name = self.rng.choice(COUNTERS)
        node = self.rng.choice(self.cluster.up())
        (request,) = self.cluster.get(key(name), at=node.id)
        self.reads.append(Read(name, self.acknowledged(name), request))

    def let_something_happen(self) -> None:
        """One thing of all that may happen now, in any order."""
        cluster, rng = self.cluster, self.rng
        for _ in range(rng.randrange(1, 8)):
            actions = [node.turn for node in cluster.up() if node.turn_due]
            actions += [n.finish_log_write for n in cluster.up() if n.can_finish_log_write()]
            actions += [node.run_job for node in cluster.up() if node.jobs and not node.items_held]
            actions += [node.deliver_snapshot for node in cluster.up() if node.snapshots]
            links = [
                link
                for link, waiting in cluster.links.items()
                if waiting and link not in cluster.held_links
            ]
            place = rng.randrange(len(actions) + len(links) + 1)
            if place < len(actions):
                actions[place]()
            elif place < len(actions) + len(links):
                cluster.deliver(links[place - len(actions)])

    def settle(self) -> None:
        self.cluster.run()

    def tick(self) -> None:
        """Time passes; not everything that could happen in it does."""
        self.cluster.now += 0.05
        for node in self.cluster.up():
            node.host.tick(1)
        if self.rng.random() < 0.5:
            self.cluster.run()

    def hold_or_release_link(self) -> None:
        link = self.rng.choice(list(self.cluster.links))
        self.cluster.held_links ^= {link}

    def cut_or_heal(self) -> None:
        if self.cluster.cut_links:
            self.cluster.cut_links.clear()
        else:
            self.cluster.cut(self.rng.choice(NODES), broken=self.rng.random() < 0.5)
            self.counts["cut"] += 1

    def impaired(self) -> int:
        return sum(not node.is_up or node.disk_full for node in self.cluster.nodes.values())

    def crash(self) -> None:
        node = self.rng.choice(self.cluster.up())
        if self.impaired() - node.disk_full >= DOWN_MAX:
            return
        if node.log_write is not None and not node.disk_full and self.rng.random() < 0.5:
            node.finish_log_write(tell=False)
        if node.jobs and not node.items_full and self.rng.random() < 0.5:
            node.run_job(tell=False)
        self.cluster.crash(node.id)
        self.counts["crash"] += 1

    def restart(self) -> None:
        for node in self.cluster.nodes.values():
            if not node.is_up:
                node.log_held = node.items_held = node.disk_full = node.items_full = False
                node.start()

    def hold_or_release_log(self) -> None:
        node = self.rng.choice(self.cluster.up())
        node.log_held = not node.log_held

    def hold_or_release_items(self) -> None:
        node = self.rng.choice(self.cluster.up())
        node.items_held = not node.items_held

    def fill_disk(self) -> None:
        node = self.rng.choice(self.cluster.up())
        if self.impaired() < DOWN_MAX and node.log_write is not None:
            node.disk_full = node.items_full = True
            node.finish_log_write()
            self.counts["full"] += 1

    def make_room(self) -> None:
        for node in self.cluster.up():
            node.disk_full = node.items_full = False

    def checkpoint(self) -> None:
        for node in self.cluster.up():
            node.host.checkpointer.hurry()

    def hand_over(self) -> None:
        node = self.rng.choice(self.cluster.up())
        node.host.transfer_leadership(self.rng.choice(GROUPS), self.rng.choice(NODES))

    # The model

    def acknowledged(self, name: str) -> int:
        return sum(each.acknowledged for each in self.operations if each.name == name)

    def note_answers(self) -> None:
        for operation in self.operations:
            request = operation.request
            if request is None or request.outcome is None:
                continue
            operation.request = None
            outcome = request.outcome
            self.counts[outcome.name] += 1
            if outcome is Outcome.OK:
                operation.acknowledged = operation.settled = True
            elif outcome is Outcome.CONDITION_FAILED:
                assert operation.kind == "lock"
                self.check_taken(operation.name, request.node_id)
                operation.failed = operation.settled = True
            elif outcome is Outcome.UNKNOWN:
                operation.proposed_perhaps = True
            else:
                assert outcome in SURELY_NOT_PROPOSED
            if not operation.settled and operation.kind == "add" and self.rng.random() < 0.1:
                operation.settled = True  # this client gives up
        for command in self.commands:
            if command.request is not None and command.request.outcome is Outcome.OK:
                command.refused = bool(command.request.result.refusal)
                command.request = None
                self.counts["command"] += 1
        for read in [read for read in self.reads if read.request.outcome is not None]:
            self.reads.remove(read)
            if read.request.outcome is Outcome.OK:
                self.counts["read"] += 1
                sent = sum(each.name == read.name for each in self.operations)
                assert read.at_least <= number(read.request.payload) <= sent
            else:
                assert read.request.outcome in SURELY_NOT_PROPOSED

    def check_taken(self, name: str, node_id: int) -> None:
        """Who says that a lock is taken has applied the write that took it."""
        node = self.cluster.nodes[node_id]
        group = self.cluster.partition_of(key(name))
        assert not node.is_up or node.replica(group).machine.image(key(name))

    def finish(self) -> None:
        """Heal everything, let the clients that still wait have their way, and add up."""
        cluster = self.cluster
        for operation in self.operations:
            if operation.request is not None:
                operation.proposed_perhaps = True
        cluster.heal()
        cluster.tick_until(self.all_serving)
        cluster.tick(20)
        for operation in self.operations:
            for _ in range(100):
                if operation.settled:
                    break
                self.send(operation)
                cluster.run()
                self.note_answers()
                cluster.tick()
            assert operation.settled
        for command in self.commands:
            for _ in range(100):
                if command.request is None:
                    break
                cluster.tick_until(self.all_serving)  # a late candidate may unseat a leader
                command.request = cluster.command(command.create)
                cluster.run()
                self.note_answers()
                cluster.tick()
        cluster.tick_until(self.all_serving)
        cluster.tick(20)
        for group in GROUPS[1:]:
            cluster.assert_replicas_equal(group)
        self.check_tables()
        self.check_items()
        self.check_retries()

    def all_serving(self) -> bool:
        return all(map(self.cluster.serving, GROUPS))

    def all_items(self) -> dict[bytes, bytes]:
        return self.cluster.items_at(NODES[0], 1) | self.cluster.items_at(NODES[0], 2)

    def check_tables(self) -> None:
        """Every name has one table, made once, the same on every node."""
        first, *others = [node.host.catalog for node in self.cluster.up()]
        assert others == [first, first]
        made = [command for command in self.commands if not command.refused]
        assert len({command.create.name for command in made}) == len(made)
        assert [table.id for table in first.tables] == list(range(1, 2 + len(made)))
        assert {table.name for table in first.tables[1:]} == {c.create.name for c in made}

    def check_items(self) -> None:
        items = self.all_items()
        for name in COUNTERS:
            adds = [each for each in self.operations if each.name == name]
            low = sum(each.acknowledged for each in adds)
            high = low + sum(each.proposed_perhaps and not each.acknowledged for each in adds)
            assert low <= number(items.get(key(name), b"")) <= high
        for name in REGISTERS:
            newest = self.register_of.get(name)
            if newest is not None:
                assert newest.acknowledged
                assert items[key(name)] == image(name, n=newest.value, text=TEXT)
        for name in LOCKS:
            tries = [each for each in self.operations if each.name == name]
            holders = [each for each in tries if each.acknowledged]
            assert len(holders) == (1 if tries else 0)
            if holders:
                assert items[key(name)] == image(name, n=holders[0].value)
        machines = [self.cluster.nodes[NODES[0]].replica(group).machine for group in GROUPS[1:]]
        assert sum(m.table_sizes.get(1, (0, 0))[0] for m in machines) == len(items)

    def check_retries(self) -> None:
        """Everything acknowledged, sent once more, gets its answer and changes nothing."""
        before = self.all_items()
        for operation in self.operations:
            if operation.acknowledged:
                group = self.cluster.partition_of(operation.write.key)
                (request,) = self.cluster.do(operation.write, at=self.cluster.leader(group).id)
                assert request.outcome is Outcome.OK
        self.cluster.tick(2)
        assert self.all_items() == before


def run_seed(directory: Path, seed: int) -> Counter[str]:
    """Run one seed and return what happened."""
    cluster = Cluster(directory, seed=seed)
    try:
        cluster.bootstrap(partitions=2)
        run = RandomRun(cluster, Random(seed))
        run.run()
        run.counts["snapshot"] = cluster.snapshot_count
        return run.counts
    finally:
        cluster.close()
