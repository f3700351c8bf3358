"""The cluster's status as a document, from nodes that may disagree or be away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quorate.cluster.catalog import Catalog
from quorate.v1 import node_pb2
from router.cluster_status import describe_cluster
from router.table_sizes import add_up
from tests.router.cluster import make_catalog


def group(
    number: int, role: str, *, term: int, applied: int, items: int = 0, **more: int
) -> node_pb2.GroupStatus:
    return node_pb2.GroupStatus(
        group=number,
        role=role,
        term=term,
        applied=applied,
        commit=applied,
        last=more.get("last", applied),
        table_sizes=[node_pb2.TableSize(table=1, item_count=items, size_bytes=items * 10)],
        progress=[
            node_pb2.ReplicaProgress(node_id=int(name[5:]), match=match)
            for name, match in more.items()
            if name.startswith("match")
        ],
    )


def test_partition_is_shown_by_its_newest_leader_and_lag_by_its_replicas() -> None:
    catalog = make_catalog()
    statuses = [
        node_pb2.GetStatusResponse(
            name="a1", groups=[group(1, "leader", term=5, applied=90, match2=88, match3=40)]
        ),
        node_pb2.GetStatusResponse(name="b1", groups=[group(1, "leader", term=4, applied=70)]),
        None,
    ]

    document = describe_cluster(catalog, list(zip(catalog.nodes, statuses, strict=True)), {})

    (partition,) = document["partitions"]  # type: ignore[misc]
    assert partition["leader"] == "a1"  # type: ignore[index]
    assert partition["term"] == 5  # type: ignore[index]
    lags = {each["node"]: each["lag_entries"] for each in partition["replicas"]}  # type: ignore[index]
    assert lags == {"a1": 0, "b1": 2, "c1": 50}
    healthy = {each["node"]: each["healthy"] for each in partition["replicas"]}  # type: ignore[index]
    assert healthy == {"a1": True, "b1": True, "c1": False}


def test_cluster_whose_nodes_are_all_away_is_still_described() -> None:
    catalog = make_catalog(partitions=3)

    document = describe_cluster(catalog, [(node, None) for node in catalog.nodes], {})

    assert [node["healthy"] for node in document["nodes"]] == [False] * 3  # type: ignore[attr-defined]
    assert {part["leader"] for part in document["partitions"]} == {None}  # type: ignore[attr-defined]


def test_what_nobody_told_is_null_and_not_zero() -> None:
    catalog = make_catalog()

    document: Any = describe_cluster(catalog, [(node, None) for node in catalog.nodes], {})

    (node, *_), (partition,), (table, *_) = (
        document[name] for name in ("nodes", "partitions", "tables")
    )
    told = ("pid", "uptime_seconds", "version", "memtable_bytes", "log_bytes", "items_bytes")
    assert [node[name] for name in told] == [None] * 6
    assert [partition[name] for name in ("term", "commit", "applied")] == [None] * 3
    assert [each["lag_entries"] for each in partition["replicas"]] == [None] * 3
    assert (table["item_count"], table["size_bytes"]) == (None, None)


def replacing_catalog(*, joined: bool) -> Catalog:
    catalog = make_catalog(partitions=2)
    old = replace(catalog.nodes[1], replacement="b1")
    new = replace(old, id=4, address="127.0.0.1:9", replacement="")
    moved = replace(catalog.partitions[0], replicas=(1, 4, 3)) if joined else catalog.partitions[0]
    return replace(
        catalog,
        nodes=(catalog.nodes[0], old, catalog.nodes[2], *((new,) if joined else ())),
        partitions=(moved, catalog.partitions[1]),
    )


def test_replacement_that_waits_for_its_node_says_so() -> None:
    catalog = replacing_catalog(joined=False)

    document = describe_cluster(catalog, [(node, None) for node in catalog.nodes], {})

    assert document["replacements"] == [
        {
            "old": {"id": 2, "name": "b1", "az": "az-b"},
            "new": {"id": None, "name": "b1", "joined": False},
            "groups_moved": 0,
            "groups_left": 3,
            "catching_up": [],
        }
    ]


def test_replacement_shows_groups_moved_and_how_far_learners_are_behind() -> None:
    """The lag is what the leader knows, and the learner is shown beside the catalog's replicas."""
    catalog = replacing_catalog(joined=True)
    leading = group(2, "leader", term=3, applied=90, match2=0, match3=90, match4=20)
    leading.progress[2].learner = True
    statuses = [
        node_pb2.GetStatusResponse(groups=[group(1, "leader", term=1, applied=5), leading]),
        None,
        node_pb2.GetStatusResponse(groups=[group(2, "follower", term=3, applied=90)]),
        node_pb2.GetStatusResponse(groups=[group(2, "follower", term=3, applied=20)]),
    ]

    document: Any = describe_cluster(catalog, list(zip(catalog.nodes, statuses, strict=True)), {})

    (shown,) = document["replacements"]
    assert shown["new"] == {"id": 4, "name": "b1", "joined": True}
    assert (shown["groups_moved"], shown["groups_left"]) == (1, 2)
    assert shown["catching_up"] == [{"group": 2, "lag_entries": 70, "flow": ""}]
    roles = {each["id"]: each["role"] for each in document["partitions"][1]["replicas"]}
    assert roles == {1: "leader", 2: "unreachable", 3: "follower", 4: "learner"}


def test_sizes_count_each_partition_once_by_its_most_advanced_replica() -> None:
    leader = node_pb2.GetStatusResponse(
        groups=[
            group(1, "leader", term=1, applied=9, items=5),
            group(2, "follower", term=1, applied=3, items=1),
        ]
    )
    follower = node_pb2.GetStatusResponse(
        groups=[
            group(1, "follower", term=1, applied=8, items=4),
            group(2, "leader", term=1, applied=7, items=2),
        ]
    )

    assert add_up([follower, leader]) == {1: (7, 70)}
