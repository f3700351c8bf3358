"""Checkpoints, cuts of the log, and restarts: the log is the truth, the tree a checkpoint of it.

Source: design.md, section 6.
"""

from __future__ import annotations

import pytest

from node import checkpoints
from node.host import TICK_SECONDS
from node.storage import log
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.outcome import Outcome
from tests.node.builders import add, delete, key, number, put
from tests.node.harness import NODES, PARTITION, Cluster, outcomes


def fill(cluster: Cluster, count: int, *, text: str = "") -> None:
    for place in range(count):
        cluster.done(put(f"k{place:03}", n=place, text=text or "t"))
    cluster.tick()


def test_checkpoint_moves_images_from_memtable_to_tree(cluster: Cluster) -> None:
    fill(cluster, 10)
    assert cluster.nodes[1].items.item_count() == 0

    cluster.checkpoint()

    for node in cluster.up():
        assert node.items.item_count() == 10
        assert node.replica().machine.memtable_bytes == 0
        assert node.items.replicas()[PARTITION].applied_index == node.replica().core.applied


def test_checkpoint_deletes_from_the_tree_what_was_deleted(cluster: Cluster) -> None:
    fill(cluster, 3)
    cluster.checkpoint()
    cluster.done(delete("k001"))
    cluster.tick()

    cluster.checkpoint()

    assert sorted(cluster.items_at(2)) == sorted([key("k000"), key("k002")])
    assert cluster.nodes[2].items.item_count() == 2


def test_images_stay_readable_while_a_checkpoint_is_written(cluster: Cluster) -> None:
    """Active memtable over frozen memtable over tree."""
    node = cluster.leader()
    cluster.done(put("tree", n=1))
    cluster.checkpoint()
    cluster.done(put("frozen", n=2))
    node.items_held = True
    cluster.checkpoint()
    cluster.done(put("active", n=3))
    cluster.done(put("tree", n=4))

    assert node.jobs
    assert [number(cluster.read(key(name))) for name in ("tree", "frozen", "active")] == [4, 2, 3]
    node.items_held = False
    cluster.run()
    assert [number(cluster.read(key(name))) for name in ("tree", "frozen", "active")] == [4, 2, 3]


def test_checkpoints_come_every_interval_by_themselves(cluster: Cluster) -> None:
    fill(cluster, 3)

    cluster.tick(round((checkpoints.INTERVAL_SECONDS + 0.1) / 0.05))

    assert cluster.nodes[3].items.item_count() == 3


def test_large_memtable_starts_a_checkpoint_early(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.tick(2)
    monkeypatch.setattr(checkpoints, "MEMTABLES_BYTES_MAX", 10_000)

    fill(cluster, 10, text="x" * 2000)
    cluster.tick(round(checkpoints.LOOK_SECONDS / TICK_SECONDS))

    assert cluster.nodes[1].items.item_count() > 0


def test_restart_replays_only_above_the_checkpoint(cluster: Cluster) -> None:
    """S47."""
    fill(cluster, 5)
    cluster.checkpoint()
    applied = cluster.nodes[3].replica().core.applied
    cluster.done(put("later", n=9))
    cluster.tick()

    cluster.crash(3)
    cluster.restart(3)
    node = cluster.nodes[3]

    assert node.applied_at_start[PARTITION] == applied
    assert node.replica().core.applied == applied
    cluster.tick(10)
    assert number(cluster.items_at(3)[key("later")]) == 9
    cluster.assert_replicas_equal()


def test_restart_of_all_nodes_keeps_everything(cluster: Cluster) -> None:
    """Acknowledged is durable on a quorum, without a checkpoint too."""
    fill(cluster, 5)
    cluster.done(delete("k002"))

    cluster.crash(*NODES)
    cluster.restart(*NODES)
    cluster.tick_until(cluster.serving)
    cluster.tick(10)

    assert number(cluster.read(key("k004"))) == 4
    assert cluster.read(key("k002")) == b""
    cluster.assert_replicas_equal()


def test_crash_after_the_log_write_before_it_is_counted_loses_nothing(cluster: Cluster) -> None:
    """The write is durable and was not acknowledged: it may be there, and here it is."""
    cluster.hold((1, 2), (1, 3))
    cluster.nodes[1].log_held = True
    (request,) = cluster.do(put("a", n=1))
    cluster.nodes[1].finish_log_write(tell=False)
    cluster.crash(1)
    cluster.nodes[1].log_held = False
    cluster.restart(1)
    cluster.release()

    assert request.outcome is None
    assert cluster.nodes[1].replica().core.last_index > cluster.nodes[2].replica().core.last_index


def test_crash_after_a_checkpoint_before_it_is_noted_loses_nothing(cluster: Cluster) -> None:
    fill(cluster, 5)
    node = cluster.nodes[2]
    node.items_held = True
    cluster.checkpoint()
    node.run_job(tell=False)

    cluster.crash(2)
    node.items_held = False
    cluster.restart(2)
    cluster.tick(10)

    assert node.applied_at_start[PARTITION] == cluster.nodes[1].replica().core.applied
    cluster.assert_replicas_equal()


def test_checkpoint_refused_for_lack_of_room_is_written_later(cluster: Cluster) -> None:
    """What is frozen stays readable, nothing is lost, and one checkpoint is not two."""
    fill(cluster, 3)
    node = cluster.nodes[1]
    node.items_full = True
    cluster.checkpoint()
    node.items_full = False
    assert "checkpoint_refused_disk_full" in node.events
    assert number(node.replica().machine.image(key("k002"))) == 2

    cluster.done(put("later", n=9))
    cluster.checkpoint()
    cluster.checkpoint()

    assert node.items.item_count() == 4
    assert node.items.replicas()[PARTITION].applied_index == node.replica().core.applied


def test_log_is_cut_below_a_checkpoint_when_it_is_large(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S68: the older half goes, a tail stays for followers that were away for a while."""
    monkeypatch.setattr(checkpoints, "LOG_BYTES_MAX", 40_000)
    for _ in range(6):
        fill(cluster, 10, text="x" * 1000)
        cluster.checkpoint()

    for node in cluster.up():
        first = node.log_store.reader(PARTITION).first_index()
        assert 1 < first <= node.replica().durable_applied
    cluster.assert_replicas_equal()


def test_log_shrinks_again_after_a_burst_larger_than_a_cut(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut that freed too little must not keep the next one from being made."""
    monkeypatch.setattr(log, "DELETE_SLICE", 8)
    monkeypatch.setattr(log, "HEAD_INTERVAL_COMMITS", 8)
    monkeypatch.setattr(checkpoints, "LOG_BYTES_MAX", 40_000)
    fill(cluster, 9, text="x" * 3000)
    cluster.checkpoint()
    fill(cluster, 40, text="x" * 3000)
    cluster.checkpoint()

    for _ in range(12):
        fill(cluster, 4, text="x" * 3000)
        cluster.checkpoint()

    for node in cluster.up():
        assert node.log_store.size_bytes() < 80_000


def test_log_is_never_cut_above_a_checkpoint(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S68: only below an applied index that is certainly on disk."""
    monkeypatch.setattr(checkpoints, "LOG_BYTES_MAX", 20_000)
    fill(cluster, 5)
    cluster.checkpoint()
    node = cluster.nodes[1]
    node.items_held = True
    durable = node.replica().durable_applied

    for _ in range(4):
        fill(cluster, 10, text="x" * 1000)
        cluster.checkpoint()

    assert node.log_store.size_bytes() > 20_000
    assert node.log_store.reader(PARTITION).first_index() <= durable + 1


def test_restart_after_a_cut_finds_tree_and_log_fit(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LOG_BYTES_MAX", 40_000)
    for _ in range(6):
        fill(cluster, 10, text="x" * 1000)
        cluster.checkpoint()
    fill(cluster, 3)

    cluster.crash(*NODES)
    cluster.restart(*NODES)
    cluster.tick_until(cluster.serving)
    cluster.tick(10)

    assert len(cluster.items_at(1)) == 10
    cluster.assert_replicas_equal()


def test_catalog_survives_checkpoint_and_restart(cluster: Cluster) -> None:
    cluster.create_table("other")
    cluster.checkpoint()
    cluster.create_table("third")

    cluster.crash(*NODES)
    cluster.restart(*NODES)
    cluster.tick_until(lambda: cluster.serving(CATALOG_GROUP))
    cluster.tick(10)

    for node in cluster.up():
        assert [table.name for table in node.host.catalog.tables] == ["table-1", "other", "third"]


def test_counters_survive_checkpoints_and_restarts_in_between(cluster: Cluster) -> None:
    """S47: replaying an entry above the checkpoint gives the same image, not a second addition."""
    for turn in range(4):
        assert outcomes(cluster.do(add("n"), add("n"))) == [Outcome.OK, Outcome.OK]
        if turn % 2:
            cluster.checkpoint()
        cluster.crash(*NODES)
        cluster.restart(*NODES)
        cluster.tick_until(cluster.serving)

    assert number(cluster.read(key("n"))) == 8
    cluster.tick(10)
    cluster.assert_replicas_equal()


def test_age_counts_from_what_is_stored_and_not_from_what_was_tried(cluster: Cluster) -> None:
    """What metrics show: nothing else in a node looks at it."""
    cluster.done(put("k", n=1))
    node = cluster.nodes[1]
    checkpointer = node.host.checkpointer
    node.items_full = True
    cluster.checkpoint()
    stored_at, count = checkpointer.stored_at, checkpointer.count
    cluster.tick(seconds=20)
    assert (checkpointer.stored_at, checkpointer.count) == (stored_at, count)

    node.items_full = False
    cluster.tick(seconds=checkpoints.INTERVAL_SECONDS + 0.1)
    assert checkpointer.count == count + 1
    cluster.tick(seconds=20)  # nothing to store is as good as stored
    assert cluster.now - checkpointer.stored_at <= checkpoints.INTERVAL_SECONDS + 0.1
    assert checkpointer.count == count + 1
