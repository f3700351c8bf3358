"""Handing leadership over: scenario S89; Raft thesis, section 3.10."""

import pytest

from raft.configuration import ConfigurationChange
from raft.types import MessageType, ProposalRefused, Refusal
from tests.raft.cluster import Cluster
from tests.raft.stories import messages_of


def test_up_to_date_follower_takes_over_at_once() -> None:
    """Without waiting for anybody's timeout, although its peers still hear the old leader."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.propose(1, b"x")

    leader.transfer_leader(3)
    cluster.settle()

    assert cluster.leaders() == [3]
    assert cluster.core(3).term == 2
    assert leader.leader == 3


def test_slow_follower_is_brought_up_to_date_first() -> None:
    """Proposals are refused meanwhile, or it would never be."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.to == 3 and m.type == MessageType.APPEND
    cluster.propose(1, b"x")
    leader.transfer_leader(3)
    cluster.settle()
    with pytest.raises(ProposalRefused) as refused:
        leader.propose([b"y"])
    with pytest.raises(ProposalRefused) as refused_change:
        leader.propose_configuration(ConfigurationChange((1, 2)))
    cluster.drop = lambda m: False

    cluster.tick(12)

    assert refused.value.reason is refused_change.value.reason is Refusal.TRANSFERRING
    assert cluster.leaders() == [3]
    assert cluster.commands(3) == [b"x"]


def test_probed_follower_is_probed_again_for_the_transfer() -> None:
    """Its last probe may be lost; the transfer does not wait for a heartbeat to find out."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.cut_off = [3]
    cluster.propose(1, b"x")
    leader.peer_unreachable(3)
    cluster.settle()
    cluster.cut_off = []

    leader.transfer_leader(3)
    cluster.settle()

    assert cluster.leaders() == [3]


def test_transfer_is_aborted_after_an_election_timeout() -> None:
    """S89: the target does not answer; the old leader serves again."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.cut_off = [3]
    leader.transfer_leader(3)
    cluster.tick(16)
    transferring = leader.status().transferee

    cluster.tick(8)
    cluster.propose(1, b"x")

    assert transferring == 3
    assert leader.status().transferee == 0
    assert cluster.leaders() == [1]
    assert cluster.commands(1) == [b"x"]


def test_transfer_is_aborted_at_once_when_the_connection_to_the_target_breaks() -> None:
    """S89: a target that dies costs no election timeout."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.cut_off = [3]
    leader.transfer_leader(3)

    leader.peer_unreachable(2)
    transferring = leader.status().transferee
    leader.peer_unreachable(3)
    cluster.propose(1, b"x")

    assert transferring == 3, "only its own connection counts"
    assert leader.status().transferee == 0
    assert cluster.commands(1) == [b"x"]


def test_target_that_campaigns_after_all_wins_an_aborted_transfer() -> None:
    """S89: the request to take over cannot be called back."""
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.transfer_leader(3)
    leader.peer_unreachable(3)
    cluster.settle()

    assert cluster.leaders() == [3]


def test_lost_request_to_take_over_is_repeated() -> None:
    """With the target's next sign of life."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.type == MessageType.TIMEOUT_NOW
    leader.transfer_leader(2)
    cluster.settle()
    cluster.drop = lambda m: False

    cluster.tick(8)

    assert len(messages_of(cluster, MessageType.TIMEOUT_NOW)) == 2
    assert cluster.leaders() == [2]


def test_transfer_to_itself_calls_a_transfer_off() -> None:
    """S89: and means nothing else."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.cut_off = [3]
    leader.transfer_leader(3)

    leader.transfer_leader(1)
    cluster.propose(1, b"x")

    assert cluster.leaders() == [1]
    assert cluster.commands(1) == [b"x"]


@pytest.mark.parametrize("target", [4, 9])
def test_transfer_to_a_learner_or_a_stranger_is_refused(target: int) -> None:
    """S89."""
    cluster = Cluster(learners=(4,))
    leader = cluster.elect(1)

    with pytest.raises(ProposalRefused) as refused:
        leader.transfer_leader(target)

    assert refused.value.reason is Refusal.NOT_A_VOTER
    assert not leader.has_ready()


def test_second_transfer_replaces_the_first_and_the_same_one_goes_on() -> None:
    """S89: the last word counts; repeating it does not prolong it."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.type == MessageType.TIMEOUT_NOW and m.to == 3
    leader.transfer_leader(3)
    leader.transfer_leader(3)
    sent = len(leader.take_ready().send_now)

    leader.transfer_leader(2)
    cluster.settle()

    assert sent == 1
    assert cluster.leaders() == [2]


def test_transfer_outlives_the_end_of_a_joint_configuration() -> None:
    """S89: leaving it is the leader's own proposal and passes; the target stays a voter."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    leader.propose_configuration(ConfigurationChange((1, 4, 5)))
    with pytest.raises(ProposalRefused):
        leader.transfer_leader(3)

    leader.transfer_leader(4)
    cluster.tick(4)

    assert cluster.leaders() == [4]
    assert cluster.core(4).configuration.voters == (1, 4, 5)


def test_target_that_loses_the_election_does_not_harm() -> None:
    """Nobody hears it; the old leader was told of the term and another election follows."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.type == MessageType.VOTE
    leader.transfer_leader(2)
    cluster.settle()
    cluster.drop = lambda m: False

    cluster.tick(60)

    assert len(cluster.leaders()) == 1
    assert cluster.core(2).term >= 2
