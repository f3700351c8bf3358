"""Elections and terms: scenarios S01-S18, and what goes wrong around them."""

from random import Random

import pytest

from raft.configuration import ConfigurationChange
from raft.types import (
    Configuration,
    HardState,
    Message,
    MessageType,
    NotLeader,
    ProposalRefused,
    RaftConfig,
    Refusal,
    Role,
    SnapshotMeta,
)
from tests.raft.cluster import Cluster, Disk, MemoryLog, Node
from tests.raft.stories import (
    entries_of,
    lone_node,
    messages_of,
    settle,
    step_synced,
    vote_request,
)


def test_single_voter_elects_itself_only_after_its_own_sync() -> None:
    """S01: no messages, but nothing before its own fsync."""
    node = lone_node(1, voters=(1,))

    node.core.campaign()
    sent = node.take()
    role_before_sync = node.core.role
    node.sync()
    role_after_sync = node.core.role
    node.take()
    committed_before_sync = node.core.commit
    node.sync()
    node.take()

    assert sent == []
    assert role_before_sync is Role.CANDIDATE
    assert role_after_sync is Role.LEADER
    assert committed_before_sync == 0
    assert (node.core.commit, node.core.applied) == (1, 1)
    assert node.core.may_evaluate


def test_voter_grants_one_vote_a_term_and_repeats_it() -> None:
    """S02: a second candidate is refused, the first one's repeated request is granted again."""
    node = lone_node(1)

    for candidate in (2, 3, 2):
        node.core.step(vote_request(candidate, to=1, term=5))
    node.take()
    replies = node.sync()

    assert [(r.to, r.reject, r.term) for r in replies] == [
        (2, False, 5),
        (3, True, 5),
        (2, False, 5),
    ]
    assert node.disk.hard_state.vote == 2


@pytest.mark.parametrize(
    ("index", "log_term", "granted"),
    [(3, 2, True), (4, 2, True), (1, 3, True), (2, 2, False), (9, 1, False)],
)
@pytest.mark.parametrize("kind", [MessageType.VOTE, MessageType.PRE_VOTE])
def test_voter_refuses_candidate_with_older_log(
    kind: MessageType, index: int, log_term: int, *, granted: bool
) -> None:
    """S03; Raft thesis, section 3.6.1: a longer log of an older last term loses."""
    node = lone_node(1, entries=entries_of(1, 2, 2), term=3)

    node.core.step(vote_request(2, to=1, term=5, index=index, log_term=log_term, kind=kind))
    sent = node.take()
    replies = node.sync() if node.writing else sent

    assert [reply.reject for reply in replies] == [not granted]


@pytest.mark.parametrize("kind", [k for k in MessageType if k != MessageType.PRE_VOTE])
def test_leader_falls_back_on_a_higher_term_in_any_message(kind: MessageType) -> None:
    """S04: but a vote request is believed only from a transfer, or when no leader is near."""
    cluster = Cluster()
    leader = cluster.elect(1)

    leader.step(Message(kind, 2, 1, 9, reject=True, hint=1))

    assert leader.term >= 9
    assert leader.role is not Role.LEADER


def test_candidate_follows_the_leader_of_its_own_term() -> None:
    """S04: somebody else has won this term."""
    node = lone_node(1)
    node.core.campaign()
    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 1))
    assert node.core.role is Role.CANDIDATE

    node.core.step(Message(MessageType.HEARTBEAT, 3, 1, 1))

    assert (node.core.role, node.core.leader, node.core.term) == (Role.FOLLOWER, 3, 1)


def test_term_never_decreases() -> None:
    """S05: messages of an older term are not obeyed, and their senders are told ours."""
    node = lone_node(1, term=5)
    old = [
        Message(MessageType.APPEND, 2, 1, 4),
        Message(MessageType.HEARTBEAT, 2, 1, 4),
        Message(MessageType.SNAPSHOT, 2, 1, 4),
        vote_request(2, to=1, term=4),
        vote_request(2, to=1, term=4, kind=MessageType.PRE_VOTE),
        Message(MessageType.TIMEOUT_NOW, 2, 1, 4),
        Message(MessageType.APPEND_REPLY, 2, 1, 4),
        Message(MessageType.HEARTBEAT_REPLY, 2, 1, 4),
    ]

    for message in old:
        node.core.step(message)

    sent = node.take()
    assert node.core.term == 5
    assert node.core.leader == 0
    assert [(m.type, m.term, m.reject) for m in sent] == [
        (MessageType.APPEND_REPLY, 5, True),
        (MessageType.HEARTBEAT_REPLY, 5, True),
        (MessageType.APPEND_REPLY, 5, True),
        (MessageType.VOTE_REPLY, 5, True),
        (MessageType.PRE_VOTE_REPLY, 5, True),
    ]


def test_deposed_leader_learns_the_newer_term_from_the_answer() -> None:
    """S05: a leader that was away steps down when it hears of the new term."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.cut_off = [1]
    cluster.tick(60, only=(2, 3))
    assert cluster.leaders() == [1, *[i for i in (2, 3) if i in cluster.leaders()]]

    cluster.cut_off = []
    cluster.tick(5)

    assert 1 not in cluster.leaders()
    assert len({cluster.core(i).term for i in (1, 2, 3)}) == 1


def test_election_timeouts_are_random_and_drawn_anew() -> None:
    """S06: spread over [min, 2 * min), another one for every election."""
    timeouts = []
    for seed in range(50):
        node = lone_node(1, rng=Random(seed))
        for _ in range(2):
            ticks = 0
            while not node.core.has_ready():
                node.core.tick()
                ticks += 1
            timeouts.append(ticks)
            node.take()

    assert min(timeouts) >= 20
    assert max(timeouts) < 40
    assert len(set(timeouts)) > 15
    assert sum(a != b for a, b in zip(timeouts[::2], timeouts[1::2], strict=True)) > 40


def test_split_vote_resolves() -> None:
    """S07: two candidates of one term share the votes; a later term decides."""
    cluster = Cluster((1, 2, 3, 4))
    cluster.core(1).campaign()
    cluster.core(2).campaign()

    cluster.drop = lambda m: {m.sender, m.to} in ({1, 4}, {2, 3}, {1, 2})
    cluster.settle()
    none_yet = cluster.leaders()
    cluster.drop = lambda m: False
    cluster.tick(120)

    assert none_yet == []
    assert len(cluster.leaders()) == 1


def test_candidate_returns_to_follower_on_a_quorum_of_refusals() -> None:
    """S07: also before its own vote is on disk."""
    node = lone_node(1)
    node.core.campaign()
    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 1))
    node.take()
    node.sync()

    node.core.step(Message(MessageType.VOTE_REPLY, 2, 1, 1, reject=True))
    after_one = node.core.role
    node.core.step(Message(MessageType.VOTE_REPLY, 3, 1, 1, reject=True))

    assert after_one is Role.CANDIDATE
    assert node.core.role is Role.FOLLOWER
    assert node.core.vote == 1


def test_votes_of_others_do_not_count_before_the_own_vote_is_durable() -> None:
    """S40: whoever invents a grant cannot make a leader whose term is not on disk."""
    node = lone_node(1)
    node.core.campaign()
    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 1))

    node.core.step(Message(MessageType.VOTE_REPLY, 2, 1, 1))
    node.core.step(Message(MessageType.VOTE_REPLY, 3, 1, 1))
    before = node.core.role
    node.take()
    node.sync()

    assert before is Role.CANDIDATE
    assert node.core.role is Role.LEADER


def test_stale_and_foreign_vote_replies_change_nothing() -> None:
    """A grant counts for the campaign it answers, and a stranger's never."""
    node = lone_node(1)
    node.core.step(Message(MessageType.VOTE_REPLY, 2, 1, 0))
    node.core.campaign()

    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 7))
    node.core.step(Message(MessageType.VOTE_REPLY, 2, 1, 0))
    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 9, 1, 1))

    assert node.core.role is Role.PRE_CANDIDATE


def test_isolated_node_does_not_raise_its_term_nor_disturb_on_return() -> None:
    """S10: pre-vote, Raft thesis, section 9.6."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.cut_off = [3]
    cluster.tick(200)
    term_alone = cluster.core(3).term

    cluster.cut_off = []
    cluster.tick(60)

    assert term_alone == leader.term == 1
    assert cluster.leaders() == [1]
    assert cluster.core(3).leader == 1


def test_voter_ignores_candidates_while_its_leader_is_near() -> None:
    """S18 and leader stickiness: even a vote request of a higher term does not move it."""
    cluster = Cluster()
    cluster.elect(1)
    follower = cluster.core(2)

    for kind in (MessageType.VOTE, MessageType.PRE_VOTE):
        follower.step(vote_request(3, to=2, term=9, index=99, log_term=9, kind=kind))

    assert (follower.term, follower.leader) == (1, 1)
    assert not follower.has_ready()


def test_leader_without_a_quorum_steps_down_and_falls_silent() -> None:
    """S12: CheckQuorum, Raft thesis, section 6.2."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.cut_off = [1]

    cluster.tick(20, only=(1,))
    still = leader.role
    cluster.tick(5, only=(1,))
    stepped_down = leader.role
    cluster.log_of_messages.clear()
    cluster.tick(15, only=(1,))

    assert still is Role.LEADER
    assert stepped_down is Role.FOLLOWER
    assert leader.leader == 0
    assert not messages_of(cluster, MessageType.HEARTBEAT)
    with pytest.raises(NotLeader):
        leader.propose([b"too late"])


def test_leader_with_a_bare_quorum_stays() -> None:
    """S12: one of two followers answering is enough."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.cut_off = [3]

    cluster.tick(200)

    assert cluster.leaders() == [1]


def test_pause_of_the_leaders_host_is_not_held_against_its_followers() -> None:
    """They were not asked; if another leads by now, their answers will say so."""
    cluster = Cluster()
    leader = cluster.elect(1)

    leader.tick(1000)
    after_pause = leader.role
    cluster.settle()
    cluster.tick(50)

    assert after_pause is Role.LEADER
    assert cluster.leaders() == [1]


def test_removed_server_that_keeps_campaigning_disturbs_nobody() -> None:
    """S18: it asks for pre-votes for ever; terms stay."""
    cluster = Cluster((1, 2, 3, 4))
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.to == 4 and m.sender != 4
    leader.propose_configuration(ConfigurationChange((1, 2, 3)))
    cluster.settle()

    cluster.tick(300)

    assert cluster.core(4).role is Role.PRE_CANDIDATE
    assert cluster.leaders() == [1]
    assert leader.term == 1


def test_followers_campaign_at_once_when_the_leaders_stream_breaks() -> None:
    """Design 10: a killed leader's peers need not wait out the election timeout."""
    for seed in range(20):
        cluster = Cluster(seed=seed)
        cluster.elect(1)
        cluster.propose(1, b"x")
        cluster.nodes[1].crash()

        for node_id in (2, 3):
            cluster.core(node_id).peer_unreachable(1)
        ticks = 0
        while not cluster.leaders():
            cluster.tick()
            ticks += 1

        assert ticks <= 10


def test_false_alarm_of_a_broken_stream_ends_with_the_next_heartbeat() -> None:
    """Pre-vote guards: the leader lives, the others do not help, no term is lost."""
    cluster = Cluster()
    cluster.elect(1)

    cluster.core(2).peer_unreachable(1)
    forgotten = cluster.core(2).leader
    cluster.tick(8)

    assert forgotten == 0
    assert cluster.core(2).leader == 1
    assert cluster.core(1).term == 1
    assert cluster.leaders() == [1]


def test_unreachable_peer_that_is_not_the_leader_does_not_matter_to_a_follower() -> None:
    """Only the leader's stream means anything."""
    cluster = Cluster()
    cluster.elect(1)

    cluster.core(2).peer_unreachable(3)
    cluster.core(2).peer_unreachable(0)

    assert cluster.core(2).leader == 1


def test_quick_campaigns_are_bounded() -> None:
    """Alone, a follower goes back to the usual timeout after a few quick tries."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.cut_off = [2]
    cluster.core(2).peer_unreachable(1)
    cluster.log_of_messages.clear()

    cluster.tick(200, only=(2,))

    campaigns = len(messages_of(cluster, MessageType.PRE_VOTE)) / 2
    assert 8 <= campaigns <= 15


def test_step_down_asks_the_best_follower_to_take_over() -> None:
    """A leader whose disk hangs gives up; the group has another one without a timeout."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.to == 2 and m.type == MessageType.APPEND
    cluster.propose(1, b"x")
    cluster.drop = lambda m: False

    leader.step_down()
    at_once = leader.role
    cluster.settle()

    assert at_once is Role.FOLLOWER
    assert cluster.leaders() == [3]


def test_step_down_ends_a_campaign_and_means_nothing_to_a_follower() -> None:
    """Nothing to hand over."""
    node = lone_node(1)
    node.core.step_down()
    assert not node.core.has_ready()

    node.core.campaign()
    node.core.step_down()

    assert node.core.role is Role.FOLLOWER


def test_single_leader_may_step_down_with_nobody_to_ask() -> None:
    """It comes back by itself after a timeout."""
    cluster = Cluster((1,))
    leader = cluster.elect(1)

    leader.step_down()
    cluster.tick(40)

    assert cluster.leaders() == [1]
    assert leader.term == 2


def test_campaign_on_a_leader_does_nothing() -> None:
    """It has what it could win."""
    cluster = Cluster()
    leader = cluster.elect(1)

    leader.campaign()

    assert leader.role is Role.LEADER
    assert not leader.has_ready()


def test_learner_never_campaigns_but_forgets_a_silent_leader() -> None:
    """Neither by time, nor when asked; and its hint to clients does not go stale."""
    cluster = Cluster((1, 2), learners=(3,))
    cluster.elect(1)
    learner = cluster.core(3)
    known = learner.leader
    cluster.cut_off = [3]

    cluster.tick(100, only=(3,))
    learner.campaign()
    learner.step(Message(MessageType.TIMEOUT_NOW, 1, 3, 1))

    assert known == 1
    assert (learner.role, learner.leader, learner.term) == (Role.FOLLOWER, 1, 1)
    learner.peer_unreachable(1)
    cluster.tick(100, only=(3,))
    assert (learner.role, learner.leader) == (Role.FOLLOWER, 0)


def test_voter_that_believes_it_is_a_learner_grants_votes() -> None:
    """S72: it may not have heard of its promotion yet."""
    configuration = Configuration((2, 3), learners=(1,))
    node = Node(RaftConfig(node_id=1), Disk(configuration), Random(1))

    node.core.step(vote_request(2, to=1, term=1))
    node.take()

    assert [reply.reject for reply in node.sync()] == [False]


def test_two_leaders_of_one_term_are_not_believed() -> None:
    """It cannot happen; if the network says so, the first one is kept."""
    cluster = Cluster()
    leader = cluster.elect(1)
    follower = cluster.core(2)

    follower.step(Message(MessageType.HEARTBEAT, 3, 2, 1, commit=1))
    leader.step(Message(MessageType.APPEND, 3, 1, 1))

    assert follower.leader == 1
    assert leader.role is Role.LEADER
    assert follower.trace[-1] == ("ignored_second_leader", 1, 3)


FROM_A_LEADER = (
    MessageType.APPEND,
    MessageType.HEARTBEAT,
    MessageType.SNAPSHOT,
    MessageType.TIMEOUT_NOW,
)


def claims_to_lead(node: Node, sender: int) -> int:
    """Let `sender` send all that leaders send, in the node's term; return how many were refused."""
    core = node.core
    before = core.second_leaders_refused
    for kind in FROM_A_LEADER:
        meta = SnapshotMeta(9, core.term, core.configuration)
        entries = entries_of(core.term) if kind == MessageType.APPEND else ()
        message = Message(kind, sender, 1, core.term, 0, 0, 1, entries, 1, snapshot=meta)
        assert step_synced(node, message) == []
    return core.second_leaders_refused - before


def follower_of(leader: int) -> Node:
    node = lone_node(1, term=3)
    step_synced(node, Message(MessageType.HEARTBEAT, leader, 1, 3, sequence=1))
    return node


def test_second_leader_is_refused_after_the_stream_of_the_first_broke() -> None:
    """Whom a replica follows is forgotten with the stream; who led the term is not."""
    node = follower_of(2)
    node.core.peer_unreachable(2)

    refused = claims_to_lead(node, 3)

    assert refused == len(FROM_A_LEADER)
    assert (node.core.leader, node.core.leader_of_term, node.core.second_leader) == (0, 2, 3)
    assert (node.core.role, node.core.term, node.core.last_index) == (Role.FOLLOWER, 3, 0)


def test_leader_is_followed_again_when_its_stream_is_back() -> None:
    node = follower_of(2)
    node.core.peer_unreachable(2)

    step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 3, sequence=2))

    assert (node.core.leader, node.core.second_leaders_refused) == (2, 0)


def test_second_leader_is_refused_in_the_middle_of_a_pre_vote() -> None:
    """A pre-vote leaves the term as it is, so its leader is still known; that one is let back."""
    node = follower_of(2)
    node.core.campaign()
    settle(node)

    refused = claims_to_lead(node, 3)

    assert (refused, node.core.role) == (len(FROM_A_LEADER), Role.PRE_CANDIDATE)
    step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 3, sequence=2))
    assert (node.core.role, node.core.leader) == (Role.FOLLOWER, 2)


def test_leader_that_stepped_down_follows_nobody_else_in_its_term() -> None:
    cluster = Cluster()
    node, core = cluster.nodes[1], cluster.elect(1)
    last = core.last_index
    core.step_down()
    settle(node)

    refused = claims_to_lead(node, 3)

    assert refused == len(FROM_A_LEADER)
    assert (core.role, core.leader_of_term, core.last_index) == (Role.FOLLOWER, 1, last)


def test_next_term_may_have_another_leader() -> None:
    node = follower_of(2)
    node.core.peer_unreachable(2)

    step_synced(node, vote_request(3, to=1, term=4))
    nobody = node.core.leader_of_term
    step_synced(node, Message(MessageType.HEARTBEAT, 3, 1, 4, sequence=1))

    assert nobody == 0
    assert (node.core.leader, node.core.leader_of_term, node.core.term) == (3, 3, 4)
    assert claims_to_lead(node, 2) == len(FROM_A_LEADER)


def test_restart_forgets_who_led_the_term() -> None:
    """It is not on disk: the first who claims the term after a restart is believed."""
    node = lone_node(1, term=3)

    step_synced(node, Message(MessageType.HEARTBEAT, 3, 1, 3, sequence=1))

    assert node.core.leader_of_term == 3


def test_misdirected_and_unknown_messages_are_ignored_and_noted() -> None:
    """The network cannot make a core raise."""
    node = lone_node(1)
    odd = [
        Message(MessageType.HEARTBEAT, 2, 3, 1),
        Message(MessageType.HEARTBEAT, 1, 1, 1),
        Message(MessageType.HEARTBEAT, 0, 1, 1),
        Message(99, 2, 1, 0),  # type: ignore[arg-type]
    ]

    for message in odd:
        node.core.step(message)

    assert [event for event, _, _ in list(node.core.trace)[-4:]] == [
        "ignored_misdirected",
        "ignored_misdirected",
        "ignored_misdirected",
        "ignored_unknown_type",
    ]
    assert not node.core.has_ready()


def test_replies_to_a_replica_that_does_not_lead_are_ignored() -> None:
    """Late answers of its own term, after it stepped down."""
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.step_down()
    cluster.nodes[1].take()

    leader.step(Message(MessageType.APPEND_REPLY, 2, 1, 1, index=1))
    leader.step(Message(MessageType.HEARTBEAT_REPLY, 2, 1, 1))

    assert leader.commit == 1
    assert not leader.has_ready()


def test_trace_is_bounded() -> None:
    """It is a story of the last events, not a log."""
    node = lone_node(1)

    for _ in range(1000):
        node.core.step(Message(MessageType.HEARTBEAT, 2, 3, 1))

    assert len(node.core.trace) == 64


def test_voter_that_has_voted_refuses_others_after_a_restart() -> None:
    """S40: the vote was on disk before it left."""
    node = lone_node(1)
    node.core.step(vote_request(2, to=1, term=1))
    node.take()
    node.sync()

    node.crash()
    node.start()
    node.core.step(vote_request(3, to=1, term=1))

    assert [reply.reject for reply in node.take()] == [True]


def test_follower_with_a_leader_refuses_votes_of_its_own_term() -> None:
    """After a restart it may not remember whom it voted for, but it knows who won."""
    disk = Disk(Configuration((1, 2, 3)), HardState(term=1), MemoryLog())
    node = Node(RaftConfig(node_id=1), disk, Random(1))
    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 1))
    node.take()

    node.core.step(vote_request(3, to=1, term=1))

    assert [reply.reject for reply in node.take()] == [True]


def test_transfer_refusals_name_their_reason() -> None:
    """Errors carry facts."""
    cluster = Cluster()
    leader = cluster.elect(1)

    with pytest.raises(ProposalRefused) as refused:
        leader.transfer_leader(9)
    with pytest.raises(NotLeader) as not_leader:
        cluster.core(2).transfer_leader(3)

    assert refused.value.reason is Refusal.NOT_A_VOTER
    assert (not_leader.value.leader, not_leader.value.term) == (1, 1)
