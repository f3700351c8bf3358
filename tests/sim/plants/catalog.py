"""Planted bugs: what a node makes of a catalog that is behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from node import host
from node.codec import RoutedBatch, RoutedWrites
from node.intake import take_in
from node.replica import PartitionReplica, Replica
from node.routes import RouteStream
from quorate.cluster.catalog import Catalog
from quorate.cluster.outcome import Outcome
from tests.sim.nodes import SimulatedNode
from tests.sim.plants.registry import Change, plant


def _want_nothing(node: SimulatedNode, epoch: int) -> None:
    pass


@plant
def behind_refuses_everything() -> Sequence[Change]:
    """A leader takes no writes of a router with a newer catalog, and waits for its own watch."""

    def take_in_or_not(
        batch: RoutedBatch,
        stream: RouteStream,
        partitions: Mapping[int, PartitionReplica],
        *,
        stale: bool,
        **named: Any,
    ) -> dict[int, Replica]:
        if not stale:
            return take_in(batch, stream, partitions, stale=stale, **named)
        for slot in batch.writes.slots:
            stream.answer(slot, Outcome.STALE_CATALOG)
        none = RoutedWrites((), (), (), (), (), (), ())
        batch = replace(batch, writes=none)
        return take_in(batch, stream, partitions, stale=stale, **named)

    return [
        (host, "take_in", take_in_or_not),
        (SimulatedNode, "want_catalog", _want_nothing),
    ]


@plant
def behind_asks_nobody() -> Sequence[Change]:
    """A leader that does not know a table waits for its own watch, though others have the news."""
    return [(SimulatedNode, "want_catalog", _want_nothing)]


@plant
def unknown_table_is_dropped() -> Sequence[Change]:
    """A node takes a table that it has not heard of yet for one that is gone."""

    def has_dropped(catalog: Catalog, table_id: int) -> bool:
        return table_id not in catalog.table_by_id

    return [(Catalog, "has_dropped", has_dropped)]
