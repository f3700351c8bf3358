"""How far the nodes are that take the place of others: from the catalog and the nodes' statuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quorate.cluster.catalog import Catalog, NodeRecord, find_replacement
from quorate.v1 import node_pb2

GroupsByNode = Mapping[int, Mapping[int, node_pb2.GroupStatus]]
"""What the nodes that answered say of their groups: by node id, then by group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchingUp:
    """A group that has taken the new node in and not yet let the old one go."""

    group: int
    lag_entries: int
    flow: str  # "snapshot": it is being sent the items


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One node that is being replaced; `new` is None until the one that is to come has joined.

    `groups_moved` are those that the new node holds, `groups_left` those that the old one holds.
    """

    old: NodeRecord
    new: NodeRecord | None
    groups_moved: int
    groups_left: int
    catching_up: tuple[CatchingUp, ...]


def find_replacements(catalog: Catalog, groups: GroupsByNode) -> list[Replacement]:
    """Return the replacements under way, in the order of the nodes."""
    return [_describe(catalog, groups, old) for old in catalog.nodes if old.replacement]


def _describe(catalog: Catalog, groups: GroupsByNode, old: NodeRecord) -> Replacement:
    new = find_replacement(catalog.nodes, old)
    held = catalog.replicas_of
    left = [group for group, nodes in held.items() if old.id in nodes]
    catching_up = [
        CatchingUp(
            group=group,
            lag_entries=max(0, leader.last - progress.match),
            flow=progress.flow,
        )
        for group in left
        if new is not None and (leader := find_leader(groups, group)) is not None
        for progress in leader.progress
        if progress.node_id == new.id
    ]
    return Replacement(
        old=old,
        new=new,
        groups_moved=sum(new is not None and new.id in nodes for nodes in held.values()),
        groups_left=len(left),
        catching_up=tuple(catching_up),
    )


def find_leader(groups: GroupsByNode, group_id: int) -> node_pb2.GroupStatus | None:
    """Return what the leader of a group says of it; of two, the one of the later term."""
    claims = [
        own[group_id]
        for own in groups.values()
        if group_id in own and own[group_id].role == "leader"
    ]
    return max(claims, key=lambda claim: claim.term, default=None)
