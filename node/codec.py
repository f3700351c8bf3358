"""Between wire messages and the node's own types. No decisions are taken here."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Final, cast
from zlib import crc32

from node.peer_batch import PeerBatch
from quorate.cluster.outcome import Outcome
from quorate.v1 import log_pb2, node_pb2
from raft.types import Configuration, Entry, Message, MessageType, SnapshotMeta


def wire_outcome(outcome: Outcome) -> node_pb2.Outcome:
    """Return the same number as the type that the generated stubs want."""
    return cast("node_pb2.Outcome", outcome)


NUMBER_MAX: Final = 1 << 62
"""Largest term or index that is believed. Ours: a log never gets there, and one above it could not
be counted up any more."""


class CorruptMessage(Exception):
    """A peer's message whose entries do not match their checksums: nothing of it is used."""


# Raft messages


def encode_raft_batch(batch: PeerBatch) -> node_pb2.RaftBatch:
    """Return one wire message with all that there is for one peer."""
    wire = node_pb2.RaftBatch(messages=[_encode_message(*pair) for pair in batch.messages])
    if batch.heartbeats:
        groups, terms, commits, sequences = zip(*batch.heartbeats, strict=True)
        columns = wire.heartbeats
        columns.groups.extend(groups)
        columns.terms.extend(terms)
        columns.commits.extend(commits)
        columns.sequences.extend(sequences)
    if batch.replies:
        groups, terms, sequences = zip(*batch.replies, strict=True)
        columns = wire.heartbeat_replies
        columns.groups.extend(groups)
        columns.terms.extend(terms)
        columns.commits.extend([0] * len(groups))
        columns.sequences.extend(sequences)
    return wire


def decode_raft_batch(wire: node_pb2.RaftBatch, *, sender: int, receiver: int) -> PeerBatch:
    """Return the plain form of a batch; the pair of `encode_raft_batch`.

    Raises CorruptMessage if an entry does not match its checksum, ValueError for what cannot be.
    """
    batch = PeerBatch(sender, receiver)
    # Slices are Python's own lists, which are faster to go through than a message's columns.
    columns = wire.heartbeats
    terms, commits = columns.terms[:], columns.commits[:]
    _check_numbers(max(terms, default=0), max(commits, default=0))
    batch.heartbeats = list(
        zip(columns.groups[:], terms, commits, columns.sequences[:], strict=True)
    )
    columns = wire.heartbeat_replies
    terms = columns.terms[:]
    _check_numbers(max(terms, default=0))
    batch.replies = list(zip(columns.groups[:], terms, columns.sequences[:], strict=True))
    batch.messages = [
        (message.group, _decode_message(message, sender, receiver)) for message in wire.messages
    ]
    return batch


def _encode_message(group: int, message: Message) -> node_pb2.RaftMessage:
    entries = message.entries
    return node_pb2.RaftMessage(
        group=group,
        type=message.type,
        term=message.term,
        index=message.index,
        log_term=message.log_term,
        commit=message.commit,
        reject=message.reject,
        hint=message.hint,
        hint_term=message.hint_term,
        sequence=message.sequence,
        entry_terms=[entry.term for entry in entries],
        entry_kinds=[entry.kind for entry in entries],
        entry_payloads=[entry.payload for entry in entries],
        entry_checksums=[crc32(entry.payload) for entry in entries],
        snapshot=encode_snapshot_meta(message.snapshot) if message.snapshot else None,
    )


def _decode_message(wire: node_pb2.RaftMessage, sender: int, receiver: int) -> Message:
    index = wire.index
    _check_numbers(wire.term, index, wire.commit, *wire.entry_terms)
    entries = [
        Entry(index + offset, term, kind, payload)
        for offset, (term, kind, payload) in enumerate(
            zip(wire.entry_terms, wire.entry_kinds, wire.entry_payloads, strict=True), start=1
        )
    ]
    for entry, checksum in zip(entries, wire.entry_checksums, strict=True):
        if crc32(entry.payload) != checksum:
            raise CorruptMessage(f"group {wire.group}, entry {entry.index} from node {sender}")
    return Message(
        MessageType(wire.type),
        sender,
        receiver,
        wire.term,
        index=index,
        log_term=wire.log_term,
        commit=wire.commit,
        entries=entries,
        reject=wire.reject,
        hint=wire.hint,
        hint_term=wire.hint_term,
        sequence=wire.sequence,
        snapshot=decode_snapshot_meta(wire.snapshot) if wire.HasField("snapshot") else None,
    )


def _check_numbers(*numbers: int) -> None:
    if numbers and max(numbers) > NUMBER_MAX:
        raise ValueError(f"a term or an index of {max(numbers)}")


def encode_snapshot_meta(meta: SnapshotMeta) -> node_pb2.SnapshotMeta:
    """Return the wire form of what a snapshot covers."""
    return node_pb2.SnapshotMeta(
        index=meta.index, term=meta.term, configuration=meta.configuration.encode()
    )


def decode_snapshot_meta(wire: node_pb2.SnapshotMeta) -> SnapshotMeta:
    """Return the plain form; the pair of `encode_snapshot_meta`."""
    return SnapshotMeta(wire.index, wire.term, Configuration.decode(wire.configuration))


# Log entries of partitions


@dataclass(slots=True)
class WriteColumns:
    """The writes of one entry. Keys and images belong together, and so do request ids and units.

    A refused write, by its condition for one, has no key and no image; `refusals` holds its
    outcome by request id. `answers` holds, by request id, what a write returned besides its
    capacity: of a refused one its outcome's payload.
    `sizes` holds, by table id, the change of (number of items, bytes). `traces` are the contexts of
    sampled writes; they mean nothing to the state.
    """

    keys: Sequence[bytes]
    images: Sequence[bytes]
    request_ids: Sequence[bytes]
    units: Sequence[int]
    refusals: dict[bytes, int] = field(default_factory=dict)
    answers: dict[bytes, bytes] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    traces: Sequence[bytes] = ()


def encode_write_entry(columns: WriteColumns) -> bytes:
    """Return the payload of a partition's log entry."""
    entry = log_pb2.WriteEntry(
        keys=columns.keys,
        images=columns.images,
        request_ids=columns.request_ids,
        write_units=columns.units,
    )
    if columns.refusals or columns.answers:
        position_of = {request_id: at for at, request_id in enumerate(columns.request_ids)}
        entry.refused.extend([position_of[request_id] for request_id in columns.refusals])
        entry.refusal_outcomes.extend(columns.refusals.values())
        entry.answer_of.extend([position_of[request_id] for request_id in columns.answers])
        entry.answers.extend(columns.answers.values())
    if columns.traces:
        entry.trace_contexts.extend(columns.traces)
    for table, (item_count, size_bytes) in columns.sizes.items():
        entry.tables.append(table)
        entry.item_count_changes.append(item_count)
        entry.size_bytes_changes.append(size_bytes)
    return entry.SerializeToString()


def trace_contexts(payload: bytes) -> Sequence[bytes]:
    """Return the contexts of an entry's sampled writes."""
    return log_pb2.WriteEntry.FromString(payload).trace_contexts


def decode_write_entry(payload: bytes) -> WriteColumns:
    """Return the writes of a log entry; the pair of `encode_write_entry`."""
    entry = log_pb2.WriteEntry.FromString(payload)
    request_ids = list(entry.request_ids)
    return WriteColumns(
        keys=list(entry.keys),
        images=list(entry.images),
        request_ids=request_ids,
        units=list(entry.write_units),
        refusals={
            request_ids[position]: outcome
            for position, outcome in zip(entry.refused, entry.refusal_outcomes, strict=True)
        },
        answers={
            request_ids[position]: answer
            for position, answer in zip(entry.answer_of, entry.answers, strict=True)
        },
        sizes={
            table: (item_count, size_bytes)
            for table, item_count, size_bytes in zip(
                entry.tables, entry.item_count_changes, entry.size_bytes_changes, strict=True
            )
        },
    )


# What routers ask and are told


@dataclass(frozen=True, slots=True)
class RoutedWrites:
    """Columns: element i of every one belongs to write i."""

    slots: Sequence[int]
    partitions: Sequence[int]
    deadlines_ms: Sequence[int]
    request_ids: Sequence[bytes]
    keys: Sequence[bytes]
    images: Sequence[bytes]
    programs: Sequence[bytes]
    traced: Sequence[int] = ()  # sparse: positions of the writes that these are of
    trace_contexts: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class RoutedGets:
    """Columns: element i of every one belongs to get i."""

    slots: Sequence[int]
    partitions: Sequence[int]
    keys: Sequence[bytes]
    consistent: Sequence[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedRange:
    """A page of items with low <= key < high. `items_max` 0 means no bound but the bytes'."""

    slot: int
    partition: int
    low: bytes
    high: bytes
    backwards: bool
    items_max: int
    size_bytes_max: int
    consistent: bool


@dataclass(frozen=True, slots=True)
class RoutedBatch:
    """Everything one router sent in one message."""

    sequence: int
    catalog_epoch: int
    writes: RoutedWrites
    gets: RoutedGets
    ranges: Sequence[RoutedRange]
    heard_ms: int  # this node's clock, as the router last heard it


@dataclass(slots=True)
class Page:
    """The answer to a RoutedRange; `more`: the range has items after the last one."""

    slot: int
    outcome: Outcome
    keys: Sequence[bytes] = ()
    images: Sequence[bytes] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class LeaderHint:
    """Who leads a partition in a term, as far as this node knows; 0 = nobody."""

    partition: int
    term: int
    leader: int


def decode_route_batch(wire: node_pb2.RouteBatch) -> RoutedBatch:
    """Return a router's batch; the columns are read in place, not copied.

    Raises ValueError if they are not of one length.
    """
    writes, gets = wire.writes, wire.gets
    _check_lengths(
        writes.slots,
        writes.partitions,
        writes.deadlines_ms,
        writes.request_ids,
        writes.keys,
        writes.images,
        writes.programs,
    )
    _check_lengths(gets.slots, gets.partitions, gets.keys, gets.consistent)
    return RoutedBatch(
        wire.sequence,
        wire.catalog_epoch,
        RoutedWrites(
            writes.slots,
            writes.partitions,
            writes.deadlines_ms,
            writes.request_ids,
            writes.keys,
            writes.images,
            writes.programs,
            writes.traced,
            writes.trace_contexts,
        ),
        RoutedGets(gets.slots, gets.partitions, gets.keys, gets.consistent),
        [
            RoutedRange(
                slot=read.slot,
                partition=read.partition,
                low=read.low,
                high=read.high,
                backwards=read.backwards,
                items_max=read.items_max,
                size_bytes_max=read.size_bytes_max,
                consistent=read.consistent,
            )
            for read in wire.ranges
        ],
        wire.heard_ms,
    )


def _check_lengths(*columns: Sized) -> None:
    if len({len(column) for column in columns}) != 1:
        raise ValueError("columns of several lengths")


def encode_reply(
    *,
    accepted: int,
    slots: Sequence[int],
    outcomes: Sequence[Outcome],
    units: Sequence[int],
    payloads: Sequence[bytes],
    pages: Sequence[Page],
    leaders: Sequence[LeaderHint],
    catalog_epoch: int,
) -> node_pb2.RouteReply:
    """Return one message to a router with everything it is owed."""
    reply = node_pb2.RouteReply(accepted=accepted, catalog_epoch=catalog_epoch)
    if slots:
        reply.answers.slots.extend(slots)
        reply.answers.outcomes.extend(cast("Sequence[node_pb2.Outcome]", outcomes))
        reply.answers.write_units.extend(units)
        reply.answers.payloads.extend(payloads)
    for page in pages:
        reply.pages.add(
            slot=page.slot,
            outcome=wire_outcome(page.outcome),
            keys=page.keys,
            images=page.images,
            more=page.more,
        )
    for hint in leaders:
        reply.leaders.add(partition=hint.partition, term=hint.term, leader=hint.leader)
    return reply
