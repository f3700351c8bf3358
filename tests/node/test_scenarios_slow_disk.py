"""Slow and hanging disks: batches grow, nobody is elected, and a disk that hangs loses the lead."""

from __future__ import annotations

from node.host import STALL_SECONDS, TICK_SECONDS
from quorate.cluster.outcome import Outcome
from raft.types import Role
from tests.node.builders import put
from tests.node.harness import PARTITION, Cluster, Request

SLOW_TICKS = round(0.5 / TICK_SECONDS)


def tick_with_slow_disks(cluster: Cluster, number: int) -> None:
    """Let tick `number` pass; a log write in flight becomes durable every half second only."""
    for node in cluster.up():
        node.log_held = True
        if number % SLOW_TICKS == 0 and node.log_write is not None:
            node.finish_log_write()
    cluster.tick()


def test_slow_disks_make_larger_batches_and_no_elections(cluster: Cluster) -> None:
    """S57: each fsync takes 500 ms; what arrives meanwhile shares the next one."""
    term = cluster.leader().replica().core.term
    before = cluster.nodes[1].log_store.commit_count()
    requests: list[Request] = []

    for number in range(100):
        requests += cluster.write(*(put(f"k{number}.{n}") for n in range(10)), at=1)
        tick_with_slow_disks(cluster, number)
    for number in range(4 * SLOW_TICKS):
        tick_with_slow_disks(cluster, number)

    assert [request.outcome for request in requests] == [Outcome.OK] * 1000
    assert cluster.leader().id == 1
    assert cluster.leader().replica().core.term == term
    assert cluster.nodes[1].log_store.commit_count() - before <= 100 // SLOW_TICKS + 3


def test_disk_that_hangs_for_half_a_minute_costs_the_lead_once(cluster: Cluster) -> None:
    """S57: leaders move away, and while it hangs the node does not win one back."""
    cluster.nodes[1].log_held = True
    cluster.write(put("a"), at=1)
    other = cluster.wait_for_other_leader(1)
    term = other.replica().core.term

    for _ in range(10):
        cluster.tick(round(3.0 / TICK_SECONDS))
        cluster.done(put("b"), at=other.id)

    assert other.replica().core.term == term
    assert cluster.nodes[1].replica().core.role is Role.FOLLOWER
    assert cluster.nodes[1].events.count("disk_stalled") == 1


def test_followers_whose_disks_hang_cannot_be_led_by_anybody_else(cluster: Cluster) -> None:
    """S57: they answer heartbeats and store nothing; a new term would need their disks too.

    So the leader stays, its writes stay unanswered until their deadline, and all of it goes on
    when the disks do.
    """
    for follower in (2, 3):
        cluster.nodes[follower].log_held = True
    (request,) = cluster.do(put("a"), at=1)

    cluster.tick(round(3 * STALL_SECONDS / TICK_SECONDS))
    assert cluster.leader(PARTITION).id == 1
    assert request.outcome is None
    for follower in (2, 3):
        cluster.nodes[follower].log_held = False
    cluster.run()

    assert request.outcome is Outcome.OK
