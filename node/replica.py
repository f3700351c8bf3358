"""A replica: one group's Raft core on this node, its state machine, and the requests that wait.

`Replica` is what all groups share, `PartitionReplica` a partition's. Neither knows streams,
threads or clocks: the host (`node.host`) drives them, a turn at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from model.capacity import read_units
from model.image import image_size_bytes
from node.codec import Page, RoutedRange, encode_write_entry
from node.machine.leadership import Leadership, WaitingWrite
from node.machine.partition import LiveTables, PartitionMachine
from node.machine.throughput import DEFAULT_LIMITS, PartitionLimits, PartitionThroughput
from node.milestones import Milestones
from node.routes import RouteStream
from node.storage.items import ReplicaCheckpoint, ReplicaState
from node.write_watch import WriteWatch
from quorate.cluster.outcome import Outcome
from raft.core import RaftCore
from raft.types import (
    NO_NODE,
    Configuration,
    Entry,
    EntryKind,
    NotLeader,
    ProposalRefused,
    Role,
    SnapshotMeta,
)

WAITING_MAX: Final = 16_384
"""Most requests of a kind that wait at one replica. Ours: four full batches of a router."""

WAITING_BYTES_MAX: Final = 64 << 20
"""Bytes of images and programs that wait at one replica, above which more are refused. Ours."""

MEMTABLE_BYTES_MAX: Final = 256 << 20
"""Memtable bytes of one replica above which writes are refused: the checkpoint cannot keep up.
Ours."""


class PendingRead(Protocol):
    """A read that waits for proof that its leader leads."""

    def serve(self, replica: Replica) -> None:
        """Read the applied state and answer."""
        ...

    def refuse(self, outcome: Outcome) -> None:
        """Answer that it was not served."""
        ...


@dataclass(slots=True)
class PendingCheckpoint:
    """One replica's share of a checkpoint under way."""

    replica: Replica
    meta: SnapshotMeta
    build: Callable[[], ReplicaCheckpoint]
    drop: Callable[[], None]


class Replica(ABC):
    """What every group has on this node. Subclasses say what entries mean.

    Invariant: `applied_term` is the term of the entry at `core.applied`, and `configuration` the
    one in force there: a checkpoint stores them together with the applied state.
    """

    arc: tuple[int, int] = (0, 0)
    """Tokens of its items, [low, high). Empty for the catalog's replica, which has none."""

    def __init__(self, group: int, core: RaftCore, state: ReplicaState) -> None:
        """Take over a core that starts at the applied index of `state`."""
        self.group = group
        self.core = core
        self.applied_term = state.applied_term
        self.configuration = Configuration.decode(state.configuration)
        self.durable_applied = state.applied_index
        self.installing = False
        self.milestones = Milestones()  # of its leadership, if it leads
        self._reads: list[PendingRead] = []
        self._rounds: dict[int, list[PendingRead]] = {}
        self._confirmed: list[tuple[int, list[PendingRead]]] = []
        self._read_count = 0  # in all three

    @property
    def transferring(self) -> bool:
        """Whether leadership is being handed over: nothing may be proposed meanwhile."""
        leadership = self.core.leadership
        return leadership is not None and leadership.transferee != NO_NODE

    # What a subclass adds

    waiting_bytes = 0
    """Bytes of the writes that wait for such a turn."""

    @property
    @abstractmethod
    def has_waiting(self) -> bool:
        """Whether requests wait for a turn that may write to the log."""

    @abstractmethod
    def apply_command(self, index: int, term: int, payload: bytes) -> None:
        """Apply one committed command."""

    @abstractmethod
    def start_waiting(self, now: float) -> None:
        """Propose what waits. Called in a turn that may write to the log."""

    @abstractmethod
    def follow_role(self) -> None:
        """Take note of a change of role or term."""

    @abstractmethod
    def set_aside(self, now: float) -> Callable[[], ReplicaCheckpoint]:
        """Set the applied state aside; what is returned encodes it, on any thread."""

    @abstractmethod
    def drop_set_aside(self) -> Callable[[], None]:
        """Return what drops the state just set aside, once it is in the tree."""

    # Checkpoints

    def checkpoint(self, now: float) -> PendingCheckpoint | None:
        """Begin a checkpoint; None if nothing was applied since the last one.

        A replica that does not know its members yet has none to store: its log keeps all it has.
        """
        if self.installing or self.core.applied == self.durable_applied:
            return None
        if not self.configuration.voters:
            return None
        meta = SnapshotMeta(self.core.applied, self.applied_term, self.configuration)
        return PendingCheckpoint(self, meta, self.set_aside(now), self.drop_set_aside())

    def checkpointed(self, meta: SnapshotMeta) -> None:
        """The state at `meta` is durable in the tree."""
        if meta.index > self.durable_applied:  # else a snapshot was installed meanwhile
            self.durable_applied = meta.index
            self.core.set_snapshot(meta)

    # Reads

    def read(self, read: PendingRead) -> None:
        """Serve a read once this node has proved that it leads and has applied enough."""
        if self.core.role is not Role.LEADER or self.installing:
            read.refuse(Outcome.NOT_LEADER)
        elif self._read_count >= WAITING_MAX:
            read.refuse(Outcome.OVERLOADED)
        else:
            self._reads.append(read)
            self._read_count += 1

    def start_reads(self) -> None:
        """Begin one ReadIndex round for all reads that wait."""
        reads, self._reads = self._reads, []
        if not reads:
            return
        try:
            self._rounds[self.core.read_index()] = reads
        except NotLeader:
            self._refuse_reads(reads)

    def reads_confirmed(self, confirmed: Sequence[tuple[int, int]], dropped: Sequence[int]) -> None:
        """Serve rounds whose index is applied, keep the others until it is."""
        for read_id in dropped:
            self._refuse_reads(self._rounds.pop(read_id, ()))
        for read_id, index in confirmed:
            reads = self._rounds.pop(read_id, None)
            if reads:
                self._confirmed.append((index, reads))
        self.serve_confirmed()

    def serve_confirmed(self) -> None:
        """Serve confirmed reads whose index is applied."""
        if not self._confirmed:
            return
        applied = self.core.applied
        waiting = []
        for index, reads in self._confirmed:
            if index <= applied:
                self._read_count -= len(reads)
                for read in reads:
                    read.serve(self)
            else:
                waiting.append((index, reads))
        self._confirmed = waiting

    # Entries

    def apply(self, entries: Sequence[Entry]) -> None:
        """Apply committed entries in order and tell the core."""
        for entry in entries:
            if entry.kind == EntryKind.COMMAND:
                self.apply_command(entry.index, entry.term, entry.payload)
            elif entry.kind == EntryKind.CONFIGURATION:
                self.configuration = Configuration.decode(entry.payload)
        if entries:
            self.applied_term = entries[-1].term
            self.core.applied_to(entries[-1].index)

    def state(self, table_sizes: dict[int, tuple[int, int]] | None = None) -> ReplicaState:
        """Return what a checkpoint stores beside the items."""
        return ReplicaState(
            self.core.applied,
            self.applied_term,
            self.configuration.encode(),
            dict(table_sizes or {}),
        )

    def refuse_reads(self) -> None:
        """Answer every read that waits with NOT_LEADER."""
        waiting = [self._reads, *self._rounds.values(), *(reads for _, reads in self._confirmed)]
        self._reads, self._rounds, self._confirmed = [], {}, []
        for reads in waiting:
            self._refuse_reads(reads)
        assert self._read_count == 0

    def _refuse_reads(self, reads: Sequence[PendingRead]) -> None:
        self._read_count -= len(reads)
        for read in reads:
            read.refuse(Outcome.NOT_LEADER)


class PartitionReplica(Replica):
    """A partition's replica: evaluates and proposes writes as leader, applies images always."""

    def __init__(
        self,
        group: int,
        core: RaftCore,
        state: ReplicaState,
        machine: PartitionMachine,
        arc: tuple[int, int],
        live_tables: LiveTables,
        limits: PartitionLimits = DEFAULT_LIMITS,
        watch: WriteWatch | None = None,
    ) -> None:
        """`arc` is [low token, high token); `live_tables` follows the node's catalog.

        `watch` is the node's, if somebody wants to know.
        """
        super().__init__(group, core, state)
        self.machine = machine
        self.arc = arc
        self.live_tables = live_tables
        self.throughput = PartitionThroughput(limits)
        self._low = arc[0].to_bytes(8, "big")
        self._last = (arc[1] - 1).to_bytes(8, "big")
        self._waiting: list[WaitingWrite] = []
        self.waiting_bytes = 0
        self._leadership: Leadership | None = None
        self._watch = watch or WriteWatch()
        # In this process's life, for the metrics:
        self.write_count = 0
        self.read_count = 0
        self.proposed_bytes = 0

    def owns(self, key: bytes) -> bool:
        """Return whether a storage key's token lies in this partition's arc."""
        return self._low <= key[4:12] <= self._last

    @property
    def has_waiting(self) -> bool:
        """Whether writes wait for a turn that may write to the log."""
        return bool(self._waiting)

    def write(self, waiting: WaitingWrite) -> None:
        """Take in one routed write; it is evaluated in the next turn that may write."""
        stream, slot, _, _, key, image, program, _ = waiting
        if self.core.role is not Role.LEADER or self.installing:
            stream.answer(slot, Outcome.NOT_LEADER)
        elif not self.owns(key):
            stream.answer(slot, Outcome.NOT_REPLICA)
        elif len(self._waiting) >= WAITING_MAX or self.waiting_bytes > WAITING_BYTES_MAX:
            stream.answer(slot, Outcome.OVERLOADED)
        else:
            self._waiting.append(waiting)
            self.waiting_bytes += len(image) + len(program)

    def start_waiting(self, now: float) -> None:
        """Evaluate the waiting writes and propose what came of them as one entry."""
        leadership = self._leadership
        if not self._waiting or leadership is None:
            return
        if not self.core.may_evaluate or self.transferring:
            self._waiting = [write for write in self._waiting if _keep(write, now)]
            self._count_waiting()
            return
        if self.machine.memtable_bytes > MEMTABLE_BYTES_MAX:
            self.refuse_waiting(Outcome.OVERLOADED)
            return
        evaluation = leadership.evaluate(
            self._waiting, now=now, live_tables=self.live_tables, throughput=self.throughput
        )
        arrived_at = self._waiting[0][7]
        self._watch.taken(self._waiting[: evaluation.taken], now)
        del self._waiting[: evaluation.taken]
        self._count_waiting()
        proposal = evaluation.proposal
        if proposal is None:
            return
        self._watch.evaluated(self.group, proposal)
        payload = encode_write_entry(proposal.columns)
        try:
            (index,) = self.core.propose([payload])
        except ProposalRefused:
            leadership.refused(proposal, Outcome.OVERLOADED)
        else:
            leadership.proposed(proposal, index)
            self.milestones.reached(index, len(payload), now)
            self.write_count += len(proposal.slots)
            self.proposed_bytes += len(payload)
            self._watch.proposed(proposal, arrived_at)

    def apply_command(self, index: int, term: int, payload: bytes) -> None:
        """Apply one entry; answer its writes if this leader proposed it."""
        leadership = self._leadership
        proposal = leadership.take_applied(index, term) if leadership is not None else None
        if leadership is None or proposal is None:
            self.machine.apply(payload)
            return
        self._watch.committed(self.group, proposal)
        self.machine.apply_columns(proposal.columns)
        leadership.resolve(proposal)

    def follow_role(self) -> None:
        """End a leadership that is over: answer all that depended on it; begin a new one."""
        core = self.core
        leads = core.role is Role.LEADER
        if self._leadership is not None and not (leads and core.term == self._leadership.term):
            self._leadership.end()
            self._leadership = None
        if leads and self._leadership is None:
            self._leadership = Leadership(core.term, self.machine)
        if not leads:
            self.refuse_waiting(Outcome.NOT_LEADER)
            self.refuse_reads()

    def refuse_waiting(self, outcome: Outcome) -> None:
        """Answer every write that waits for its evaluation."""
        waiting, self._waiting = self._waiting, []
        self.waiting_bytes = 0
        for write in waiting:
            write[0].answer(write[1], outcome)

    def _count_waiting(self) -> None:
        """Count anew what still waits: nothing, nearly always."""
        self.waiting_bytes = sum(len(write[5]) + len(write[6]) for write in self._waiting)

    def set_aside(self, now: float) -> Callable[[], ReplicaCheckpoint]:
        """Freeze the memtable; what is returned sorts and encodes it, on any thread."""
        self.machine.forget_tables(self.live_tables)
        self.throughput.forget(self.live_tables)
        frozen = self.machine.freeze(now)
        state = self.state(self.machine.table_sizes)

        def build() -> ReplicaCheckpoint:
            generation = frozen.generation
            return ReplicaCheckpoint(
                self.group,
                state,
                frozen.memtable.items_sorted(),
                (generation.number, generation.encode()) if generation else None,
                frozen.forgotten_generations,
            )

        return build

    def drop_set_aside(self) -> Callable[[], None]:
        """Return what drops the frozen memtable."""
        return self.machine.thaw


class GetReads:
    """The gets of one router batch at one partition."""

    __slots__ = ("_arrived_at", "_consistent", "_keys", "_slots", "_stream")

    def __init__(
        self,
        stream: RouteStream,
        slots: list[int],
        keys: list[bytes],
        *,
        consistent: bool,
        arrived_at: float,
    ) -> None:
        """Shape: `keys[i]` is asked for by `slots[i]`. `arrived_at` is by the host's clock."""
        self._stream = stream
        self._slots = slots
        self._keys = keys
        self._consistent = consistent
        self._arrived_at = arrived_at

    def serve(self, replica: Replica) -> None:
        """Answer each with its image, b"" for none."""
        assert isinstance(replica, PartitionReplica)
        owns, image_of, live_tables = replica.owns, replica.machine.image, replica.live_tables
        answer = self._stream.answer
        replica.read_count += len(self._slots)
        for slot, key in zip(self._slots, self._keys, strict=True):
            if not owns(key):
                answer(slot, Outcome.NOT_REPLICA)
            elif not live_tables.get(key[:4]):
                answer(slot, Outcome.OK, 0, image_of(key))
            else:
                bucket = replica.throughput.read_bucket(key[:4], self._arrived_at)
                if bucket.level <= 0:
                    answer(slot, Outcome.THROTTLED)
                    continue
                image = image_of(key)
                bucket.settle(read_units(image_size_bytes(image), consistent=self._consistent))
                answer(slot, Outcome.OK, 0, image)

    def refuse(self, outcome: Outcome) -> None:
        """Answer each that it was not served."""
        for slot in self._slots:
            self._stream.answer(slot, outcome)


class RangeRead:
    """One page of a Query or Scan at one partition."""

    __slots__ = ("_arrived_at", "_request", "_stream")

    def __init__(self, stream: RouteStream, request: RoutedRange, *, arrived_at: float) -> None:
        """Take the request as it came, at a time by the host's clock."""
        self._stream = stream
        self._request = request
        self._arrived_at = arrived_at

    def serve(self, replica: Replica) -> None:
        """Answer with the items up to the page's bounds."""
        assert isinstance(replica, PartitionReplica)
        request = self._request
        replica.read_count += 1
        table = request.low[:4]
        bucket = None
        if replica.live_tables.get(table):
            bucket = replica.throughput.read_bucket(table, self._arrived_at)
            if bucket.level <= 0:
                self.refuse(Outcome.THROTTLED)
                return
        keys: list[bytes] = []
        images: list[bytes] = []
        size_bytes = 0
        more = False
        for key, image in replica.machine.scan(
            request.low, request.high, backwards=request.backwards
        ):
            if not replica.owns(key):
                continue
            if size_bytes >= request.size_bytes_max or len(keys) >= request.items_max > 0:
                more = True
                break
            keys.append(key)
            images.append(image)
            size_bytes += image_size_bytes(image)
        if bucket is not None:
            bucket.settle(read_units(size_bytes, consistent=request.consistent))
        self._stream.answer_page(Page(request.slot, Outcome.OK, keys, images, more))

    def refuse(self, outcome: Outcome) -> None:
        """Answer that it was not served."""
        self._stream.answer_page(Page(self._request.slot, outcome))


def _keep(write: WaitingWrite, now: float) -> bool:
    stream, slot, deadline = write[:3]
    if deadline > now:
        return True
    stream.answer(slot, Outcome.EXPIRED)
    return False
