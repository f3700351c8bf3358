"""Leaders come and go: what a new one may do, and what the old one says when it is over."""

from __future__ import annotations

from node.peer_batch import PeerBatch
from quorate.cluster.outcome import Outcome
from raft.types import Message, MessageType, Role
from tests.node.builders import add, key, number, put
from tests.node.harness import PARTITION, Cluster, Node, outcomes


def stall_first_entry_of_new_leader(cluster: Cluster) -> Node:
    """Make node 2 lead, with the first entry of its term not committed."""
    cluster.crash(1)
    node = cluster.nodes[2]
    node.host.replicas[PARTITION].core.campaign()
    node.host._mark(node.host.replicas[PARTITION])
    cluster.hold((3, 2))
    for _ in range(20):
        cluster.run()
        if node.replica().core.role is Role.LEADER:
            break
        cluster.deliver((3, 2), held=True)
    core = node.replica().core
    assert core.role is Role.LEADER
    assert not core.may_evaluate
    return node


def test_new_leader_evaluates_nothing_before_an_entry_of_its_term_is_applied(
    cluster: Cluster,
) -> None:
    """Section 5: only then does it surely know all that was committed before."""
    cluster.done(add("counter"))
    node = stall_first_entry_of_new_leader(cluster)
    last_index = node.replica().core.last_index

    (request,) = cluster.do(add("counter"), at=2)
    assert request.outcome is None
    assert node.replica().core.last_index == last_index
    cluster.release()

    assert request.outcome is Outcome.OK
    assert number(cluster.read(key("counter"), at=2)) == 2


def test_new_leader_serves_no_strong_read_before_an_entry_of_its_term_is_committed(
    cluster: Cluster,
) -> None:
    """Raft thesis, section 6.4: before that it does not know the newest commit index."""
    cluster.done(put("a", n=1))
    stall_first_entry_of_new_leader(cluster)

    (request,) = cluster.get(key("a"), at=2)
    cluster.run()
    assert request.outcome is None
    cluster.release()

    assert number(request.payload) == 1


def test_write_waiting_at_a_new_leader_expires(cluster: Cluster) -> None:
    """A deadline passes also while nothing may be evaluated."""
    node = stall_first_entry_of_new_leader(cluster)
    write = put("a")
    write.deadline_ms = 100

    (request,) = cluster.do(write, at=2)
    cluster.tick(8)
    assert node.replica().core.role is Role.LEADER

    assert request.outcome is Outcome.EXPIRED


def test_lost_leadership_answers_proposed_unknown_and_waiting_not_leader(
    cluster: Cluster,
) -> None:
    """Section 5: proposed may yet commit; what was never proposed surely did not."""
    cluster.nodes[1].log_held = True
    cluster.cut(1, broken=False)
    proposed = cluster.do(put("a"), put("b"), at=1)
    waiting = cluster.do(put("c"), at=1)

    cluster.wait_for_other_leader(1)
    cluster.tick(40)

    assert outcomes(proposed) == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert outcomes(waiting) == [Outcome.NOT_LEADER]


def test_repeated_request_in_flight_is_unknown_too_when_leadership_is_lost(
    cluster: Cluster,
) -> None:
    cluster.cut(1, broken=False)
    write = add("counter")
    requests = [*cluster.do(write, at=1), *cluster.do(write, at=1)]

    cluster.wait_for_other_leader(1)
    cluster.tick(40)

    assert outcomes(requests) == [Outcome.UNKNOWN, Outcome.UNKNOWN]


def test_follower_refuses_writes_and_strong_reads(cluster: Cluster) -> None:
    (write,) = cluster.do(put("a"), at=2)
    (read,) = cluster.get(key("a"), at=2)
    cluster.run()

    assert (write.outcome, read.outcome) == (Outcome.NOT_LEADER, Outcome.NOT_LEADER)


def test_old_leader_drops_its_speculative_images(cluster: Cluster) -> None:
    """Section 5: on losing leadership it drops them; the next term begins from what is applied."""
    cluster.cut(1, broken=False)
    cluster.do(put("a", n=99), at=1)
    other = cluster.wait_for_other_leader(1)
    cluster.done(put("a", n=1), at=other.id)
    cluster.heal()
    cluster.tick(10)
    assert cluster.leader().host.transfer_leadership(PARTITION, 1)
    cluster.tick_until(lambda: cluster.nodes[1].replica().core.may_evaluate)

    cluster.done(add("a"), at=1)

    assert number(cluster.read(key("a"), at=1)) == 2


def test_entry_of_the_old_leader_that_survives_is_applied_by_the_new_one(
    cluster: Cluster,
) -> None:
    """UNKNOWN is an answer: this time it did commit."""
    cluster.hold((2, 1), (3, 1))
    (request,) = cluster.do(put("a", n=1), at=1)
    cluster.crash(1)
    cluster.release()

    other = cluster.wait_for_other_leader(1)

    assert request.outcome is None
    assert number(cluster.read(key("a"), at=other.id)) == 1


def test_entry_of_the_old_leader_that_nobody_got_is_overwritten(cluster: Cluster) -> None:
    cluster.cut(1, broken=False)
    cluster.do(put("a", n=1), at=1)
    other = cluster.wait_for_other_leader(1)
    cluster.done(put("b", n=2), at=other.id)

    cluster.heal()
    cluster.tick(10)

    assert cluster.read(key("a")) == b""
    cluster.assert_replicas_equal()


def test_broken_stream_to_the_leader_makes_a_quick_election(cluster: Cluster) -> None:
    """Section 10: the peers of a dead leader need not wait out the election timeout."""
    cluster.crash(1)
    before = cluster.now

    cluster.wait_for_other_leader(1)

    assert cluster.now - before < 0.5


def test_node_that_comes_back_makes_a_quick_election(cluster: Cluster) -> None:
    """With two of three gone nothing could be elected, however long; with one back it can."""
    cluster.crash(1, 2)
    cluster.tick(100)
    cluster.restart(2)
    for node_id, peer in ((2, 3), (3, 2)):
        cluster.nodes[node_id].host.peer_connected(peer)
    before = cluster.now

    cluster.wait_for_other_leader(1)

    assert cluster.now - before < 0.5


def test_routers_hear_of_the_new_leader(cluster: Cluster) -> None:
    cluster.crash(1)
    other = cluster.wait_for_other_leader(1)
    cluster.tick()

    for node in cluster.up():
        assert node.router.leaders[PARTITION][1] == other.id


def test_router_that_left_is_answered_to_nobody(cluster: Cluster) -> None:
    """Its write goes on all the same."""
    cluster.hold((2, 1), (3, 1))
    (request,) = cluster.do(put("a", n=1), at=1)

    cluster.nodes[1].router.leave()
    cluster.release()

    assert request.outcome is None
    cluster.tick()
    assert number(cluster.items_at(2)[key("a")]) == 1


def test_second_leader_of_a_term_is_told_of_once_and_counted(cluster: Cluster) -> None:
    """Also after the first one's stream broke; the group goes on serving."""
    cluster.done(put("a", n=1))
    follower = cluster.nodes[2]
    follower.host.peer_broken(1)
    term = follower.replica().core.term
    forged = [
        Message(MessageType.HEARTBEAT, 3, 2, term, sequence=1),
        Message(MessageType.APPEND, 3, 2, term, commit=1),
    ]

    follower.host.receive(PeerBatch(3, 2, [(PARTITION, message) for message in forged]))
    cluster.tick(100)

    assert follower.events.count("second_leader_refused") == 1
    assert follower.host.leaderships.second_leaders_refused == len(forged)
    cluster.done(put("a", n=2))
    assert b"2" in cluster.read(key("a"))
