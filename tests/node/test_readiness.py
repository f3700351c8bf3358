"""When a node says that it may be counted on."""

from __future__ import annotations

import pytest

from node import readiness
from node.readiness import LAG_ENTRIES_MAX, SETTLE_SECONDS, unready_reason
from tests.node.builders import put
from tests.node.harness import PARTITION, Cluster


def reason(cluster: Cluster, node_id: int) -> str:
    return unready_reason(cluster.nodes[node_id].host, running_seconds=SETTLE_SECONDS)


def test_nodes_of_a_whole_cluster_are_ready(cluster: Cluster) -> None:
    assert [reason(cluster, node_id) for node_id in (1, 2, 3)] == ["", "", ""]


def test_node_that_has_just_begun_is_not(cluster: Cluster) -> None:
    assert "just begun" in unready_reason(cluster.nodes[1].host, running_seconds=0.1)


def test_node_without_a_quorum_is_not(cluster: Cluster) -> None:
    cluster.crash(2, 3)
    sentence = f"group 0: no leader is known; group {PARTITION}: no leader is known"

    cluster.tick_until(lambda: reason(cluster, 1) == sentence)


def test_node_that_comes_back_is_not_before_it_has_caught_up(cluster: Cluster) -> None:
    cluster.crash(3)
    for number in range(LAG_ENTRIES_MAX + 10):
        cluster.done(put(f"k{number}", n=number))
    cluster.restart(3)
    node = cluster.nodes[3]
    node.log_held = True  # it hears how far the others are, and cannot follow
    cluster.tick_until(lambda: "entries behind" in reason(cluster, 3))

    node.log_held = False
    cluster.tick_until(lambda: not reason(cluster, 3))
    assert node.replica().core.applied == cluster.leader().replica().core.applied


def test_node_whose_disk_is_full_is_not(cluster: Cluster) -> None:
    node = cluster.leader()
    node.disk_full = True
    cluster.write(put("k", n=1))
    cluster.tick_until(lambda: node.log_write is not None)
    node.finish_log_write()

    assert reason(cluster, node.id) == "its disk is full"


def test_sentence_names_some_groups_and_counts_the_others(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = cluster.nodes[1].host
    monkeypatch.setattr(host, "replicas", {})
    assert reason(cluster, 1) == "group 0: no replica yet; group 1: no replica yet"

    monkeypatch.setattr(readiness, "GROUPS_NAMED_MAX", 1)
    assert reason(cluster, 1) == "group 0: no replica yet; and 1 more groups"
