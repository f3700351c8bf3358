"""Between the router's routed requests and the wire messages of the node's Route stream."""

from __future__ import annotations

from collections.abc import Sequence

from quorate.v1 import node_pb2
from router.routed import RoutedGet, RoutedRange, RoutedWrite


def encode_batch(
    sequence: int,
    epoch: int,
    now: float,
    writes: Sequence[RoutedWrite],
    gets: Sequence[RoutedGet],
    ranges: Sequence[RoutedRange],
    *,
    heard_ms: int,
) -> node_pb2.RouteBatch:
    """Return one message with all requests, as columns; `now` is on the deadlines' clock.

    `heard_ms` is the node's clock in its newest reply.
    """
    return node_pb2.RouteBatch(
        sequence=sequence,
        catalog_epoch=epoch,
        writes=_write_columns(writes, now) if writes else None,
        gets=_get_columns(gets, now) if gets else None,
        ranges=[_range_read(routed, now) for routed in ranges],
        heard_ms=heard_ms,
    )


def _left_ms(deadline: float, now: float) -> int:
    """Return the time left, at least 1 ms: 0 would mean that it was never set."""
    return max(1, int((deadline - now) * 1000))


def _write_columns(writes: Sequence[RoutedWrite], now: float) -> node_pb2.WriteColumns:
    columns = node_pb2.WriteColumns(
        slots=[routed.slot for routed in writes],
        partitions=[routed.partition for routed in writes],
        deadlines_ms=[_left_ms(routed.deadline, now) for routed in writes],
        request_ids=[routed.request_id for routed in writes],
        keys=[routed.key for routed in writes],
        images=[routed.image for routed in writes],
        programs=[routed.program for routed in writes],
    )
    traced = [place for place, routed in enumerate(writes) if routed.trace_context]
    if traced:
        columns.traced.extend(traced)
        columns.trace_contexts.extend([writes[place].trace_context for place in traced])
    return columns


def _get_columns(gets: Sequence[RoutedGet], now: float) -> node_pb2.GetColumns:
    return node_pb2.GetColumns(
        slots=[routed.slot for routed in gets],
        partitions=[routed.partition for routed in gets],
        deadlines_ms=[_left_ms(routed.deadline, now) for routed in gets],
        keys=[routed.key for routed in gets],
        consistent=[not routed.eventual for routed in gets],
    )


def _range_read(routed: RoutedRange, now: float) -> node_pb2.RangeRead:
    span = routed.span
    return node_pb2.RangeRead(
        slot=routed.slot,
        partition=routed.partition,
        deadline_ms=_left_ms(routed.deadline, now),
        low=span.low,
        high=span.high,
        backwards=span.backwards,
        items_max=span.items_max,
        size_bytes_max=span.size_bytes_max,
        consistent=not routed.eventual,
    )
