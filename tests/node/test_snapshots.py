"""Snapshots: a follower whose log was cut off gets items, then entries; crashes in between."""

from __future__ import annotations

from functools import partial

import pytest

from node import checkpoints, host
from node.peer_batch import PeerBatch
from node.storage import log
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.outcome import Outcome
from raft.types import Message, MessageType, RaftConfig
from tests.node.builders import add, delete, image, key, number, put
from tests.node.harness import NODES, PARTITION, Cluster, Node


def leave_behind(cluster: Cluster, node_id: int, *, turns: int = 6) -> None:
    """Cut a follower off until the others' logs do not reach back to it."""
    before = cluster.nodes[node_id].replica().core.last_index
    cluster.cut(node_id)
    write_until_cut(cluster, turns=turns)
    leader = cluster.leader()
    assert leader.log_store.reader(PARTITION).first_index() > before + 1


def write_until_cut(cluster: Cluster, *, turns: int = 6) -> None:
    for turn in range(turns):
        for place in range(10):
            cluster.done(put(f"k{place:03}", n=turn * 10 + place, text="x" * 1000))
        cluster.tick()
        cluster.checkpoint()


@pytest.fixture(autouse=True)
def _small_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut early, and keep little of the log in memory, from where it could be sent as well."""
    monkeypatch.setattr(checkpoints, "LOG_BYTES_MAX", 40_000)
    monkeypatch.setattr(log, "DELETE_SLICE", 8)
    monkeypatch.setattr(log, "HEAD_INTERVAL_COMMITS", 8)
    monkeypatch.setattr(host, "RaftConfig", partial(RaftConfig, cache_bytes_max=1_000))


def hold_install(cluster: Cluster) -> Node:
    """Bring node 3 to where its snapshot has arrived and its installation is the next job."""
    cluster.done(put("gone", n=1))
    cluster.tick()
    cluster.checkpoint()
    leave_behind(cluster, 3)
    cluster.done(delete("gone"))
    cluster.checkpoint()
    node = cluster.nodes[3]
    node.items_held = True
    cluster.cut_links.clear()
    cluster.tick_until(lambda: bool(node.jobs) and node.replica().installing)
    while len(node.jobs) > 1:
        node.run_job()
    return node


def run_install(node: Node, *, tell: bool = True) -> None:
    """Run the held install to its end; `tell` False: the node crashes before it hears of that."""
    node.run_job()
    assert PARTITION not in node.items.replicas()
    while PARTITION not in node.items.replicas():
        job, done = node.jobs.popleft()
        job()
        if tell or PARTITION not in node.items.replicas():
            done(True)  # noqa: FBT003 - as a writer thread does


def assert_caught_up(cluster: Cluster) -> None:
    cluster.heal()
    cluster.tick(30)
    cluster.done(put("afterwards", n=1))
    cluster.tick(2)
    cluster.assert_replicas_equal()
    assert key("gone") not in cluster.items_at(3)


def test_follower_behind_the_log_gets_a_snapshot_and_then_entries(cluster: Cluster) -> None:
    """S58."""
    leave_behind(cluster, 3)
    cluster.done(put("above", n=1))

    cluster.heal()
    cluster.tick(10)

    assert cluster.snapshot_count >= 1
    assert cluster.items_at(3)[key("above")]
    cluster.assert_replicas_equal()


def test_follower_slightly_behind_gets_entries_only(cluster: Cluster) -> None:
    """The tail of the log is kept for followers that were away for a while."""
    cluster.cut(3)
    for place in range(10):
        cluster.done(put(f"k{place:03}"))
    cluster.checkpoint()

    cluster.heal()
    cluster.tick(10)

    assert cluster.snapshot_count == 0
    cluster.assert_replicas_equal()


def test_snapshot_removes_what_was_deleted_meanwhile(cluster: Cluster) -> None:
    """The arc is replaced, not merged."""
    node = hold_install(cluster)
    assert key("gone") in cluster.items_at(3)

    node.items_held = False
    cluster.run()

    assert key("gone") not in cluster.items_at(3)
    assert_caught_up(cluster)


def test_snapshot_carries_the_request_ids(cluster: Cluster) -> None:
    """Exactly once survives a snapshot: the new replica's leader knows the first answer."""
    write = add("counter")
    cluster.cut(3)
    first = cluster.done(write)
    write_until_cut(cluster)
    cluster.heal()
    cluster.tick(10)
    assert cluster.snapshot_count >= 1
    assert cluster.leader().host.transfer_leadership(PARTITION, 3)
    cluster.tick_until(lambda: cluster.nodes[3].replica().core.may_evaluate)

    again = cluster.done(write, at=3)

    assert (again.payload, again.units) == (first.payload, first.units)
    assert number(cluster.read(key("counter"), at=3)) == 1


def test_catalog_comes_by_snapshot_too(cluster: Cluster) -> None:
    cluster.cut(3)
    for place in range(60):
        cluster.create_table(f"t{place}")
        if place % 10 == 0:
            write_until_cut(cluster, turns=1)
    assert cluster.leader(CATALOG_GROUP).log_store.reader(CATALOG_GROUP).first_index() > 4

    cluster.heal()
    cluster.tick(10)

    assert cluster.snapshot_count >= 1
    assert cluster.nodes[3].host.catalog == cluster.nodes[1].host.catalog
    cluster.create_table("afterwards")
    assert cluster.nodes[3].host.catalog == cluster.nodes[1].host.catalog


def test_replica_that_installs_refuses_reads_and_writes(cluster: Cluster) -> None:
    """Half of the old and half of the new state is no state."""
    hold_install(cluster)

    (eventual,) = cluster.get(key("k001"), at=3, consistent=False)
    (strong,) = cluster.get(key("k001"), at=3)
    (write,) = cluster.do(put("k001"), at=3)

    assert eventual.outcome is Outcome.NOT_REPLICA
    assert strong.outcome is Outcome.NOT_REPLICA
    assert write.outcome is Outcome.NOT_LEADER
    assert cluster.scan(at=3, consistent=False).outcome is Outcome.NOT_REPLICA


def test_crash_before_the_installation_leaves_the_old_state(cluster: Cluster) -> None:
    """S61."""
    node = hold_install(cluster)
    old = node.items.replicas()[PARTITION].applied_index

    cluster.crash(3)
    cluster.restart(3)

    assert node.applied_at_start[PARTITION] == old
    assert_caught_up(cluster)


def test_crash_between_installation_and_log_reset_recovers(cluster: Cluster) -> None:
    """S61: the items are newer than the log: at start the log is reset to begin after them."""
    node = hold_install(cluster)
    run_install(node, tell=False)
    installed = node.items.replicas()[PARTITION].applied_index
    assert node.log_store.reader(PARTITION).last_index() < installed

    cluster.crash(3)
    cluster.restart(3)

    assert node.applied_at_start[PARTITION] == installed
    assert node.log_store.reader(PARTITION).first_index() == installed + 1
    assert_caught_up(cluster)


def test_crash_with_the_log_reset_in_flight_recovers(cluster: Cluster) -> None:
    """S61."""
    node = hold_install(cluster)
    node.log_held = True
    run_install(node)
    cluster.run()
    assert node.log_write is not None

    cluster.crash(3)
    cluster.restart(3)

    assert_caught_up(cluster)


def test_crash_after_the_log_reset_recovers(cluster: Cluster) -> None:
    """S61."""
    node = hold_install(cluster)
    node.log_held = True
    run_install(node)
    cluster.run()
    node.finish_log_write(tell=False)

    cluster.crash(3)
    cluster.restart(3)

    assert_caught_up(cluster)


def test_snapshot_refused_for_lack_of_room_is_taken_again(cluster: Cluster) -> None:
    node = hold_install(cluster)
    node.items_full = True
    node.run_job()
    assert not node.replica().installing

    assert_caught_up(cluster)


def test_log_reset_that_finds_the_disk_full_is_written_later(cluster: Cluster) -> None:
    """The items are installed already: the replica waits until its log may follow."""
    node = hold_install(cluster)
    node.log_held = True
    run_install(node)
    cluster.run()
    node.disk_full = True
    node.finish_log_write()
    cluster.tick(10)
    assert node.replica().installing

    node.disk_full = node.log_held = False
    cluster.run()

    assert not node.replica().installing
    assert_caught_up(cluster)


def test_new_term_while_a_snapshot_is_installed_is_written_with_the_log_reset(
    cluster: Cluster,
) -> None:
    """A vote may be asked for between the installation and the turn that resets the log."""
    node = hold_install(cluster)
    core = node.replica().core
    vote = Message(MessageType.VOTE, 2, 3, core.term + 5, index=1 << 30, log_term=1 << 30, hint=1)

    run_install(node)
    node.host.receive(PeerBatch(2, node.id, [(PARTITION, vote)]))
    cluster.run()

    assert core.term >= vote.term
    assert not node.replica().installing
    assert_caught_up(cluster)


def test_snapshot_that_is_not_wanted_any_more_is_refused(cluster: Cluster) -> None:
    """S59. It came late: the replica has all of it already, and the leader hears so."""
    leave_behind(cluster, 3)
    cluster.snapshots_held = True
    cluster.cut_links.clear()
    cluster.tick_until(lambda: bool(cluster.leader().snapshots))
    leader = cluster.leader()
    group, message = leader.snapshots[0]
    cluster.snapshots_held = False
    cluster.run()
    cluster.tick(10)
    applied = cluster.nodes[3].replica().core.applied

    behind = cluster.snapshot_count
    leader.snapshots.append((group, message))
    cluster.run()

    assert cluster.snapshot_count == behind, "it was not even sent"
    assert cluster.nodes[3].replica().core.applied == applied
    assert not cluster.nodes[3].host._offers
    assert list((cluster.nodes[3]._directory / "snapshots").iterdir()) == []


def test_lost_snapshot_is_sent_again(cluster: Cluster) -> None:
    """S65."""
    leave_behind(cluster, 3)
    cluster.snapshots_held = True
    cluster.cut_links.clear()
    cluster.tick_until(lambda: bool(cluster.leader().snapshots))
    cluster.cut(3)
    cluster.snapshots_held = False
    cluster.run()

    cluster.heal()
    cluster.tick(20)

    assert cluster.snapshot_count >= 1
    cluster.assert_replicas_equal()


def test_writes_go_on_while_a_snapshot_is_on_its_way(cluster: Cluster) -> None:
    """S66."""
    leave_behind(cluster, 3)
    cluster.snapshots_held = True
    cluster.cut_links.clear()
    cluster.tick_until(lambda: bool(cluster.leader().snapshots))

    cluster.done(put("meanwhile", n=1))
    cluster.snapshots_held = False
    cluster.run()
    cluster.tick(10)

    assert cluster.items_at(3)[key("meanwhile")] == image("meanwhile", n=1)
    cluster.assert_replicas_equal()


def test_log_is_not_cut_below_where_a_snapshot_has_begun_it(cluster: Cluster) -> None:
    """The mark for the next cut was taken before the snapshot came."""
    node = cluster.nodes[3]
    write_until_cut(cluster, turns=2)
    assert node.host.checkpointer._cut_mark is not None
    leave_behind(cluster, 3, turns=8)
    cluster.heal()
    cluster.tick(10)
    first = node.log_store.reader(PARTITION).first_index()
    assert node.host.checkpointer._cut_mark is not None
    assert node.host.checkpointer._cut_mark[PARTITION] < first - 1

    write_until_cut(cluster, turns=4)

    assert node.log_store.reader(PARTITION).first_index() >= first
    cluster.assert_replicas_equal()


def test_log_that_is_about_to_be_reset_to_a_snapshot_is_not_cut(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items are there, the reset is still being written. Found by seed 15783."""
    node = hold_install(cluster)
    node.log_held = True
    run_install(node)
    cluster.run()
    reader, replica = node.log_store.reader(PARTITION), node.replica()
    assert reader.last_index() < replica.durable_applied

    checkpointer = node.host.checkpointer
    checkpointer._cut_mark = {PARTITION: replica.durable_applied}
    with monkeypatch.context() as small:
        small.setattr(checkpoints, "LOG_BYTES_MAX", 0)
        checkpointer._cut_log()

    assert checkpointer._cut_mark is None, "it was the time to cut"
    node.log_held = False
    assert_caught_up(cluster)


def test_checkpoint_that_was_refused_is_not_written_over_a_snapshot(cluster: Cluster) -> None:
    """The frozen images are older than what the snapshot has brought."""
    node = cluster.nodes[3]
    cluster.done(put("k001", n=-1))
    cluster.tick()
    node.items_full = True
    leave_behind(cluster, 3)
    assert node.host.checkpointer._parts
    node.items_full = False
    cluster.heal()
    cluster.tick(10)
    assert cluster.snapshot_count >= 1

    cluster.checkpoint()
    cluster.checkpoint()

    state = node.items.replicas()[PARTITION]
    assert state.applied_index == node.replica().core.applied
    assert number(cluster.items_at(3)[key("k001")]) > 0
    cluster.crash(3)
    cluster.restart(3)
    cluster.tick(10)
    cluster.assert_replicas_equal()


def test_all_nodes_restart_after_a_snapshot(cluster: Cluster) -> None:
    """S43."""
    leave_behind(cluster, 3)
    cluster.heal()
    cluster.tick(10)
    cluster.done(put("above", n=1))

    cluster.crash(*NODES)
    cluster.restart(*NODES)
    cluster.tick_until(cluster.serving)
    cluster.tick(10)

    assert number(cluster.read(key("above"))) == 1
    cluster.assert_replicas_equal()
