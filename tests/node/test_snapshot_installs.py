"""Installs: one transaction after the other, others in between, crashes wherever they may come."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from node import checkpoints, host
from node.peer_batch import PeerBatch
from node.storage import items_install, items_snapshot, log
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.outcome import Outcome
from raft.types import Message, MessageType, RaftConfig
from tests.node.builders import delete, key, put
from tests.node.harness import PARTITION, Cluster, Node
from tests.node.test_snapshots import assert_caught_up, hold_install

NODE = 3
"""The one that installs."""


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the log early; many frames, and many transactions in each install."""
    monkeypatch.setattr(checkpoints, "LOG_BYTES_MAX", 40_000)
    monkeypatch.setattr(log, "DELETE_SLICE", 8)
    monkeypatch.setattr(log, "HEAD_INTERVAL_COMMITS", 8)
    monkeypatch.setattr(host, "RaftConfig", partial(RaftConfig, cache_bytes_max=1_000))
    monkeypatch.setattr(items_snapshot, "PIECE_BYTES", 1_000)
    monkeypatch.setattr(items_install, "FILL_BYTES", 1_000)
    monkeypatch.setattr(items_install, "CLEAR_ITEMS", 2)


def fresh(directory: Path) -> Iterator[Cluster]:
    """Clusters, one after the other, each with an install held at node 3."""
    for number in count():
        place = directory / str(number)
        place.mkdir()
        cluster = Cluster(place)
        cluster.bootstrap(partitions=1)
        hold_install(cluster)
        yield cluster
        cluster.close()


def installing(node: Node) -> bool:
    return bool(node.items.installs())


def test_crash_after_any_transaction_recovers(directory: Path) -> None:
    """S61. The node finds the record and finishes from the file before it makes the replica."""
    interrupted = 0
    for steps, cluster in enumerate(fresh(directory)):
        node = cluster.nodes[NODE]
        for _ in range(steps):
            node.run_job()
        within = installing(node)
        term = node.replica().core.term
        cluster.crash(NODE)
        cluster.restart(NODE)

        assert (PARTITION not in node.host.replicas) == within
        if within:
            interrupted += 1
            assert PARTITION not in node.items.replicas()
            cluster.tick(3)
            assert PARTITION not in node.host.replicas, "not before the install is over"
            node.items_held = False
            cluster.run()
            assert "install_finished" in node.events
            assert node.replica().core.term >= term
        assert_caught_up(cluster)
        assert not installing(node)
        assert list((node._directory / "snapshots").iterdir()) == []
        if steps and not within:
            break

    assert interrupted >= 8, "thin: too few transactions"


def test_second_crash_while_the_first_is_recovered_from(cluster: Cluster) -> None:
    node = hold_install(cluster)
    for _ in range(4):
        node.run_job()
    for steps in (1, 2, 5):
        cluster.crash(NODE)
        cluster.restart(NODE)
        for _ in range(steps):
            node.run_job()
        assert installing(node)

    node.items_held = False
    assert_caught_up(cluster)


def test_replica_under_install_neither_votes_nor_answers_after_a_crash(cluster: Cluster) -> None:
    """It has promised to know things that are half gone: others must do without it until then."""
    node = hold_install(cluster)
    for _ in range(4):
        node.run_job()
    term = node.replica().core.term
    cluster.crash(NODE)
    cluster.restart(NODE)
    cluster.crash(2)

    vote = Message(MessageType.VOTE, 1, NODE, term + 5, index=1 << 30, log_term=1 << 30)
    node.host.receive(PeerBatch(1, node.id, [(PARTITION, vote)]))
    (read,) = cluster.get(key("k001"), at=NODE, consistent=False)
    cluster.tick(60)

    assert read.outcome is Outcome.NOT_REPLICA
    assert node.host.replicas.keys() == {CATALOG_GROUP}
    assert not cluster.serving(PARTITION), "one of three and half a replica are no quorum"
    assert_caught_up(cluster)


def test_hard_state_outlives_an_interrupted_install(cluster: Cluster) -> None:
    """Its term and its vote were promised; only the log below the snapshot may go."""
    node = hold_install(cluster)
    before = node.replica().core
    promised = before.term, before.vote
    for _ in range(4):
        node.run_job()
    cluster.crash(NODE)
    cluster.restart(NODE)
    cluster.cut(NODE)
    node.items_held = False
    cluster.run()

    core = node.replica().core
    assert (core.term, core.vote) == promised
    assert core.applied == core.commit == core.last_index
    assert_caught_up(cluster)


def test_checkpoints_of_others_go_on_during_an_install(cluster: Cluster) -> None:
    """The store is free between any two transactions."""
    node = hold_install(cluster)
    node.run_job()
    cluster.tick_until(node.host.replicas[CATALOG_GROUP].core.leader_is_near)
    before = node.items.replicas()[CATALOG_GROUP].applied_index
    cluster.create_table("meanwhile")
    node.host.checkpointer.hurry()
    cluster.tick()

    jobs = 0
    while node.items.replicas()[CATALOG_GROUP].applied_index == before:
        node.run_job()
        jobs += 1

    assert installing(node)
    assert jobs <= 2, "it waits for one transaction, not for the install"
    assert_caught_up(cluster)


def test_install_that_finds_the_disk_full_goes_on_when_there_is_room(cluster: Cluster) -> None:
    """D1. Once it has begun there is no way back; it waits, and serves nothing."""
    node = hold_install(cluster)
    for _ in range(4):
        node.run_job()
    node.items_full, node.items_held = True, False
    cluster.tick(30)
    assert node.replica().installing
    assert node.events.count("install_waits_for_room") == 1
    assert "install_goes_on" not in node.events

    node.items_full = False
    cluster.tick(30)

    assert not node.replica().installing
    assert node.events.count("install_goes_on") == 1
    assert_caught_up(cluster)


def test_node_that_stops_during_an_install_goes_on_at_the_next_start(cluster: Cluster) -> None:
    node = hold_install(cluster)
    for _ in range(3):
        node.run_job()
    cluster.crash(NODE)
    cluster.done(put("later", n=1))
    cluster.done(delete("later"))
    node.items_held = False
    cluster.restart(NODE)
    cluster.tick(20)

    assert_caught_up(cluster)


def test_catalog_whose_install_was_interrupted_comes_back(cluster: Cluster) -> None:
    """Group 0 has no items: its steps are few, and its replica is made by `recover` itself."""
    cluster.cut(NODE)
    for place in range(60):
        cluster.create_table(f"t{place}")
        if place % 10 == 9:
            for turn in range(10):
                cluster.done(put(f"k{turn}", text="x" * 1000))
            cluster.tick()
            cluster.checkpoint()
    node = cluster.nodes[NODE]
    node.items_held = True
    cluster.cut_links.clear()

    def begun() -> bool:
        for _ in range(len(node.jobs)):
            if any(record.group == CATALOG_GROUP for record in node.items.installs()):
                return True
            node.run_job()
        return False

    cluster.tick_until(begun)
    cluster.crash(NODE)
    cluster.restart(NODE)
    assert CATALOG_GROUP not in node.host.replicas
    node.items_held = False
    cluster.tick(20)

    assert CATALOG_GROUP in node.host.replicas
    cluster.create_table("afterwards")
    cluster.tick(2)
    assert node.host.catalog == cluster.nodes[1].host.catalog
    cluster.assert_replicas_equal()
