"""The host: drives all replicas of one node, a turn at a time.

A turn steps what arrived, takes every group's Ready, sends what may leave before the fsync,
submits ONE log write for all groups, applies and answers. Writes are evaluated only in a turn
that finds the log writer idle, so what arrives during a commit becomes the next batch.

No asyncio, threads, sockets or clock here: a process's or a simulation's `Shell` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.batch_age import NodeClock
from node.catalog_replica import CatalogRead, CatalogReplica, CommandAnswer
from node.checkpoints import Checkpointer
from node.codec import LeaderHint, RoutedBatch
from node.door import Door
from node.host_shell import Shell
from node.installs import Installs, SnapshotSource
from node.intake import refuse_all, take_in
from node.leaderships import Leaderships
from node.log_write import LogWrite
from node.machine.catalog import CatalogMachine
from node.machine.partition import LiveTables
from node.machine.throughput import DEFAULT_LIMITS, PartitionLimits
from node.memberships import Memberships
from node.outboxes import Outboxes
from node.peer_batch import PeerBatch, ReplyRow
from node.recovery import Recovery
from node.replica import PartitionReplica, Replica
from node.routes import RouteStream
from node.storage.items import ItemStore, ReplicaState, decode_snapshot_state
from node.storage.log import GroupWrite, LogRecord, LogStore
from node.write_watch import WriteWatch
from quorate.cluster.catalog import CATALOG_GROUP, Catalog, PartitionRecord
from quorate.cluster.ring import Ring
from raft.types import (
    NO_NODE,
    Configuration,
    Message,
    MessageType,
    RaftConfig,
    Ready,
    Rng,
    Role,
    SnapshotMeta,
    Ticks,
)

TICK_SECONDS: Final = 0.05
"""Length of a Raft tick. With RaftConfig: heartbeats every 200 ms, elections after 1 to 2 s."""

TICKS_AT_ONCE_MAX: Final = 4
"""Most ticks made up for at once after the loop was held up, so that what arrived meanwhile is
stepped before anybody campaigns. Ours."""

STALL_SECONDS: Final = 2.0
"""A log commit in flight for longer means a stalled disk: give up leadership. Counted in ticks: a
pause of this process is none. Ours: disks that nodes share stall for a second now and then."""


class Host:
    """All replicas of one node. Every method runs on one thread, to completion."""

    def __init__(
        self,
        *,
        node_id: int,
        log: LogStore,
        items: ItemStore,
        rng: Rng,
        shell: Shell,
        limits: PartitionLimits = DEFAULT_LIMITS,
        watch: WriteWatch | None = None,
    ) -> None:
        """Take over stores that are open; call `recover` before anything else."""
        self.node_id = node_id
        self.catalog = Catalog()
        self.replicas: dict[int, Replica] = {}
        self.storage_full = False
        self.disk_stalled = False
        self.elections_won = 0  # in this process's life
        self.watch = watch or WriteWatch()
        self._partitions: dict[int, PartitionReplica] = {}
        self._log = log
        self._items = items
        self._ticks = Ticks()
        self._recovery = Recovery(RaftConfig(node_id=node_id), log, items, rng, self._ticks)
        self._shell = shell
        self.clock = NodeClock(shell)
        self._limits = limits
        self.door = Door()
        self.checkpointer = Checkpointer(self.replicas, log, items, shell)
        self._dirty: dict[int, Replica] = {}
        self._held: dict[int, Replica] = {}
        self._streams: dict[RouteStream, None] = {}
        self._unaccepted: list[tuple[RouteStream, int]] = []
        self._outboxes = Outboxes(node_id, shell)
        self._writing: LogWrite | None = None
        self._resets: list[tuple[Replica, SnapshotMeta]] = []
        self._offers: dict[int, SnapshotSource] = {}
        self._installs = Installs(items, shell)
        self._unfinished: set[int] = set()  # installs that a crash has interrupted, by group
        self._live_tables = LiveTables()
        self.leaderships = Leaderships(
            node_id, self.replicas, self._mark, shell.log, shell.monotonic
        )
        self.memberships = Memberships(
            node_id, self.replicas, self._mark, self.leaderships.transfer, shell
        )

    # Start

    def recover(self, founders: Sequence[int], unfinished: Sequence[SnapshotSource] = ()) -> None:
        """Make the catalog's replica, if this node holds one, and all that its catalog says.

        `founders` are the catalog's voters that the cluster began with, () for a node that joined
        later. `unfinished` are the installs that a crash has interrupted.
        """
        for group, state in self._items.replicas().items():
            self._recovery.reset_older_log(group, state.applied_index, state.applied_term)
        for source in unfinished:
            self._finish_install(source, founders)
        held = CATALOG_GROUP in self._log.recovered() or CATALOG_GROUP in self._items.replicas()
        if (self.node_id in founders or held) and CATALOG_GROUP not in self._unfinished:
            self.adopt_catalog(self._make_catalog_replica(founders))

    def adopt_catalog(self, catalog: Catalog) -> None:
        """Follow a newer catalog: make the replicas it gives this node, know its tables."""
        if catalog.epoch <= self.catalog.epoch:
            return
        self.catalog = catalog
        self._live_tables.follow(catalog)
        self._make_missing_replicas()
        self.checkpointer.catalog_changed(catalog)
        self._shell.catalog_changed(catalog)

    def _make_missing_replicas(self) -> None:
        """Make the replicas that the catalog gives this node, but those still being installed."""
        catalog = self.catalog
        ring = Ring(catalog.partitions)
        wanted = catalog.groups_of(self.node_id) - self._unfinished
        for group in sorted(wanted - self.replicas.keys()):
            if group == CATALOG_GROUP:
                self._make_catalog_replica(())  # empty: one that was there, `recover` has made
            else:
                self._make_partition_replica(catalog.partition_by_id[group], ring.arc_of(group))

    def _make_catalog_replica(self, founders: Sequence[int]) -> Catalog:
        state = self._state_of(CATALOG_GROUP, founders)
        encoded = dict(self._items.generations(CATALOG_GROUP))
        machine = CatalogMachine(next(iter(encoded.values()), b""))
        core = self._recovery.make_core(CATALOG_GROUP, state)
        replica = CatalogReplica(core, state, machine, self.adopt_catalog)
        self._add(replica, preferred=self.node_id == min(founders, default=0))
        return machine.catalog

    def _make_partition_replica(self, partition: PartitionRecord, arc: tuple[int, int]) -> None:
        founders = () if partition.moved else partition.replicas
        state = self._state_of(partition.id, founders)
        replica = PartitionReplica(
            partition.id,
            self._recovery.make_core(partition.id, state),
            state,
            self._recovery.make_machine(partition.id, state),
            arc,
            self._live_tables,
            self._limits,
            self.watch,
        )
        self._partitions[partition.id] = replica
        self._add(replica, preferred=self.node_id == partition.replicas[0])

    def _state_of(self, group: int, founders: Sequence[int]) -> ReplicaState:
        """Return what the items store has, or the beginning of the group.

        A replica that was not there when its group began knows no members at first: they are in
        the log or the snapshot that it gets, and until then it may vote but not campaign.
        """
        state = self._items.replicas().get(group)
        if state is not None:
            return state
        members = tuple(sorted(founders)) if self.node_id in founders else ()
        return ReplicaState(0, 0, Configuration(members).encode())

    def _add(self, replica: Replica, *, preferred: bool) -> None:
        self.replicas[replica.group] = replica
        if preferred:
            self.leaderships.campaign_soon(replica.group)
        if replica.durable_applied:
            replica.core.set_snapshot(
                SnapshotMeta(replica.durable_applied, replica.applied_term, replica.configuration)
            )
        self._mark(replica)

    def _finish_install(self, source: SnapshotSource, founders: Sequence[int]) -> None:
        """Go on with an install that a crash has interrupted; the replica is made after its end.

        Its old log goes at once: what it could be applied to is gone, and the snapshot is above
        all that was committed in it.
        """
        record = source.record
        self._recovery.reset_older_log(record.group, record.applied_index, record.applied_term)
        self._unfinished.add(record.group)

        def done(stored: bool) -> None:  # noqa: FBT001 - a callback of Installs
            assert stored, "it had begun"
            self._unfinished.discard(record.group)
            self._shell.log("install_finished", group=record.group, index=record.applied_index)
            if record.group == CATALOG_GROUP:
                self.adopt_catalog(self._make_catalog_replica(founders))
            elif self.catalog.epoch:  # else they are made once there is a catalog
                self._make_missing_replicas()

        self._installs.start(source, done)

    # What arrives

    def receive(self, batch: PeerBatch) -> None:
        """Step a peer's messages. Snapshots come through `offer_snapshot`, with their data."""
        self.leaderships.silent.discard(batch.sender)
        self._hear_heartbeats(batch)
        self._hear_replies(batch)
        for group, message in batch.messages:
            replica = self.replicas.get(group)
            if replica is not None and message.type != MessageType.SNAPSHOT:
                if message.entries and self.checkpointer.is_overfull:
                    continue  # as if it were lost: the leader sends it again
                self._step(replica, message)
        self._settle()

    def _hear_heartbeats(self, batch: PeerBatch) -> None:
        """Take a peer's heartbeats; most say nothing new and are answered as they came."""
        replicas, sender = self.replicas, batch.sender
        answers: list[ReplyRow] = []
        for row in batch.heartbeats:
            group, term, commit, sequence = row
            replica = replicas.get(group)
            if replica is None:
                continue
            if not replica.core.hear_heartbeat(sender, term, commit):
                self._step(replica, batch.heartbeat(row))
            elif sequence:
                answers.append((group, term, sequence))
        if answers:
            self._outboxes.batch_for(sender).replies += answers

    def _hear_replies(self, batch: PeerBatch) -> None:
        """Take a peer's answers to heartbeats; most say nothing new."""
        replicas, sender = self.replicas, batch.sender
        for row in batch.replies:
            group, term, sequence = row
            replica = replicas.get(group)
            if replica is not None and not replica.core.hear_reply(sender, term, sequence):
                self._step(replica, batch.reply(row))

    def _step(self, replica: Replica, message: Message) -> None:
        core = replica.core
        core.step(message)
        if core.dirty or core.send_now:
            self._take_messages(replica)

    def peer_broken(self, node_id: int) -> None:
        """Take note that a stream to or from a node broke: it may be dead."""
        for replica in self.replicas.values():
            replica.core.peer_unreachable(node_id)
            self._mark(replica)

    def peer_connected(self, node_id: int) -> None:
        """Take note that a stream to or from a node was opened: it can be asked for its vote."""
        self.leaderships.peer_connected(node_id, self.catalog)

    def add_stream(self, stream: RouteStream) -> None:
        """Serve a router; it is told at once who leads what."""
        self._streams[stream] = None
        stream.hint_leaders([self._hint(replica) for replica in self._partitions.values()])
        stream.flush()

    def remove_stream(self, stream: RouteStream) -> None:
        """Forget a router that has gone; what it waited for is answered to nobody."""
        stream.closed = True
        self._streams.pop(stream, None)

    def route(self, stream: RouteStream, batch: RoutedBatch) -> None:
        """Take in a router's batch: reads begin at once, writes wait for the next free turn."""
        self._unaccepted.append((stream, batch.sequence))
        self._shell.schedule_turn()
        if not self.door.is_open(self._waiting_bytes()):
            self.door.refused += refuse_all(batch, stream)
            return
        now = self._shell.monotonic()
        self.watch.arrived(batch.writes, now)
        stale = batch.catalog_epoch > self.catalog.epoch
        if stale:
            self._shell.want_catalog(batch.catalog_epoch)
        touched = take_in(
            batch,
            stream,
            self._partitions,
            now=now,
            stale=stale,
            full=self.storage_full,
            too_old=self.clock.is_too_long_ago(batch.heard_ms),
        )
        self._dirty.update(touched)

    def _waiting_bytes(self) -> int:
        """Return the bytes of the writes that wait: all of them at replicas with a turn to come."""
        waiting = {**self._held, **self._dirty}.values()
        return sum(replica.waiting_bytes for replica in waiting)

    def change_catalog(self, payload: bytes, answer: CommandAnswer) -> bool:
        """Propose a catalog command; False if this node has no replica of the catalog."""
        replica = self.replicas.get(CATALOG_GROUP)
        if replica is None:
            return False
        assert isinstance(replica, CatalogReplica)
        replica.change(payload, answer)
        self._mark(replica)
        return True

    def confirm_catalog(self, answer: CommandAnswer) -> bool:
        """Answer with the newest epoch, proved; False if there is no replica of the catalog."""
        replica = self.replicas.get(CATALOG_GROUP)
        if replica is None:
            return False
        replica.read(CatalogRead(answer))
        self._mark(replica)
        return True

    def drain(self) -> bool:
        """Hand every leadership over before this node stops; return whether that is done."""
        return self.leaderships.drain()

    def transfer_leadership(self, group: int, to: int) -> bool:
        """Hand a group's leadership over; False if this node does not lead it or may not."""
        return self.leaderships.transfer(group, to)

    def _mark(self, replica: Replica) -> None:
        self._dirty[replica.group] = replica
        self._shell.schedule_turn()

    def _take_messages(self, replica: Replica) -> None:
        """Post what a core has to send; mark it only if it has more, or requests wait.

        Most messages are heartbeats of idle groups, which need no turn.
        """
        core = replica.core
        if core.dirty or replica.has_waiting:
            self._dirty[replica.group] = replica
        elif core.send_now:
            for message in core.take_messages():
                self._outboxes.post(replica.group, message)

    def _settle(self) -> None:
        """Take a turn soon if there is work for one; heartbeats alone leave at once."""
        if self._dirty:
            self._shell.schedule_turn()
        else:
            self._outboxes.send()

    # Time

    def tick(self, count: int) -> None:
        """Let `count` ticks pass, at most TICKS_AT_ONCE_MAX of them."""
        count = min(count, TICKS_AT_ONCE_MAX)
        self._ticks.now = ticks = self._ticks.now + count
        due = [
            replica
            for replica in self.replicas.values()
            if replica.core.alarm <= ticks or replica.core.dirty  # a snapshot to send, maybe
        ]
        for replica in due:
            core, leader = replica.core, replica.core.leader
            core.ring()
            self._take_messages(replica)
            if leader not in (NO_NODE, self.node_id, core.leader):
                self.leaderships.silent.add(leader)
        now = self._shell.monotonic()
        self.leaderships.tick(count, now, self.catalog)
        self.memberships.tick(now, self.catalog)
        writing = self._writing
        if writing is not None and not self.disk_stalled:
            seconds = (ticks - writing.started_tick) * TICK_SECONDS
            if seconds > STALL_SECONDS:
                self.disk_stalled = True
                self._shell.log("disk_stalled", seconds=round(seconds, 1))
                self.leaderships.give_up()
        self._installs.tick(now)
        self.checkpointer.maybe_start(now)
        self._settle()

    # The turn

    def turn(self) -> None:
        """Do everything that is due."""
        idle = self._writing is None
        if idle:
            for stream, sequence in self._unaccepted:
                stream.accept(sequence)
            self._unaccepted.clear()
        dirty, self._dirty = self._dirty, {}
        writes: list[GroupWrite] = []
        tickets: list[tuple[Replica, int, list[Message]]] = []
        now = self.watch.now = self._shell.monotonic()
        for group, replica in dirty.items():
            replica.start_reads()
            if idle:
                replica.start_waiting(now)
            else:
                self._held[group] = replica
            ready = replica.core.take_ready(idle)
            if ready.role_changed:
                self._follow_role(replica, now)
            for message in ready.send_now:
                self._outboxes.post(group, message)
            if ready.ticket:
                writes.append(
                    GroupWrite(
                        group,
                        truncate_from=ready.truncate_from,
                        entries=ready.entries,
                        hard_state=ready.hard_state,
                    )
                )
                tickets.append((replica, ready.ticket, ready.send_after))
            self._finish(replica, ready)
        if writes or (idle and self._resets):
            self._write(writes, tickets, now)
        if self._writing is None:
            # At rest, followers hear of a commit at once, so that eventual reads are fresh.
            # Under load the next appends tell them, at no cost.
            for group, replica in dirty.items():
                for message in replica.core.take_news():
                    self._outboxes.post(group, message)
        self._flush()

    def _finish(self, replica: Replica, ready: Ready) -> None:
        if ready.committed:
            began_at = self._shell.monotonic()
            replica.apply(ready.committed)
            self.watch.applied(replica.group, ready.committed, began_at, self._shell.monotonic())
            replica.serve_confirmed()
            self.leaderships.applied(replica)
            if replica.has_waiting or replica.core.has_ready():
                self._mark(replica)
        if ready.reads or ready.dropped_reads:
            replica.reads_confirmed(ready.reads, ready.dropped_reads)
        if ready.snapshot is not None:
            self._install(replica, ready.snapshot)
        elif self._offers and replica.core.installing is None:
            unwanted = self._offers.pop(replica.group, None)
            if unwanted is not None:
                self._installs.discard(unwanted)
        if ready.snapshot_wanted:
            self.checkpointer.hurry()

    def _write(
        self,
        writes: list[GroupWrite],
        tickets: list[tuple[Replica, int, list[Message]]],
        now: float,
    ) -> None:
        installed = []
        write_of = {write.group: write for write in writes} if self._resets else {}
        for replica, meta in self._resets:
            write = write_of.get(replica.group)  # of a new term or vote, nothing else
            if write is None:
                write = GroupWrite(replica.group)
                writes.append(write)
            assert write.truncate_from is None
            assert not write.entries
            write.reset = (meta.index, meta.term)
            installed.append((replica, meta.index))
        self._resets = []
        record = self._log.prepare(writes)
        traced, ticks = self.watch.writing(writes), self._ticks.now
        self._writing = LogWrite(record, now, ticks, tickets, installed, traced)
        self._shell.write_log(record)

    def log_written(self) -> None:
        """The log write in flight is durable: count it, send what had to wait, go on."""
        writing = self._writing
        assert writing is not None
        self._writing = None
        self.watch.log_written(writing.started, self._shell.monotonic(), writing.traced)
        self.disk_stalled = False
        if self.storage_full:
            self.storage_full = False
            self._shell.log("storage_has_room_again")
        self._log.publish(writing.record)
        self._dirty.update(self._held)
        self._held = {}
        dirty = self._dirty
        for replica, ticket, messages in writing.tickets:
            replica.core.persisted(ticket)
            for message in messages:
                self._outboxes.post(replica.group, message)
            dirty[replica.group] = replica
        for replica, index in writing.installed:
            replica.installing = False
            replica.core.snapshot_installed(index)
            dirty[replica.group] = replica
        # Soon rather than now: what the loop has read meanwhile makes the next batch larger.
        self._shell.schedule_turn()

    def log_refused(self) -> LogRecord:
        """The disk is full and nothing was written: refuse writes, and try the record again.

        Returns the record to commit once more after a pause. Nothing in it was promised to
        anybody, so it may wait; only an unexpected error ends the process.
        """
        assert self._writing is not None
        if not self.storage_full:
            self.storage_full = True
            self._shell.log("storage_full")
        self.leaderships.give_up()
        return self._writing.record

    def _flush(self) -> None:
        self._outboxes.send()
        for stream in self._streams:
            stream.flush()

    def _follow_role(self, replica: Replica, now: float) -> None:
        replica.follow_role()
        core = replica.core
        self.leaderships.changed(replica, now)
        if core.role is Role.LEADER:
            self.elections_won += 1
            replica.milestones.begin(core.last_index, now)
        if isinstance(replica, PartitionReplica):
            hint = self._hint(replica)
            for stream in self._streams:
                stream.hint_leaders([hint])

    def _hint(self, replica: Replica) -> LeaderHint:
        return LeaderHint(replica.group, replica.core.term, replica.core.leader)

    # Snapshots

    def wants_snapshot(self, group: int, message: Message) -> bool:
        """Whether a snapshot is worth its transfer; if the core knows better, it says so itself."""
        replica = self.replicas.get(group)
        if replica is None or replica.installing or group in self._offers:
            return False
        core = replica.core
        assert message.snapshot is not None
        wanted = message.term >= core.term and message.snapshot.index > core.commit
        if not wanted:
            core.step(message)
            self._mark(replica)
        return wanted

    def offer_snapshot(self, group: int, message: Message, source: SnapshotSource) -> None:
        """Take a snapshot that has arrived whole; the core decides whether it is wanted."""
        replica = self.replicas.get(group)
        if replica is None or replica.installing or group in self._offers:
            self._installs.discard(source)
            return
        self._offers[group] = source
        replica.core.step(message)
        self._mark(replica)

    def snapshot_sent(self, group: int, to: int, *, ok: bool) -> None:
        """A snapshot has been delivered, or could not be."""
        replica = self.replicas.get(group)
        if replica is not None:
            replica.core.snapshot_sent(to, ok)
            self._mark(replica)

    def _install(self, replica: Replica, meta: SnapshotMeta) -> None:
        source = self._offers.pop(replica.group)
        replica.installing = True

        def done(stored: bool) -> None:  # noqa: FBT001 - a callback of Installs
            if not stored:
                replica.installing = False
                replica.core.snapshot_failed()
            else:
                self._installed(replica, meta, source.state)
            self._mark(replica)

        self._installs.start(source, done)

    def _installed(self, replica: Replica, meta: SnapshotMeta, encoded: bytes) -> None:
        state, generations = decode_snapshot_state(encoded)
        assert (state.applied_index, state.applied_term) == (meta.index, meta.term)
        if isinstance(replica, PartitionReplica):
            replica.machine = self._recovery.make_machine(replica.group, state)
        else:
            assert isinstance(replica, CatalogReplica)
            replica.machine = CatalogMachine(generations[0][1])
            self.adopt_catalog(replica.machine.catalog)
        replica.applied_term = meta.term
        replica.configuration = meta.configuration
        replica.durable_applied = meta.index
        self._resets.append((replica, meta))
