"""A cluster of cores in one place: in-memory disks, a network that is a list, no clock.

A `Node` is what a host does around one core, as plainly as it can be done. Its `Disk` survives a
crash; everything else does not. `Cluster` delivers messages and ticks in a fixed order.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypedDict, Unpack

from raft.check import check_core
from raft.core import RaftCore
from raft.types import (
    Compacted,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    RaftConfig,
    Ready,
    Rng,
    Role,
    SnapshotMeta,
)


class Settings(TypedDict, total=False):
    """What a test may set of a RaftConfig."""

    election_ticks_min: int
    heartbeat_ticks: int
    quick_campaign_ticks: int
    quick_campaign_count: int
    append_bytes_max: int
    in_flight_count_max: int
    in_flight_bytes_max: int
    committed_bytes_max: int
    uncommitted_bytes_max: int
    cache_bytes_max: int


State = tuple[tuple[int, bytes], ...]
"""What a replica has applied: (index, payload) of every command, in order."""


class MemoryLog:
    """A LogReader over a list, and the writes a host would make."""

    def __init__(
        self, entries: Iterable[Entry] = (), *, cut_index: int = 0, cut_term: int = 0
    ) -> None:
        self.entries_held = list(entries)
        self.cut_index = cut_index
        self.cut_term = cut_term
        self.reads = 0

    def first_index(self) -> int:
        return self.cut_index + 1

    def last_index(self) -> int:
        return self.cut_index + len(self.entries_held)

    def term(self, index: int) -> int:
        if index == self.cut_index:
            return self.cut_term
        if index < self.cut_index:
            raise Compacted(index)
        return self.entries_held[index - self.cut_index - 1].term

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        self.reads += 1
        if low <= self.cut_index:
            raise Compacted(low)
        page: list[Entry] = []
        size_bytes = 0
        for entry in self.entries_held[low - self.cut_index - 1 : high - self.cut_index - 1]:
            size_bytes += len(entry.payload)
            if page and size_bytes > bytes_max:
                break
            page.append(entry)
        return page

    def write(self, truncate_from: int | None, entries: Sequence[Entry]) -> None:
        if truncate_from is not None:
            assert truncate_from > self.cut_index
            del self.entries_held[truncate_from - self.cut_index - 1 :]
        if entries:
            assert entries[0].index == self.last_index() + 1
            self.entries_held.extend(entries)

    def cut(self, index: int) -> None:
        if index > self.cut_index:
            term = self.term(index)
            del self.entries_held[: index - self.cut_index]
            self.cut_index, self.cut_term = index, term

    def reset(self, index: int, term: int) -> None:
        self.entries_held = []
        self.cut_index, self.cut_term = index, term


@dataclass
class Disk:
    """What survives a crash: the log with its hard state, and the newest checkpoint."""

    configuration: Configuration
    hard_state: HardState = field(default_factory=HardState)
    log: MemoryLog = field(default_factory=MemoryLog)
    applied: int = 0
    applied_term: int = 0
    state: State = ()


class Node:
    """One replica with the least host around it."""

    def __init__(
        self, config: RaftConfig, disk: Disk, rng: Rng, *, tells_news: bool = False
    ) -> None:
        self.config = config
        self.tells_news = tells_news
        self.disk = disk
        self.rng = rng
        self.snapshots: dict[int, State] = {}
        self.alive = False
        self.start()

    def start(self) -> None:
        """Start from the disk, as after a crash."""
        disk = self.disk
        log = disk.log
        held = log.cut_index <= disk.applied <= log.last_index()
        if disk.applied > log.last_index() or (
            held and log.term(disk.applied) != disk.applied_term
        ):
            # A crash between the installation of a snapshot and the reset of the log.
            log.reset(disk.applied, disk.applied_term)
        self.core = RaftCore(
            self.config,
            hard_state=replace(disk.hard_state),
            configuration=disk.configuration,
            log=disk.log,
            applied=disk.applied,
            applied_term=disk.applied_term,
            rng=self.rng,
        )
        self.state = disk.state
        self.configuration = disk.configuration
        self.writing: Ready | None = None
        self.installing: SnapshotMeta | None = None
        self.reads: dict[int, int] = {}
        self.dropped_reads: list[int] = []
        self.role_changes = 0
        self.snapshot_wanted = False
        self.alive = True
        check_core(self.core)

    def crash(self) -> None:
        """Lose everything that is not on the disk, a write in flight included."""
        self.alive = False
        self.writing = None

    def take(self) -> list[Message]:
        """Take one Ready, apply, and put its write in flight; return what may leave now."""
        ready = self.core.take_ready(self.writing is None)
        if ready.ticket:
            assert self.writing is None
            self.writing = ready
        else:
            assert ready.hard_state is None
            assert ready.truncate_from is None
            assert not ready.entries
            assert not ready.send_after
        for entry in ready.committed:
            self.apply(entry)
        if ready.committed:
            self.core.applied_to(ready.committed[-1].index)
        if ready.snapshot is not None:
            assert self.installing is None
            self.installing = ready.snapshot
        self.reads.update(ready.reads)
        self.dropped_reads += ready.dropped_reads
        self.role_changes += ready.role_changed
        self.snapshot_wanted = self.snapshot_wanted or ready.snapshot_wanted
        news = self.core.take_news() if self.tells_news and self.writing is None else []
        check_core(self.core)
        return ready.send_now + news

    def apply(self, entry: Entry) -> None:
        """Apply one committed entry; it must be durable here."""
        assert self.disk.log.term(entry.index) == entry.term
        if entry.kind == EntryKind.COMMAND:
            self.state = (*self.state, (entry.index, entry.payload))
        elif entry.kind == EntryKind.CONFIGURATION:
            self.configuration = Configuration.decode(entry.payload)

    def write_to_disk(self) -> None:
        """The write in flight reaches the disk; the core does not know yet."""
        ready = self.writing
        assert ready is not None
        if ready.hard_state is not None:
            self.disk.hard_state = ready.hard_state
        self.disk.log.write(ready.truncate_from, ready.entries)

    def written(self) -> list[Message]:
        """The core learns of the write on disk; return what had waited for it."""
        ready, self.writing = self.writing, None
        assert ready is not None
        self.core.persisted(ready.ticket)
        check_core(self.core)
        return ready.send_after

    def sync(self) -> list[Message]:
        """The write in flight succeeds."""
        self.write_to_disk()
        return self.written()

    def checkpoint(self) -> None:
        """Make the applied state durable."""
        disk = self.disk
        disk.state = self.state
        disk.configuration = self.configuration
        disk.applied = self.core.applied
        disk.applied_term = self.core.log.term(self.core.applied)

    def cut(self, index: int | None = None) -> None:
        """Cut the log at an applied index, and offer a snapshot at the applied one."""
        self.checkpoint()
        self.snapshots[self.disk.applied] = self.state
        meta = SnapshotMeta(self.disk.applied, self.disk.applied_term, self.configuration)
        self.core.set_snapshot(meta)
        self.disk.log.cut(self.disk.applied if index is None else index)

    def install(self, state: State, *, reset_log: bool = True) -> None:
        """Install the snapshot the core has asked for; without `reset_log`, crash half-way."""
        meta = self.installing
        assert meta is not None
        assert self.writing is None
        disk = self.disk
        disk.state, disk.configuration = state, meta.configuration
        disk.applied, disk.applied_term = meta.index, meta.term
        if reset_log:
            disk.log.reset(meta.index, meta.term)
            self.state, self.configuration = state, meta.configuration
            self.installing = None
            self.core.snapshot_installed(meta.index)
            check_core(self.core)


class Cluster:
    """Some nodes and the messages between them; everything happens when a test says so."""

    def __init__(
        self,
        voters: Sequence[int] = (1, 2, 3),
        *,
        learners: Sequence[int] = (),
        strangers: Sequence[int] = (),
        seed: int = 1,
        tells_news: bool = False,
        **settings: Unpack[Settings],
    ) -> None:
        self.rng = Random(seed)
        self.configuration = Configuration(tuple(voters), learners=tuple(learners))
        self.settings = settings
        self.tells_news = tells_news
        self.nodes: dict[int, Node] = {}
        self.messages: list[Message] = []
        self.log_of_messages: list[Message] = []
        self.drop: Callable[[Message], bool] = lambda message: False
        self.cut_off: list[int] = []
        for node_id in (*voters, *learners):
            self.add(node_id, self.configuration)
        for node_id in strangers:
            self.add(node_id, Configuration(()))

    def add(self, node_id: int, configuration: Configuration) -> Node:
        """Start a node with an empty disk."""
        config = RaftConfig(node_id=node_id, **self.settings)
        self.nodes[node_id] = Node(
            config, Disk(configuration), self.rng, tells_news=self.tells_news
        )
        return self.nodes[node_id]

    def core(self, node_id: int) -> RaftCore:
        """Return the core of one node."""
        return self.nodes[node_id].core

    def send(self, messages: Iterable[Message]) -> None:
        """Put messages on the network, unless the test drops them."""
        for message in messages:
            self.log_of_messages.append(message)
            if message.sender in self.cut_off or message.to in self.cut_off:
                continue
            if not self.drop(message):
                self.messages.append(message)

    def run(self, node: Node) -> bool:
        """Let one node work until it waits; whether it did anything."""
        worked = False
        while node.alive and (node.core.has_ready() or node.writing is not None):
            worked = True
            self.send(node.take())
            if node.writing is not None:
                self.send(node.sync())
            if node.installing is not None:
                self.install(node)
        return worked

    def install(self, node: Node) -> None:
        """Give a node the snapshot it has to install."""
        meta = node.installing
        assert meta is not None
        states = [n.snapshots[meta.index] for n in self.nodes.values() if meta.index in n.snapshots]
        node.install(states[0])

    def deliver(self) -> bool:
        """Deliver what is on the network now; whether there was anything."""
        messages, self.messages = self.messages, []
        for message in messages:
            node = self.nodes.get(message.to)
            if node is not None and node.alive:
                node.core.step(message)
                check_core(node.core)
        return bool(messages)

    def settle(self) -> None:
        """Go on until nothing happens without time passing."""
        for _ in range(1000):
            worked = [self.run(node) for node in self.nodes.values()]
            if not self.deliver() and not any(worked):
                return
        raise AssertionError("the cluster does not come to rest")

    def tick(self, count: int = 1, *, only: Sequence[int] | None = None) -> None:
        """Let time pass, on some nodes or all, settling after every tick."""
        for _ in range(count):
            for node_id, node in self.nodes.items():
                if node.alive and (only is None or node_id in only):
                    node.core.tick()
                    check_core(node.core)
            self.settle()

    def elect(self, node_id: int) -> RaftCore:
        """Make one node the leader."""
        self.core(node_id).campaign()
        self.settle()
        assert self.core(node_id).role is Role.LEADER
        return self.core(node_id)

    def propose(self, node_id: int, *payloads: bytes) -> range:
        """Propose at one node and settle."""
        indexes = self.core(node_id).propose(payloads)
        self.settle()
        return indexes

    def restart(self, node_id: int) -> None:
        """Crash one node and start it again."""
        self.nodes[node_id].crash()
        self.nodes[node_id].start()

    def leaders(self) -> list[int]:
        """Return who believes to lead."""
        return [i for i, n in self.nodes.items() if n.alive and n.core.role is Role.LEADER]

    def commands(self, node_id: int) -> list[bytes]:
        """Return the commands that one node has applied."""
        return [payload for _, payload in self.nodes[node_id].state]
