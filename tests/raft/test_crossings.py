"""Two things at once: a change, a hand-over or a snapshot meets another leader, or old messages."""

import pytest

from raft.configuration import ConfigurationChange
from raft.types import Message, MessageType, ProposalRefused, Refusal, Role
from tests.raft.cluster import Cluster
from tests.raft.stories import append, entries_of, lone_node, messages_of, settle


def follower_behind_the_log() -> Cluster:
    """Node 1 leads and has cut its log above what node 3 has."""
    cluster = Cluster(cache_bytes_max=0)
    cluster.elect(1)
    cluster.cut_off = [3]
    cluster.propose(1, b"a", b"b", b"c")
    cluster.nodes[1].cut()
    cluster.cut_off = []
    return cluster


def snapshot_under_way() -> Cluster:
    """Node 1 leads and has cut its log; a snapshot for node 3 is on its way."""
    cluster = follower_behind_the_log()
    leader = cluster.nodes[1].core
    cluster.drop = lambda m: m.type == MessageType.SNAPSHOT
    leader.peer_unreachable(3)
    cluster.tick(8)
    assert leader.status().progress[1].flow == "snapshot"
    return cluster


def test_bytes_inherited_from_an_older_term_are_not_given_back_twice() -> None:
    """S33: the new leader proposed none of them, so their commitment makes no room."""
    cluster = Cluster(uncommitted_bytes_max=100)
    cluster.elect(1)
    cluster.drop = lambda m: m.type == MessageType.APPEND_REPLY
    cluster.propose(1, b"x" * 90)
    cluster.cut_off = [1]
    cluster.core(2).peer_unreachable(1)
    cluster.core(3).peer_unreachable(1)
    cluster.tick(10, only=(2, 3))
    (new,) = [i for i in cluster.leaders() if i != 1]

    cluster.propose(new, b"y" * 60)
    with pytest.raises(ProposalRefused) as refused:
        cluster.core(new).propose([b"z" * 60])
    held = cluster.core(new).status().uncommitted_bytes
    cluster.drop = lambda m: False
    cluster.tick(10, only=(2, 3))

    assert refused.value.reason is Refusal.TOO_MANY_BYTES
    assert held == 60
    assert cluster.core(new).status().uncommitted_bytes == 0
    assert cluster.commands(new) == [b"x" * 90, b"y" * 60]


def test_new_leader_takes_no_change_before_the_one_it_inherits_is_committed() -> None:
    """S73: the change in its log counts, though it did not propose it itself."""
    cluster = Cluster(learners=(4,))
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.type == MessageType.APPEND_REPLY
    leader.propose_configuration(ConfigurationChange((1, 2, 3, 4)))
    cluster.settle()
    cluster.core(2).campaign()
    leader.step_down()
    cluster.tick(60, only=(2, 3, 4))
    (new,) = cluster.leaders()
    assert cluster.core(new).configuration.voters == (1, 2, 3, 4)

    with pytest.raises(ProposalRefused) as refused:
        cluster.core(new).propose_configuration(ConfigurationChange((1, 2, 3)))
    cluster.drop = lambda m: False
    cluster.tick(10)
    index = cluster.core(new).propose_configuration(ConfigurationChange((1, 2, 3)))
    cluster.tick(4)

    assert refused.value.reason is Refusal.NO_OWN_COMMIT
    assert cluster.core(new).commit >= index
    assert cluster.core(new).configuration.voters == (1, 2, 3)


@pytest.mark.parametrize("role", [Role.PRE_CANDIDATE, Role.CANDIDATE])
def test_campaigner_that_gets_an_append_of_its_own_term_follows_and_takes_it(role: Role) -> None:
    """S04: whoever leads that term has won it; late votes for the campaign elect nobody."""
    node = lone_node(1)
    node.core.campaign()
    settle(node)
    if role is Role.CANDIDATE:
        node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 1))
        settle(node)
    assert node.core.role is role
    term = max(node.core.term, 1)

    node.core.step(append(entries_of(1), index=0, log_term=0, term=term, sender=3))
    replies = settle(node)
    node.core.step(Message(MessageType.VOTE_REPLY, 2, 1, term))
    settle(node)

    assert [(m.type, m.to, m.index) for m in replies] == [(MessageType.APPEND_REPLY, 3, 1)]
    assert node.core.role is Role.FOLLOWER
    assert node.core.leader == 3
    assert node.core.term == term


@pytest.mark.parametrize("refused", [False, True])
def test_voters_answer_counts_once_however_often_it_comes(refused: bool) -> None:  # noqa: FBT001
    """S07: of five voters, one that is heard four times is one; and its first word counts."""
    node = lone_node(1, voters=(1, 2, 3, 4, 5))
    node.core.campaign()
    settle(node)
    for sender in (2, 3):
        node.core.step(Message(MessageType.PRE_VOTE_REPLY, sender, 1, 1))
    settle(node)
    assert node.core.role is Role.CANDIDATE

    for reject in (refused, refused, not refused, refused):
        node.core.step(Message(MessageType.VOTE_REPLY, 2, 1, 1, reject=reject))
        settle(node)
    undecided = node.core.role
    node.core.step(Message(MessageType.VOTE_REPLY, 3, 1, 1))
    settle(node)

    assert undecided is Role.CANDIDATE
    assert node.core.role is (Role.CANDIDATE if refused else Role.LEADER)


def test_leader_that_hears_of_a_newer_term_in_a_late_pre_vote_reply_gives_way() -> None:
    """S04, S10: a refusal tells the voter's term; a grant tells of one that nobody has."""
    cluster = Cluster()
    leader = cluster.elect(1)

    leader.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 5))
    after_grant = (leader.role, leader.term)
    leader.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 5, reject=True))

    assert after_grant == (Role.LEADER, 1)
    assert (leader.role, leader.term, leader.leader) == (Role.FOLLOWER, 5, 0)


def test_rejection_that_points_below_the_leaders_log_brings_a_snapshot() -> None:
    """S58: no probe goes down there one by one, and no append is made up."""
    cluster = follower_behind_the_log()
    leader = cluster.nodes[1].core
    cluster.log_of_messages.clear()

    cluster.tick(12)

    assert len(messages_of(cluster, MessageType.SNAPSHOT, to=3)) == 1
    assert all(
        m.index >= leader.log.first_index() - 1 for m in messages_of(cluster, MessageType.APPEND)
    )
    assert cluster.core(3).commit == leader.commit
    cluster.propose(1, b"d")
    assert cluster.core(3).last_index == leader.last_index


def test_late_rejection_does_not_end_the_wait_for_a_snapshot() -> None:
    """S58: it was about an append from before; the snapshot is not sent a second time."""
    cluster = snapshot_under_way()
    leader = cluster.core(1)
    cluster.log_of_messages.clear()

    for index in (1, leader.last_index):
        leader.step(Message(MessageType.APPEND_REPLY, 3, 1, 1, index=index, reject=True))
    cluster.settle()

    assert leader.status().progress[1].flow == "snapshot"
    assert cluster.log_of_messages == []


def test_follower_that_gets_unreachable_during_a_snapshot_is_offered_it_again() -> None:
    """S30, S58: and the word of the first transfer's end, which comes late, changes nothing."""
    cluster = snapshot_under_way()
    leader = cluster.core(1)

    leader.peer_unreachable(3)
    flow = leader.status().progress[1].flow
    leader.snapshot_sent(3, ok=True)
    progress = leader.status().progress[1]
    cluster.drop = lambda m: False
    cluster.tick(12)
    cluster.propose(1, b"d")

    assert flow == "probe"
    assert progress.next == progress.match + 1
    assert leader.status().progress[1].flow == "replicate"
    assert cluster.core(3).last_index == leader.last_index


def test_vote_of_a_node_that_is_no_member_is_answered_but_elects_nobody() -> None:
    """S72: it may not have heard of its own membership, nor the candidate of it."""
    cluster = Cluster(strangers=(9,))
    stranger = cluster.nodes[9]
    stranger.core.step(Message(MessageType.VOTE, 1, 9, 1))
    (answer,) = settle(stranger)
    node = lone_node(1)
    node.core.campaign()
    settle(node)
    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 1))
    settle(node)

    node.core.step(answer)
    settle(node)

    assert (answer.type, answer.reject) == (MessageType.VOTE_REPLY, False)
    assert node.core.role is Role.CANDIDATE
