"""Takes routers' batches apart: each request goes to its partition's replica, or is refused."""

from __future__ import annotations

from collections.abc import Mapping

from model.errors import InternalServerError, encode_error
from node.codec import Page, RoutedBatch, RoutedGets
from node.replica import GetReads, PartitionReplica, RangeRead, Replica
from node.routes import RouteStream
from quorate.cluster.outcome import Outcome
from quorate.cluster.write_id import REQUEST_ID_BYTES


def take_in(
    batch: RoutedBatch,
    stream: RouteStream,
    partitions: Mapping[int, PartitionReplica],
    *,
    now: float,
    stale: bool,
    full: bool,
    too_old: bool,
) -> dict[int, Replica]:
    """Hand a batch's requests to their replicas; return those that have something to do now.

    `now` is in seconds of the host's clock. `stale`: the router decided by a newer catalog than
    this node's, which may give it a replica that it has not made yet. `full`: the disk has no
    room, so this node leads nothing. `too_old`: the router may have slept since it read these
    writes.
    """
    touched: dict[int, Replica] = {}
    if too_old:
        for slot in batch.writes.slots:
            stream.answer(slot, Outcome.TOO_OLD)
    elif batch.writes.slots:
        _take_writes(batch, stream, partitions, touched, now=now, stale=stale, full=full)
    if batch.gets.slots:
        _take_gets(batch.gets, stream, partitions, touched, now=now)
    for request in batch.ranges:
        read = RangeRead(stream, request, arrived_at=now)
        _take_read(read, partitions, request.partition, touched, consistent=request.consistent)
    return touched


def refuse_all(batch: RoutedBatch, stream: RouteStream) -> int:
    """Answer that this node is overloaded, to all of a batch; return to how many requests."""
    slots = (*batch.writes.slots, *batch.gets.slots)
    for slot in slots:
        stream.answer(slot, Outcome.OVERLOADED)
    for request in batch.ranges:
        stream.answer_page(Page(request.slot, Outcome.OVERLOADED))
    return len(slots) + len(batch.ranges)


def _take_writes(
    batch: RoutedBatch,
    stream: RouteStream,
    partitions: Mapping[int, PartitionReplica],
    touched: dict[int, Replica],
    *,
    now: float,
    stale: bool,
    full: bool,
) -> None:
    writes = batch.writes
    for slot, partition, deadline_ms, request_id, key, image, program in zip(
        writes.slots,
        writes.partitions,
        writes.deadlines_ms,
        writes.request_ids,
        writes.keys,
        writes.images,
        writes.programs,
        strict=True,
    ):
        replica = partitions.get(partition)
        if replica is None:
            stream.answer(slot, Outcome.STALE_CATALOG if stale else Outcome.NOT_REPLICA)
        elif full and not replica.core.leader:
            stream.answer(slot, Outcome.STORAGE_FULL)
        elif len(request_id) != REQUEST_ID_BYTES:
            stream.answer(slot, Outcome.INVALID, 0, encode_error(InternalServerError()))
        else:
            deadline = now + deadline_ms / 1000
            replica.write((stream, slot, deadline, request_id, key, image, program, now))
            touched[partition] = replica


def _take_gets(
    gets: RoutedGets,
    stream: RouteStream,
    partitions: Mapping[int, PartitionReplica],
    touched: dict[int, Replica],
    *,
    now: float,
) -> None:
    by_partition: dict[tuple[int, bool], tuple[list[int], list[bytes]]] = {}
    for slot, partition, key, consistent in zip(
        gets.slots, gets.partitions, gets.keys, gets.consistent, strict=True
    ):
        slots, keys = by_partition.setdefault((partition, consistent), ([], []))
        slots.append(slot)
        keys.append(key)
    for (partition, consistent), (slots, keys) in by_partition.items():
        read = GetReads(stream, slots, keys, consistent=consistent, arrived_at=now)
        _take_read(read, partitions, partition, touched, consistent=consistent)


def _take_read(
    read: GetReads | RangeRead,
    partitions: Mapping[int, PartitionReplica],
    partition: int,
    touched: dict[int, Replica],
    *,
    consistent: bool,
) -> None:
    replica = partitions.get(partition)
    if replica is None or replica.installing:
        read.refuse(Outcome.NOT_REPLICA)
    elif consistent:
        replica.read(read)
        touched[partition] = replica
    else:
        read.serve(replica)
