"""Reads: strong ones are linearizable, eventual ones come from any replica.

Source: design.md, section 9.
"""

from __future__ import annotations

from quorate.cluster.outcome import Outcome
from raft.types import Role
from tests.node.builders import key, number, put
from tests.node.harness import PARTITION, Cluster, outcomes


def test_strong_read_sees_the_last_acknowledged_write(cluster: Cluster) -> None:
    for value in range(5):
        cluster.done(put("a", n=value))
        assert number(cluster.read(key("a"))) == value


def test_strong_read_of_nothing_is_ok_and_empty(cluster: Cluster) -> None:
    assert cluster.read(key("nobody")) == b""


def test_strong_read_never_shows_a_speculative_image(cluster: Cluster) -> None:
    """Proposed is not committed: it may yet be lost."""
    cluster.done(put("a", n=1))
    for node in cluster.nodes.values():
        node.log_held = True
    (write,) = cluster.do(put("a", n=2))

    (read,) = cluster.get(key("a"))
    cluster.run()

    assert write.outcome is None
    assert read.outcome is Outcome.OK
    assert number(read.payload) == 1


def test_strong_read_waits_for_a_round_of_the_quorum(cluster: Cluster) -> None:
    """ReadIndex: without proof of leadership there is no answer."""
    cluster.done(put("a", n=1))
    cluster.hold((2, 1), (3, 1))

    (request,) = cluster.get(key("a"))
    cluster.run()
    assert request.outcome is None
    cluster.release((2, 1))

    assert number(request.payload) == 1


def test_strong_reads_of_a_turn_share_one_round(cluster: Cluster) -> None:
    """Section 9: one round per turn for all waiting reads."""
    cluster.done(put("a", n=1))
    cluster.tick()
    before = cluster.leader().replica().core.read_sequence

    requests = [*cluster.get(key("a")), *cluster.get(key("a"), key("b")), *cluster.get(key("c"))]
    cluster.run()

    assert outcomes(requests) == [Outcome.OK] * 4
    assert cluster.leader().replica().core.read_sequence == before + 1


def test_strong_read_waits_until_its_index_is_applied(cluster: Cluster) -> None:
    """Committed by two followers, but not yet in the leader's own log: not applied there."""
    cluster.nodes[1].log_held = True
    (write,) = cluster.do(put("a", n=1))
    assert cluster.leader().replica().core.commit > cluster.leader().replica().core.applied

    (read,) = cluster.get(key("a"))
    cluster.run()
    assert (write.outcome, read.outcome) == (None, None)
    cluster.nodes[1].log_held = False
    cluster.run()

    assert number(read.payload) == 1


def test_deposed_leader_serves_no_strong_read(cluster: Cluster) -> None:
    """Cut off, it still believes to lead, while another leader takes writes."""
    cluster.done(put("a", n=1))
    cluster.cut(1)
    other = cluster.wait_for_other_leader(1)
    assert cluster.nodes[1].replica().core.role is Role.LEADER
    cluster.done(put("a", n=2), at=other.id)

    (stale,) = cluster.get(key("a"), at=1)
    cluster.run()
    assert stale.outcome is None
    cluster.heal()
    cluster.tick(40)

    assert stale.outcome is Outcome.NOT_LEADER


def test_strong_read_waiting_at_a_leader_without_quorum_is_refused(cluster: Cluster) -> None:
    """It steps down by itself, so no read waits for ever."""
    cluster.cut(1, broken=False)
    (request,) = cluster.get(key("a"), at=1)
    page = cluster.scan(at=1)

    cluster.tick(60)

    assert outcomes([request, page]) == [Outcome.NOT_LEADER] * 2


def test_eventual_read_is_served_by_a_follower_after_it_has_applied(cluster: Cluster) -> None:
    cluster.done(put("a", n=1))
    cluster.tick()

    assert number(cluster.read(key("a"), at=2, consistent=False)) == 1
    assert number(cluster.read(key("a"), at=3, consistent=False)) == 1


def test_eventual_read_of_a_follower_that_is_cut_off_is_old(cluster: Cluster) -> None:
    """It promises nothing more than what was true once."""
    cluster.done(put("a", n=1))
    cluster.tick()
    cluster.cut(3)
    cluster.done(put("a", n=2))
    cluster.tick()

    assert number(cluster.read(key("a"), at=3, consistent=False)) == 1


def test_eventual_read_at_the_leader_shows_no_speculative_image(cluster: Cluster) -> None:
    cluster.done(put("a", n=1))
    cluster.hold((2, 1), (3, 1))
    cluster.do(put("a", n=2))

    assert number(cluster.read(key("a"), consistent=False)) == 1


def test_followers_hear_of_a_commit_at_once_when_nothing_else_is_due(cluster: Cluster) -> None:
    """An eventual read right after an acknowledged write finds it, on an idle cluster."""
    cluster.done(put("a", n=1))

    cluster.run()

    assert cluster.nodes[2].replica().core.applied == cluster.nodes[1].replica().core.applied
    assert cluster.nodes[2].host.replicas[PARTITION].core.role is Role.FOLLOWER
