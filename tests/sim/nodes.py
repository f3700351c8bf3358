"""A node: the real host over simulated disks. Implements `node.host.Shell`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from node.acquaintances import Acquaintances
from node.host import TICK_SECONDS, Host
from node.join import JoinRefused, Step, check_answer
from node.machine.catalog import CatalogResult
from node.peer_batch import PeerBatch
from node.storage.errors import StorageFull
from quorate.cluster.catalog import CATALOG_GROUP, Catalog, NodeRecord
from quorate.cluster.commands import Bootstrap, CatalogCommand, encode_catalog_command
from raft.types import Message, Role
from tests.sim.disk import (
    ItemsDisk,
    LogDisk,
    MemoryItemStore,
    MemoryLogStore,
    MemoryRecord,
    ReadFailed,
)
from tests.sim.followers import Follower
from tests.sim.following import CatalogFollowing
from tests.sim.joining import begin_start, identify, new_identity, next_step
from tests.sim.torn import is_whole_after_tearing
from tests.sim.transfers import Transfers, lose_unsynced_pieces

if TYPE_CHECKING:
    from node.storage.items import ItemStore
    from node.storage.log import GroupWrite, LogRecord, LogStore
    from tests.sim.world import World

FULL_RETRY_SECONDS = 0.5
JOIN_RETRY_SECONDS = 0.1
ASK_SECONDS = 0.3
TORN = 0.3
"""Probability that a crash tears the log's commit in flight."""

Job = tuple[Callable[[], None], Callable[[bool], None]]


class SimulatedNode:
    """One node. Its disks outlive its host. `life` counts its starts.

    `is_running`: there is a process, which says who it is; `is_up`: it takes part, too. `is_over`:
    another node has its place, or it was told that it has none. One with id 0 has none yet.
    """

    def __init__(self, world: World, record: NodeRecord) -> None:
        self.id = record.id
        self.record = record
        self.name = f"node {record.id}"
        self.world = world
        self._checker = world.checker
        self.life = 0
        self.is_running = False
        self.is_up = False
        self.is_over = False
        self.paused = False
        self.disk_hung = False
        self.disk_full = False
        self.disk_slow = 0.0
        self.eio_due = False  # at the next log commit
        self.read_eio_due = False  # when the host reads next
        self._reading = False
        self.resumed_at = 0.0
        self.heard_at: dict[int, float] = {}  # when something of another node arrived
        self.drift = 1.0 + world.rng.uniform(-1, 1) * world.options.clock_drift
        self.offset = world.rng.random() * 1000
        self._disks: list[tuple[LogDisk, ItemsDisk]] = []  # all it ever had
        self.use_new_disk(record.incarnation)

    def use_new_disk(self, incarnation: str) -> None:
        """Begin with a directory that nobody has seen before."""
        self.log_disk = LogDisk(self._log_written_on_disk)
        self.items_disk = ItemsDisk()
        self._disks.append((self.log_disk, self.items_disk))
        self.identity = new_identity(self.record, incarnation)

    def _log_written_on_disk(self, write: GroupWrite) -> None:
        self.world.checker.log_written(self, write)

    # Start

    def start(self) -> None:
        """Start the process, if there is none: it takes part as soon as it may."""
        if self.is_running or self.is_over:
            return
        self.is_running = True
        self.paused = False
        self.life += 1
        self._deferred: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.introduction = begin_start(self.identity)
        self.acquaintances = Acquaintances(self.identity, lambda identity: None)
        self.world.schedule.after(ASK_SECONDS * self.world.rng.random(), self._join, self.life)

    @property
    def answers(self) -> bool:
        """Whether it takes part and is not paused."""
        return self.is_up and not self.paused

    def _join(self, life: int) -> None:
        """Do what `node.join.join` does."""
        if life != self.life:
            return
        world = self.world
        try:
            step = next_step(self)
        except JoinRefused:
            self.end("is refused")
            return
        if step is Step.TAKE_PART:
            self.identity.initial |= not self.identity.joined
            self.identity.joined = True
            self._take_part()
        elif step is Step.ASK_FOR_PLACE:
            world.catalog_client.add_node(self)
        else:
            world.schedule.after(JOIN_RETRY_SECONDS, self._join, life)

    def end(self, why: str) -> None:
        """Stop for good: this process may not take part, or not any more."""
        self.world.tell(self.name, why)
        self.world.counts[why] += 1
        self.is_over = True
        self.crash(kept=1.0)
        self.world.network.node_died(self.id, noticed=True)
        self.world.break_router_streams(self)

    def ask_why(self, peer: SimulatedNode) -> None:
        """Find out why a peer does not let this node in; end if it may not take part."""
        try:
            check_answer(self.identity, peer.record.address, identify(peer, self))
        except JoinRefused:
            self.end("is told to leave")

    def _take_part(self) -> None:
        """Start a host from what the disks hold."""
        world = self.world
        self.is_up = True
        self._turn_due = False
        self._bootstrapping = False
        self.transfers = Transfers(self)
        self.follower = Follower(self)
        self._log_job: MemoryRecord | None = None
        self._items_jobs: list[Job] = []
        self.log_store = MemoryLogStore(self.log_disk, self._check_read)
        self.items = MemoryItemStore(self.items_disk, lambda: self.disk_full, self._check_read)
        self.following = CatalogFollowing(self)
        world.tell(self.name, "starts")
        self.host = Host(
            node_id=self.id,
            log=cast("LogStore", self.log_store),
            items=cast("ItemStore", self.items),
            rng=world.rng,
            shell=self,
        )
        founders = world.catalog_voters if self.identity.initial else ()
        self.host.recover(founders, self.transfers.unfinished())
        world.checker.watch_replicas(self)
        self._ticked = self.monotonic()
        self.later(world.rng.random() * TICK_SECONDS, self._tick)
        self.following.ask()

    def crash(self, kept: float) -> None:
        """Lose all that is not durable; what is in flight is kept with probability `kept`."""
        if self.is_up:
            self._lose_what_is_in_flight(kept)
            self.following.end()
        lose_unsynced_pieces(self)
        if not self.identity.joined:  # whom it has met is mostly not on its disk yet
            self.identity.peers.clear()
            self.identity.addresses.clear()
        self.is_running = self.is_up = self.paused = False
        self._deferred = []
        self.life += 1
        self._log_job = None
        self._items_jobs = []

    def _lose_what_is_in_flight(self, kept: float) -> None:
        rng, job = self.world.rng, self._log_job
        self.world.tell(self.name, "crashes")
        if job is not None and not self.disk_full and self._reaches_the_disk(job, kept):
            self.world.tell(self.name, "its log commit was kept")
            self.log_store.commit(job)
        if self._items_jobs and not self.disk_full and rng.random() < kept:
            self._items_jobs[0][0]()

    def _reaches_the_disk(self, job: MemoryRecord, kept: float) -> bool:
        """Whether a commit in flight is whole on the disk after a crash."""
        rng = self.world.rng
        if rng.random() >= TORN:
            return rng.random() < kept
        self.world.counts["torn"] += 1
        return is_whole_after_tearing(job, rng)

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Let somebody look who is not the host: no read fails."""
        kept, self._reading = self._reading, False
        yield
        self._reading = kept

    def _check_read(self) -> None:
        if self._reading:
            self._reading = self.read_eio_due = False
            self.world.counts["read failed"] += 1
            raise ReadFailed

    # Time

    def call(self, act: Callable[..., object], *arguments: Any) -> None:
        """Let the host do something, now or once it goes on."""
        if self.paused:
            self._deferred.append((act, arguments))
            return
        host = self.host
        replicas = host.replicas
        count = len(replicas)
        if self.read_eio_due:
            if not self._has_read(act, arguments):
                return
        else:
            act(*arguments)
        if len(replicas) != count:  # an install has ended, or the catalog has changed
            self._checker.watch_replicas(self)
        if host._dirty:
            self._checker.after(self, host._dirty)

    def _has_read(self, act: Callable[..., object], arguments: tuple[Any, ...]) -> bool:
        """Let the host do something whose first read fails; whether it could do without."""
        self._reading = True
        try:
            act(*arguments)
        except ReadFailed:
            self.world.faults.crash_node(self, why="EIO from a read")
            return False
        finally:
            self._reading = False
        return True

    def later(
        self, seconds: float, act: Callable[..., object], *arguments: Any, **named: Any
    ) -> None:
        """Let this process do something, unless it ends before."""
        if named:
            act = partial(act, **named)
        self.world.schedule.after(seconds, self._if_alive, self.life, act, *arguments)

    def _if_alive(self, life: int, act: Callable[..., object], *arguments: Any) -> None:
        if life == self.life:
            self.call(act, *arguments)

    def pause(self) -> None:
        self.paused = True

    def go_on(self) -> None:
        """Do all that waited, in order."""
        self.paused = False
        self.resumed_at = self.world.schedule.now
        deferred, self._deferred = self._deferred, []
        life = self.life
        for act, arguments in deferred:
            if life == self.life:
                self.call(act, *arguments)

    def change_drift(self, drift: float) -> None:
        """Let the clock run at another speed from now on."""
        self.offset += self.world.schedule.now * (self.drift - drift)
        self.drift = drift

    def _tick(self) -> None:
        now = self.monotonic()
        count = int((now - self._ticked) / TICK_SECONDS + 1e-6)
        self._ticked += count * TICK_SECONDS
        self.later(TICK_SECONDS * self.world.options.ticks_at_once / self.drift, self._tick)
        if count:
            self._checker.check_leaders_are_heard(self)
            self.host.tick(count)
            if not self.host.catalog.epoch and CATALOG_GROUP in self.host.replicas:
                self._maybe_bootstrap()

    def _maybe_bootstrap(self) -> None:
        host = self.host
        replica = host.replicas[CATALOG_GROUP]
        if self._bootstrapping or replica.core.role is not Role.LEADER:
            return
        self._bootstrapping = True

        def answer(outcome: object, result: CatalogResult) -> None:
            self._bootstrapping = False

        identity, first = self.identity, self.world.first_catalog
        incarnations = {identity.node_id: identity.incarnation, **identity.peers}
        nodes = tuple(replace(node, incarnation=incarnations[node.id]) for node in first.nodes)
        command = Bootstrap(b"bootstrap".ljust(16, b"\0"), replace(first, nodes=nodes))
        host.change_catalog(encode_catalog_command(command), answer)

    # node.host.Shell

    def monotonic(self) -> float:
        return self.offset + self.world.schedule.now * self.drift

    def wall_clock(self) -> float:
        return self.offset / 1000 + self.world.schedule.now

    def schedule_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            world = self.world
            seconds = world.rng.random() * world.options.loop
            world.schedule.after(seconds, self._if_alive, self.life, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        touched = self.host._dirty
        self.host.turn()
        self._reading = False
        self._checker.after(self, touched)

    def send(self, outbox: PeerBatch) -> None:
        self.world.network.send(outbox)

    def catalog_changed(self, catalog: Catalog) -> None:
        self.world.meet(catalog)
        self.world.checker.watch_replicas(self)
        self.acquaintances.follow(catalog)
        self.following.catalog_changed()
        if self.acquaintances.has_been_removed:
            self.later(0.05 * self.world.rng.random(), self.end, "leaves")

    def want_catalog(self, epoch: int) -> None:
        self.follower.want()

    def change_catalog(self, command: CatalogCommand) -> None:
        self.world.catalog_client.pass_on(self, command)

    def log(self, event: str, **facts: object) -> None:
        self.world.tell(self.name, event, facts)
        self._checker.logged(self, event, facts)
        learners = cast("Sequence[int]", facts.get("learners", ()))
        self.world.faults.noticed(self, event, learners)
        self.world.situation.noticed(self, event, facts)

    # The log's disk

    def write_log(self, record: LogRecord) -> None:
        assert self._log_job is None, "one log write in flight"
        self._log_job = cast("MemoryRecord", record)
        self._start_log_job()

    def _start_log_job(self) -> None:
        self.world.schedule.after(self._disk_seconds(), self._commit_log, self.life)

    def _commit_log(self, life: int) -> None:
        """The disk's work, which goes on while the node is paused."""
        if life != self.life:
            return
        if self.disk_hung:
            self.world.schedule.after(0.05, self._commit_log, life)
            return
        record = self._log_job
        assert record is not None
        if self.eio_due:
            self.eio_due = False
            self.world.faults.crash_node(self, why="EIO from the log commit")
            return
        if self.disk_full:
            self.later(0.0001, self._refuse_log)
            return
        self._log_job = None
        self.log_store.commit(record)
        self.call(self.host.log_written)

    def _refuse_log(self) -> None:
        record = self.host.log_refused()
        assert cast("MemoryRecord", record) is self._log_job
        self.world.schedule.after(FULL_RETRY_SECONDS, self._commit_log, self.life)

    def _disk_seconds(self) -> float:
        rng, options = self.world.rng, self.world.options
        seconds = rng.expovariate(1 / options.disk) + self.disk_slow * rng.random()
        if options.disk_tail and rng.random() < options.disk_tail:
            seconds += 0.3 * rng.random()
        return seconds

    # The items' disk

    def write_items(self, job: Callable[[], None], done: Callable[[bool], None]) -> None:
        self._items_jobs.append((job, done))
        if len(self._items_jobs) == 1:
            self.world.schedule.after(5 * self._disk_seconds(), self._run_items_job, self.life)

    def _run_items_job(self, life: int) -> None:
        if life != self.life:
            return
        if self.disk_hung:
            self.world.schedule.after(0.05, self._run_items_job, life)
            return
        job, done = self._items_jobs.pop(0)
        try:
            job()
        except StorageFull:
            stored = False
        else:
            stored = True
        self.later(self.world.rng.random() * 0.002, done, stored)
        if self.items_disk.installs:
            self.world.faults.noticed(self, "snapshot_installing")
        if self._items_jobs:
            self.world.schedule.after(5 * self._disk_seconds(), self._run_items_job, life)

    def send_snapshot(self, group: int, message: Message) -> None:
        self.transfers.send(group, message)

    def holds(self, group: int, index: int, term: int) -> bool:
        """Whether a disk holds, or held when it was lost, an entry committed at an index."""
        for log_disk, items_disk in self._disks:
            log = log_disk.groups.get(group)
            if log is not None and log.holds(index, term):
                return True
            if index <= items_disk.applied(group):
                return True
        return False

    def last_index_ever(self, group: int) -> int:
        """Return how far a group's log reached on the disk that held most, lost or not."""
        logs = [log_disk.groups.get(group) for log_disk, _ in self._disks]
        return max((log.last_index() for log in logs if log is not None), default=0)
