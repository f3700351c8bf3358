"""The catalog as plain values: what nodes and routers know of the cluster.

A catalog is never changed in place; every change makes a new one with the next epoch
(`node.catalog` applies the commands). The wire form is in `quorate.cluster.codec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """A table: its id is never used again, its name may be."""

    id: int
    name: str
    definition: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A storage process. `id` is its number as a Raft member, from 1."""

    id: int
    name: str
    az: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRecord:
    """One arc of the ring, from `low_token` to the next partition's, and who holds it.

    `id` is from 1 and also the number of the partition's Raft group.
    `replicas` are node ids, one in each AZ; the first is the preferred leader.
    """

    id: int
    low_token: int
    replicas: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything the cluster agrees on about itself.

    Invariant: partitions are sorted by `low_token`, start at 0 and so cover the ring.
    """

    epoch: int = 0
    cluster_id: str = ""
    next_table_id: int = 1
    tables: tuple[TableRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    partitions: tuple[PartitionRecord, ...] = ()

    @cached_property
    def table_by_name(self) -> dict[str, TableRecord]:
        """Live tables by name."""
        return {table.name: table for table in self.tables}

    @cached_property
    def table_by_id(self) -> dict[int, TableRecord]:
        """Live tables by id."""
        return {table.id: table for table in self.tables}

    def has_dropped(self, table_id: int) -> bool:
        """Return whether a table was dropped, surely.

        Ids are never used twice: one that was given out and is not live belongs to a dropped
        table; one that was not may have been given out since, in a newer catalog.
        """
        return table_id < self.next_table_id and table_id not in self.table_by_id

    @cached_property
    def node_by_id(self) -> dict[int, NodeRecord]:
        """Nodes by id."""
        return {node.id: node for node in self.nodes}

    @cached_property
    def partition_by_id(self) -> dict[int, PartitionRecord]:
        """Partitions by id."""
        return {partition.id: partition for partition in self.partitions}
