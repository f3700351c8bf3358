"""Linearizable reads: scenarios S83, S84 and etcd's stale reads of 2026."""

import pytest

from raft.types import Message, MessageType, NotLeader, Role
from tests.raft.cluster import Cluster
from tests.raft.stories import messages_of


def test_read_waits_for_a_commit_of_the_leaders_own_term() -> None:
    """S83: before that, the leader does not know what is committed (etcd issue 7331)."""
    cluster = Cluster()
    cluster.drop = lambda m: m.type == MessageType.APPEND
    leader = cluster.elect(1)
    read_id = leader.read_index()
    cluster.tick(8)
    before = dict(cluster.nodes[1].reads)
    cluster.drop = lambda m: False

    cluster.tick(8)

    assert before == {}
    assert cluster.nodes[1].reads == {read_id: 1}


def test_read_is_confirmed_by_a_quorum_after_the_request() -> None:
    """S84: one round for all reads of a turn."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.propose(1, b"x")
    cluster.log_of_messages.clear()

    ids = [leader.read_index(), leader.read_index()]
    cluster.settle()

    assert cluster.nodes[1].reads == dict.fromkeys(ids, 2)
    assert len(messages_of(cluster, MessageType.HEARTBEAT)) == 2


def test_single_voter_reads_at_once() -> None:
    """It is its own quorum; but not before its first commit."""
    cluster = Cluster((1,))
    leader = cluster.elect(1)

    read_id = leader.read_index()
    ready = leader.take_ready()

    assert ready.reads == [(read_id, 1)]
    assert ready.send_now == []


def test_single_voters_early_read_is_served_with_its_first_commit() -> None:
    """S83 without anybody to ask."""
    cluster = Cluster((1,))
    node = cluster.nodes[1]
    node.core.campaign()
    node.take()
    node.sync()
    read_id = node.core.read_index()
    node.take()
    early = dict(node.reads)
    node.sync()
    node.take()

    assert early == {}
    assert node.reads == {read_id: 1}


def test_late_answers_of_an_older_round_confirm_no_newer_read() -> None:
    """Etcd issue 20418: a deposed leader collected delayed answers and served a stale read."""
    cluster = Cluster()
    old = cluster.elect(1)
    cluster.propose(1, b"x")
    held: list[Message] = []

    def hold(message: Message) -> bool:
        if message.type == MessageType.HEARTBEAT_REPLY and message.to == 1:
            held.append(message)
        return message.to == 1

    cluster.drop = hold
    first = old.read_index()
    cluster.settle()
    cluster.drop = lambda m: 1 in (m.sender, m.to)
    cluster.core(2).peer_unreachable(1)
    cluster.core(3).peer_unreachable(1)
    cluster.tick(10, only=(2, 3))
    (new,) = [i for i in cluster.leaders() if i != 1]
    cluster.propose(new, b"newer")

    second = old.read_index()
    cluster.settle()
    for message in held:
        old.step(message)
    cluster.settle()

    assert len(held) == 2
    assert old.role is Role.LEADER
    assert cluster.nodes[1].reads == {first: 2}
    cluster.drop = lambda m: False
    cluster.tick(5)
    assert cluster.nodes[1].dropped_reads == [second]
    assert cluster.nodes[1].reads == {first: 2}


def test_answers_from_the_future_confirm_nothing_to_come() -> None:
    """A sequence that was never sent is worth no more than the newest one."""
    cluster = Cluster()
    leader = cluster.elect(1)
    for sender in (2, 3):
        leader.step(Message(MessageType.HEARTBEAT_REPLY, sender, 1, 1, sequence=1000))
    cluster.cut_off = [2, 3]

    leader.read_index()
    cluster.settle()

    assert cluster.nodes[1].reads == {}


def test_reads_are_dropped_when_leadership_is_lost() -> None:
    """Never silent: the host can send its clients elsewhere."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.cut_off = [2, 3]
    read_id = leader.read_index()
    cluster.settle()

    leader.step_down()
    cluster.settle()

    assert cluster.nodes[1].dropped_reads == [read_id]


def test_early_reads_are_dropped_too() -> None:
    """They have waited for a commit that will not come."""
    cluster = Cluster()
    cluster.drop = lambda m: m.type == MessageType.APPEND
    leader = cluster.elect(1)
    read_id = leader.read_index()

    cluster.cut_off = [2, 3]
    cluster.tick(30)

    assert cluster.nodes[1].dropped_reads == [read_id]


def test_follower_takes_no_reads() -> None:
    """It names who does."""
    cluster = Cluster()
    cluster.elect(1)

    with pytest.raises(NotLeader) as refused:
        cluster.core(3).read_index()

    assert refused.value.leader == 1


def test_learners_confirm_no_read() -> None:
    """S84: the quorum is one of voters."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    cluster.cut_off = [2, 3]

    leader.read_index()
    cluster.tick(6)

    assert cluster.nodes[1].reads == {}
