"""The catalog as plain values: what nodes and routers know of the cluster.

A catalog is never changed in place; every change makes a new one with the next epoch
(`node.machine.catalog` applies the commands). The wire form is in `quorate.cluster.codec`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

CATALOG_GROUP: Final = 0
"""The number of the group that replicates the catalog itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """A table: its id is never used again, its name may be.

    `version` is the definition's: how often it was replaced.
    """

    id: int
    name: str
    definition: bytes
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A storage process. `id` is its number as a Raft member, from 1, and never used again.

    `incarnation` is its data directory's. `replacement` is the name of the node that takes its
    place, joined or not: its replicas are moving there. A replacement may have the same name.
    """

    id: int
    name: str
    az: str
    address: str
    incarnation: str = ""
    replacement: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRecord:
    """One arc of the ring, from `low_token` to the next partition's, and who holds it.

    `id` is from 1 and also the number of the partition's Raft group.
    `replicas` are node ids, one in each AZ; the first is the preferred leader. `moved`: they are
    not those that the group began with, so a new replica must learn its members from the log.
    """

    id: int
    low_token: int
    replicas: tuple[int, ...]
    moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyRecord:
    """A key that requests are signed with; only routers can open its secret."""

    id: str
    sealed_secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Permission for each of these actions on each of these tables.

    What the texts mean is in `quorate.security.permissions`.
    """

    actions: tuple[str, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRecord:
    """Who may use the cluster, under one key or two; without grants for everything."""

    name: str
    access_keys: tuple[AccessKeyRecord, ...]
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Everything the cluster agrees on about itself.

    `closed`: it had a user, and nobody has opened it since. Invariants: partitions are sorted by
    `low_token`, start at 0 and so cover the ring. No two nodes have the same name or address, but
    for a node and its replacement.
    """

    epoch: int = 0
    cluster_id: str = ""
    next_table_id: int = 1
    tables: tuple[TableRecord, ...] = ()
    nodes: tuple[NodeRecord, ...] = ()
    partitions: tuple[PartitionRecord, ...] = ()
    next_node_id: int = 1
    catalog_replicas: tuple[int, ...] = ()
    users: tuple[UserRecord, ...] = ()
    closed: bool = False

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

    @cached_property
    def user_by_name(self) -> dict[str, UserRecord]:
        """Users by name."""
        return {user.name: user for user in self.users}

    @property
    def must_sign(self) -> bool:
        """Whether requests must be signed: what was closed stays so when the last user goes."""
        return self.closed or bool(self.users)

    @cached_property
    def replicas_of(self) -> dict[int, tuple[int, ...]]:
        """The node ids that hold each group, by group: partitions, and the catalog."""
        held = {partition.id: partition.replicas for partition in self.partitions}
        return {CATALOG_GROUP: self.catalog_replicas, **held}

    @cached_property
    def next_replacements(self) -> dict[int, int]:
        """Which node was named to take whose place: new id by old id, of those that have joined."""
        pairs = {}
        for old in self.nodes:
            new = find_replacement(self.nodes, old)
            if new is not None:
                pairs[old.id] = new.id
        return pairs

    @cached_property
    def replacements(self) -> dict[int, int]:
        """Which node takes whose place in the end: new id by old id, of those that have joined.

        A node that is lost while it takes another one's place may be replaced in its turn.
        """
        return {old: _end_of_chain(self.next_replacements, old) for old in self.next_replacements}

    def groups_of(self, node_id: int) -> set[int]:
        """Return the groups of which a node holds a replica, or is about to."""
        leaving = {old for old, new in self.replacements.items() if new == node_id}
        return {
            group
            for group, replicas in self.replicas_of.items()
            if node_id in replicas or not leaving.isdisjoint(replicas)
        }

    def has_removed(self, node_id: int) -> bool:
        """Return whether a node was removed for good, surely: ids are never used twice."""
        return node_id < self.next_node_id and node_id not in self.node_by_id


def _end_of_chain(next_of: Mapping[int, int], node_id: int) -> int:
    for _ in next_of:  # ends: whoever is named a replacement has none of its own yet
        node_id = next_of.get(node_id, node_id)
    assert node_id not in next_of, "nobody takes the place of his own replacement"
    return node_id


def find_node(catalog: Catalog, name: str) -> NodeRecord | None:
    """Return the node of that name; of several, the one whose place nobody takes yet."""
    found = [node for node in catalog.nodes if node.name == name]
    return min(found, key=lambda node: (node.id in catalog.replacements, node.id), default=None)


def find_replacement(nodes: Sequence[NodeRecord], old: NodeRecord) -> NodeRecord | None:
    """Return the node that takes the place of `old`; None if nobody does or it has not joined.

    A replacement of the same name is the one that joined later.
    """
    if not old.replacement:
        return None
    for node in nodes:
        if node.name == old.replacement and (node.name != old.name or node.id > old.id):
            return node
    return None
