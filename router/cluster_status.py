"""The cluster as one JSON document: what `/status` shows, from the catalog and the nodes' words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from quorate.cluster.catalog import CATALOG_GROUP, Catalog, NodeRecord
from quorate.v1 import node_pb2
from router.replacements import GroupsByNode, Replacement, find_replacements
from router.table_sizes import add_up

NodeStatuses = Sequence[tuple[NodeRecord, node_pb2.GetStatusResponse | None]]
Document = dict[str, object]

TOLD_BY_NODES: Final = (
    "pid",
    "uptime_seconds",
    "version",
    "memtable_bytes",
    "log_bytes",
    "items_bytes",
    "log_commits",
)
"""Of GetStatusResponse, what the document shows."""


def describe_cluster(catalog: Catalog, statuses: NodeStatuses, router: Document) -> Document:
    """Return the document; nodes that did not answer are shown as not healthy.

    What nobody told is None, and never 0.
    """
    sizes = add_up([status for _, status in statuses if status is not None])
    groups: GroupsByNode = {
        node.id: {group.group: group for group in status.groups}
        for node, status in statuses
        if status is not None
    }
    return {
        "cluster_id": catalog.cluster_id,
        "epoch": catalog.epoch,
        "router": router,
        "nodes": [_describe_node(node, status) for node, status in statuses],
        "catalog": _describe_group(catalog, groups, CATALOG_GROUP, catalog.catalog_replicas),
        "partitions": [
            {
                "id": partition.id,
                "low_token": partition.low_token,
                **_describe_group(catalog, groups, partition.id, partition.replicas),
            }
            for partition in catalog.partitions
        ],
        "replacements": [
            _describe_replacement(each) for each in find_replacements(catalog, groups)
        ],
        "tables": [
            {
                "name": table.name,
                "id": table.id,
                "item_count": count,
                "size_bytes": size_bytes,
            }
            for table in catalog.tables
            for count, size_bytes in [sizes.get(table.id, (0, 0) if groups else (None, None))]
        ],
    }


def _describe_node(node: NodeRecord, status: node_pb2.GetStatusResponse | None) -> Document:
    described: Document = {
        "id": node.id,
        "name": node.name,
        "az": node.az,
        "address": node.address,
        "healthy": status is not None,
    }
    return described | {name: getattr(status, name, None) for name in TOLD_BY_NODES}


def _describe_replacement(replacement: Replacement) -> Document:
    old, new = replacement.old, replacement.new
    return {
        "old": {"id": old.id, "name": old.name, "az": old.az},
        "new": {"id": new.id if new else None, "name": old.replacement, "joined": new is not None},
        "groups_moved": replacement.groups_moved,
        "groups_left": replacement.groups_left,
        "catching_up": [
            {"group": each.group, "lag_entries": each.lag_entries, "flow": each.flow}
            for each in replacement.catching_up
        ],
    }


def _describe_group(
    catalog: Catalog, groups: GroupsByNode, group_id: int, replicas: Sequence[int]
) -> Document:
    told = {node_id: own[group_id] for node_id, own in groups.items() if group_id in own}
    leaders = [node_id for node_id, group in told.items() if group.role == "leader"]
    leader = max(leaders, key=lambda node_id: told[node_id].term, default=0)
    # Without a leader, the replica that knows most speaks for the group.
    voice = leader or max(told, key=lambda node_id: told[node_id].commit, default=0)
    spoken = told.get(voice)
    progress = {each.node_id: each for each in spoken.progress} if spoken is not None else {}
    # The catalog hears of a new member only when it is a voter.
    members = dict.fromkeys((*replicas, *(node for node in progress if node in catalog.node_by_id)))
    described_replicas = []
    for node_id in members:
        node = catalog.node_by_id[node_id]
        own = told.get(node_id)
        match = progress[node_id].match if node_id in progress else own.last if own else None
        is_learner = node_id in progress and progress[node_id].learner
        described_replicas.append(
            {
                "id": node_id,
                "node": node.name,
                "az": node.az,
                "role": "unreachable" if own is None else "learner" if is_learner else own.role,
                "match": match,
                "lag_entries": max(0, spoken.last - match)
                if spoken and match is not None
                else None,
                "healthy": own is not None,
            }
        )
    return {
        "leader": catalog.node_by_id[leader].name if leader in catalog.node_by_id else None,
        "term": getattr(spoken, "term", None),
        "commit": getattr(spoken, "commit", None),
        "applied": getattr(spoken, "applied", None),
        "replicas": described_replicas,
    }
