"""A leader that is gone is missed no longer than it takes to be sure of that."""

from random import Random

from raft.types import Message, MessageType, Role
from tests.raft.cluster import Cluster
from tests.raft.stories import entries_of, lone_node, messages_of, step_synced, vote_request


def test_leader_is_elected_soon_after_a_majority_can_be_reached_again() -> None:
    """Quick campaigns were in vain while there was no majority; its return is a new reason."""
    for seed in range(20):
        cluster = Cluster(seed=seed)
        cluster.elect(1)
        cluster.nodes[1].crash()
        cluster.nodes[3].crash()
        cluster.core(2).peer_unreachable(1)
        cluster.tick(100)

        cluster.nodes[3].start()
        cluster.core(2).peer_reachable(3)
        cluster.core(3).peer_reachable(2)
        ticks = 0
        while not cluster.leaders():
            cluster.tick()
            ticks += 1

        assert ticks < cluster.core(2).config.election_ticks_min


def test_restarted_replica_that_reaches_its_peers_hears_their_leader_before_it_asks() -> None:
    for seed in range(20):
        cluster = Cluster(seed=seed)
        cluster.elect(1)
        cluster.restart(3)
        cluster.log_of_messages.clear()

        for node_id, peer in ((2, 3), (3, 2), (3, 1)):
            cluster.core(node_id).peer_reachable(peer)
        cluster.tick(20)

        assert not messages_of(cluster, MessageType.PRE_VOTE)
        assert cluster.leaders() == [1]
        assert [cluster.core(node_id).leader for node_id in (2, 3)] == [1, 1]


def test_peer_without_a_vote_is_no_reason_to_campaign() -> None:
    cluster = Cluster(learners=(4,))
    core = cluster.core(1)
    alarm = core.alarm

    core.peer_reachable(4)

    assert core.alarm == alarm


def test_campaign_that_is_due_soon_is_not_put_off_by_another_peer() -> None:
    core = lone_node(1).core
    core.peer_reachable(2)
    alarm = core.alarm

    for _ in range(20):
        core.peer_reachable(3)

    assert core.alarm == alarm


def test_campaign_in_vain_because_another_replica_still_waits_is_repeated_soon() -> None:
    """Two followers seldom hear their leader for the last time in the same tick."""
    for seed in range(20):
        cluster = Cluster(seed=seed)
        cluster.elect(1)
        cluster.nodes[1].crash()
        while cluster.core(2).role is Role.FOLLOWER:
            cluster.tick(only=(2,))
        cluster.tick(20, only=(3,))

        cluster.tick(7, only=(2,))

        assert cluster.leaders()


def test_leader_that_lost_its_quorum_is_elected_as_soon_as_the_others_hear_it_ask() -> None:
    """They were paused and believe in it still; but who asks for votes does not lead."""
    for seed in range(20):
        cluster = Cluster(seed=seed)
        leader = cluster.elect(1)
        cluster.cut_off = [1]
        while leader.role is Role.LEADER:
            cluster.tick(only=(1,))
        believed = [cluster.core(node_id).leader_is_near() for node_id in (2, 3)]

        cluster.cut_off = []
        cluster.tick(7, only=(1,))

        assert believed == [True, True]
        assert cluster.leaders() == [1]
        assert leader.term == 2


def test_follower_whose_leader_asks_campaigns_itself_if_it_cannot_help() -> None:
    """The leader that has restarted may lack what another one has."""
    node = lone_node(1, entries=entries_of(1, 1), term=1)
    step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 1, sequence=1))

    step_synced(node, vote_request(2, to=1, term=2, index=1, log_term=1, kind=MessageType.PRE_VOTE))
    node.core.tick(4)

    assert (node.core.role, node.core.term) == (Role.PRE_CANDIDATE, 1)


def test_leader_that_is_silent_in_another_group_is_given_up_at_the_shortest_timeout() -> None:
    """Not before: then it was only slow."""
    for seed in range(20):
        node = lone_node(1, rng=Random(seed))
        core = node.core
        step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 1, sequence=1))
        shortest = core.config.election_ticks_min

        core.tick(shortest - 1)
        core.suspect(2)
        before = core.leader
        core.tick()
        core.suspect(3)
        core.suspect(2)

        assert before == 2
        assert core.role is Role.PRE_CANDIDATE


def test_leader_never_suspects_itself() -> None:
    core = Cluster().elect(1)
    core.tick(30)

    core.suspect(1)

    assert core.role is Role.LEADER
