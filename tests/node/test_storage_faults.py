"""A full disk and a hung one: nothing is acknowledged, leadership goes elsewhere, nothing is lost.

Source: design.md, sections 6 and 10.
"""

from __future__ import annotations

import pytest

from node import checkpoints
from node.host import STALL_SECONDS, TICK_SECONDS
from quorate.cluster.outcome import Outcome
from raft.types import Role
from tests.node.builders import add, key, number, put
from tests.node.harness import PARTITION, Cluster, outcomes


def fill_disk(cluster: Cluster, node_id: int) -> None:
    """Refuse the log write that is in flight, and all that come."""
    node = cluster.nodes[node_id]
    node.disk_full = True
    node.finish_log_write()
    cluster.run()


def test_write_whose_log_write_finds_the_disk_full_is_unknown(cluster: Cluster) -> None:
    """It is on its way to the followers and may commit without this node."""
    cluster.nodes[1].log_held = True
    (request,) = cluster.do(put("a"))

    fill_disk(cluster, 1)

    assert request.outcome is Outcome.UNKNOWN


def test_writes_that_wait_and_come_are_sent_on_while_the_disk_is_full(cluster: Cluster) -> None:
    """Surely not proposed, and another node leads soon: routers go there."""
    cluster.nodes[1].log_held = True
    cluster.do(put("a"))
    waiting = cluster.do(put("b"), put("c"))

    fill_disk(cluster, 1)
    coming = cluster.do(put("d"), at=1)

    assert outcomes(waiting + coming) == [Outcome.NOT_LEADER] * 3


def test_writes_are_told_of_the_full_disk_when_nobody_else_leads(cluster: Cluster) -> None:
    """MapFull and ENOSPC before the sync: refused, with the reason."""
    cluster.nodes[1].log_held = True
    cluster.do(put("a"))
    cluster.crash(2, 3)

    fill_disk(cluster, 1)
    (coming,) = cluster.do(put("b"), at=1)

    assert coming.outcome is Outcome.STORAGE_FULL


def test_leader_with_a_full_disk_gives_leadership_up(cluster: Cluster) -> None:
    cluster.nodes[1].log_held = True
    cluster.do(put("a"))

    fill_disk(cluster, 1)
    other = cluster.wait_for_other_leader(1)
    (request,) = cluster.do(put("b"), at=other.id)

    assert request.outcome is Outcome.OK
    assert cluster.nodes[1].replica().core.role is not Role.LEADER


def test_node_with_a_full_disk_acknowledges_nothing(cluster: Cluster) -> None:
    """One follower is full, the other away: there is no quorum of fsynced logs."""
    cluster.nodes[2].log_held = True
    cluster.do(put("a"))
    fill_disk(cluster, 2)
    cluster.crash(3)

    (request,) = cluster.do(put("b"), at=1)
    cluster.tick(10)

    assert request.outcome is None


def test_node_takes_part_again_when_there_is_room(cluster: Cluster) -> None:
    """The same record is written; then it is a follower like any other, and may lead again."""
    node = cluster.nodes[1]
    node.log_held = True
    cluster.do(put("a", n=1))
    fill_disk(cluster, 1)
    other = cluster.wait_for_other_leader(1)
    cluster.done(put("b", n=2), at=other.id)

    node.disk_full = node.log_held = False
    cluster.run()
    cluster.tick_until(lambda: node.replica().core.may_evaluate)

    assert not node.host.storage_full
    assert {"storage_full", "storage_has_room_again"} <= set(node.events)
    cluster.done(put("c", n=3), at=1)
    cluster.tick()
    cluster.assert_replicas_equal()


def test_write_that_found_the_disk_full_counts_once_when_retried(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    node.log_held = True
    write = add("counter")
    cluster.do(write)
    fill_disk(cluster, 1)
    other = cluster.wait_for_other_leader(1)

    cluster.done(write, at=other.id)
    node.disk_full = node.log_held = False
    cluster.run()
    cluster.tick(10)

    assert number(cluster.read(key("counter"))) == 1
    cluster.assert_replicas_equal()


def test_crash_with_a_refused_record_loses_nothing_acknowledged(cluster: Cluster) -> None:
    cluster.done(put("a", n=1))
    cluster.nodes[1].log_held = True
    cluster.do(put("b", n=2))
    fill_disk(cluster, 1)
    cluster.crash(1)
    cluster.heal()

    cluster.tick_until(cluster.serving)

    assert number(cluster.read(key("a"))) == 1


def test_leader_whose_log_write_hangs_steps_down(cluster: Cluster) -> None:
    """Section 10: a leader whose oldest commit in flight is older than a bound steps down."""
    cluster.nodes[1].log_held = True
    (request,) = cluster.do(put("a"))
    cluster.tick(round(STALL_SECONDS / TICK_SECONDS) - 10)
    assert cluster.nodes[1].replica().core.role is Role.LEADER
    assert request.outcome is None

    cluster.tick(12)

    assert "disk_stalled" in cluster.nodes[1].events
    assert cluster.nodes[1].replica().core.role is not Role.LEADER
    assert request.outcome is Outcome.UNKNOWN


def test_pause_of_a_process_is_not_taken_for_a_hung_disk(cluster: Cluster) -> None:
    """Its log write was done long ago, it only has not been told yet."""
    node = cluster.nodes[1]
    node.log_held = True
    (request,) = cluster.do(put("a"))

    cluster.now += 2 * STALL_SECONDS
    node.host.tick(round(2 * STALL_SECONDS / TICK_SECONDS))
    node.log_held = False
    cluster.run()

    assert "disk_stalled" not in node.events
    assert request.outcome is Outcome.OK
    assert node.replica().core.role is Role.LEADER


def test_another_node_leads_while_a_disk_hangs(cluster: Cluster) -> None:
    """S57."""
    cluster.nodes[1].log_held = True
    write = add("counter")
    (stalled,) = cluster.do(write)

    other = cluster.wait_for_other_leader(1)
    cluster.done(write, at=other.id)

    assert stalled.outcome is Outcome.UNKNOWN
    assert number(cluster.read(key("counter"), at=other.id)) == 1


def test_node_whose_disk_hung_follows_when_it_answers_again(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    node.log_held = True
    cluster.do(put("a", n=1))
    other = cluster.wait_for_other_leader(1)
    cluster.done(put("b", n=2), at=other.id)

    node.log_held = False
    cluster.run()
    cluster.tick(10)

    cluster.assert_replicas_equal()


def test_follower_whose_disk_hangs_does_not_stop_the_others(cluster: Cluster) -> None:
    """S35."""
    cluster.nodes[3].log_held = True

    for place in range(5):
        cluster.done(put(f"k{place}"))
        cluster.tick(20)

    assert cluster.leader(PARTITION).id == 1


def test_follower_whose_items_cannot_be_stored_takes_no_more_than_memory_may_hold(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log could go on for long; what is applied has nowhere to go. The other two suffice."""
    bound_bytes = 20_000
    monkeypatch.setattr(checkpoints, "MEMTABLES_BYTES_MAX", bound_bytes // 4)
    monkeypatch.setattr(checkpoints, "MEMTABLES_BYTES_REFUSED", bound_bytes)
    node = cluster.nodes[3]
    node.items_held = True

    for place in range(60):
        cluster.done(put(f"k{place}", text="x" * 1000))
        cluster.tick(round(checkpoints.LOOK_SECONDS / TICK_SECONDS) + 1)

    assert node.replica().machine.memtable_bytes < 2 * bound_bytes
    node.items_held = False
    cluster.run()
    cluster.tick_until(
        lambda: node.replica().core.applied == cluster.leader().replica().core.applied
    )
    cluster.assert_replicas_equal()
