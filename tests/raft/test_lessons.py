"""Bugs that other implementations of Raft have had, and that ours must not have.

The docstrings name where each was found; docs/SCENARIOS.md lists them.
"""

import pytest

from raft.configuration import ConfigurationChange
from raft.core import RaftCore
from raft.types import (
    Configuration,
    Entry,
    EntryKind,
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
    append,
    entries_of,
    lone_node,
    messages_of,
    settle,
    step_synced,
    vote_request,
)


def leading_node(*, voters: tuple[int, ...] = (1, 2, 3), learners: tuple[int, ...] = ()) -> Node:
    """Node 1, which leads term 1 and has committed its first entry; the test plays the others."""
    node = lone_node(1, voters=voters)
    node.disk.configuration = Configuration(voters, learners=learners)
    node.start()
    node.core.campaign()
    settle(node)
    for kind in (MessageType.PRE_VOTE_REPLY, MessageType.VOTE_REPLY):
        for voter in voters[1:]:
            step_synced(node, Message(kind, voter, 1, 1))
    for voter in voters[1:]:
        step_synced(node, Message(MessageType.APPEND_REPLY, voter, 1, 1, index=1))
    assert node.core.role is Role.LEADER
    assert node.core.commit == 1
    return node


def configuration_entry(index: int, term: int, configuration: Configuration) -> Entry:
    return Entry(index, term, EntryKind.CONFIGURATION, configuration.encode())


# Terms and votes


def test_entry_never_bears_a_term_that_came_between_proposal_and_append() -> None:
    """A heartbeat of a newer term on a path of its own mixed two terms (hashicorp #695)."""
    node = leading_node()
    node.core.propose([b"old"])

    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 5, sequence=1))
    with pytest.raises(NotLeader):
        node.core.propose([b"new"])
    settle(node)

    assert [entry.term for entry in node.disk.log.entries_held] == [1, 1]
    assert node.disk.hard_state.term == 5


def test_leader_that_sees_a_newer_candidate_has_not_voted_for_it() -> None:
    """The vote was stored as granted, and a stale candidate was elected (openraft #1220)."""
    node = leading_node()
    wanted = vote_request(2, to=1, term=2, index=0, log_term=0)
    wanted.hint = 1

    refused = step_synced(node, wanted)
    granted = step_synced(node, vote_request(3, to=1, term=2, index=1, log_term=1))

    assert [(m.type, m.reject) for m in refused] == [(MessageType.VOTE_REPLY, True)]
    assert [(m.type, m.reject) for m in granted] == [(MessageType.VOTE_REPLY, False)]
    assert node.disk.hard_state.vote == 3


def test_votes_of_one_voter_count_once_and_its_first_answer_stands() -> None:
    """A doubled message is no second voter, and nobody changes its mind within a term."""
    node = lone_node(1, voters=(1, 2, 3, 4, 5))
    node.core.campaign()
    settle(node)
    for sender in (2, 3):
        step_synced(node, Message(MessageType.PRE_VOTE_REPLY, sender, 1, 1))

    for _ in range(3):
        step_synced(node, Message(MessageType.VOTE_REPLY, 2, 1, 1))
    step_synced(node, Message(MessageType.VOTE_REPLY, 3, 1, 1, reject=True))
    step_synced(node, Message(MessageType.VOTE_REPLY, 3, 1, 1))
    before = node.core.role
    step_synced(node, Message(MessageType.VOTE_REPLY, 4, 1, 1))

    assert before is Role.CANDIDATE
    assert node.core.role is Role.LEADER


def test_votes_of_strangers_and_learners_do_not_elect() -> None:
    """One counter took every answer for a vote (async-raft #62)."""
    node = lone_node(1)
    node.core.campaign()
    settle(node)

    for sender in (7, 8, 9):
        step_synced(node, Message(MessageType.PRE_VOTE_REPLY, sender, 1, 1))

    assert node.core.role is Role.PRE_CANDIDATE


def test_pre_candidate_that_lags_in_term_learns_it_from_the_refusals() -> None:
    """A longer log in an older term must not keep a group from electing anybody (etcd #8243)."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, b"x")
    cluster.cut_off = [1, 3]
    cluster.propose(1, b"only here")
    cluster.nodes[1].crash()
    cluster.cut_off = [1]
    cluster.core(3).peer_unreachable(1)
    cluster.core(2).peer_unreachable(1)
    cluster.elect(2)
    cluster.nodes[2].crash()
    cluster.restart(1)
    cluster.cut_off = []

    cluster.tick(200, only=(1, 3))

    assert len(cluster.leaders()) == 1
    assert cluster.commands(3)[0] == b"x"


def test_stuck_candidate_of_a_newer_term_is_freed_by_the_leaders_next_heartbeat() -> None:
    """With CheckQuorum voters ignore it, and it ignores the leader (etcd #5468)."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.type == MessageType.VOTE
    leader.transfer_leader(3)
    cluster.settle()
    assert cluster.core(3).role is Role.CANDIDATE
    cluster.drop = lambda m: False

    cluster.tick(80)
    cluster.propose(cluster.leaders()[0], b"y")
    cluster.tick(4)

    assert len(cluster.leaders()) == 1
    assert [cluster.commands(i) for i in (1, 2, 3)] == [[b"y"]] * 3


def test_request_to_take_over_counts_only_from_the_leader_of_the_term() -> None:
    """A TIMEOUT_NOW of an older term, or of a second leader, is as if never sent."""
    node = lone_node(1, term=3)
    step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 3, sequence=1))

    sent = [
        *step_synced(node, Message(MessageType.TIMEOUT_NOW, 2, 1, 2)),
        *step_synced(node, Message(MessageType.TIMEOUT_NOW, 3, 1, 3)),
    ]

    assert sent == []
    assert (node.core.term, node.core.role) == (3, Role.FOLLOWER)


# Who is heard


@pytest.mark.parametrize("deaf", ["leader", "followers"])
def test_one_way_loss_ends_the_leadership_it_makes_useless(deaf: str) -> None:
    """A leader that is only heard, or only hears, blocked a connected quorum (openraft #2080)."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.drop = (
        (lambda m: m.to == 1) if deaf == "leader" else (lambda m: m.sender == 1)  # one way only
    )

    cluster.tick(100)
    (new,) = [i for i in cluster.leaders() if i != 1]
    cluster.propose(new, b"x")

    assert cluster.commands(new) == [b"x"]
    assert cluster.leaders() == [new]


def test_follower_that_rejects_appends_still_hears_its_leader() -> None:
    """It campaigned against the leader that was bringing it up to date (redpanda #31547)."""
    node = lone_node(1, entries=entries_of(1, 1), term=2)

    for _ in range(200):
        node.core.tick()
        (reply,) = step_synced(node, append([], index=50, log_term=2, term=2))
        assert reply.reject

    assert (node.core.role, node.core.leader, node.core.term) == (Role.FOLLOWER, 2, 2)


def test_busy_follower_answers_with_its_term_and_is_not_deposed() -> None:
    """While a snapshot is installed the leader is still the leader (redpanda #31547)."""
    node = lone_node(1, term=2)
    meta = SnapshotMeta(5, 2, Configuration((1, 2, 3)))
    step_synced(node, Message(MessageType.SNAPSHOT, 2, 1, 2, snapshot=meta))

    answers = []
    for _ in range(200):
        node.core.tick()
        answers += step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 2, sequence=1))

    assert {(m.type, m.term) for m in answers} == {(MessageType.HEARTBEAT_REPLY, 2)}
    assert node.core.leader == 2


# Replication


def test_acknowledgement_of_an_earlier_term_of_ones_own_does_not_count() -> None:
    """The same node led, lost and leads again; what was sent to its older self is void."""
    cluster = Cluster()
    cluster.elect(1)
    held: list[Message] = []
    cluster.drop = lambda m: m.type == MessageType.APPEND_REPLY and m.sender == 2
    cluster.propose(1, b"x")
    held = [m for m in messages_of(cluster, MessageType.APPEND_REPLY, to=1) if m.sender == 2]
    cluster.core(1).step_down()
    cluster.settle()
    cluster.drop = lambda m: m.type == MessageType.APPEND
    for _ in range(10):
        cluster.tick(10)
        if cluster.leaders() != [1]:
            cluster.core(1).campaign()
            cluster.tick(25)
    cluster.core(1).campaign()
    cluster.settle()
    term = cluster.core(1).term

    for message in held:
        cluster.core(1).step(message)

    assert term > 1
    assert "ignored_older_term" in {event for event, _, _ in cluster.core(1).trace}


def test_hint_of_a_rejection_never_becomes_a_match() -> None:
    """A probe's hint was taken for what the follower surely has (ccf #5674)."""
    node = leading_node()
    node.core.propose([b"a", b"b"])
    settle(node)
    node.core.peer_unreachable(2)
    settle(node)

    reject = Message(MessageType.APPEND_REPLY, 2, 1, 1, index=1, reject=True, hint=3, hint_term=1)
    step_synced(node, reject)

    progress = {p.node_id: p for p in node.core.status().progress}[2]
    assert progress.match == 1
    assert node.core.commit == 1


def test_one_followers_acknowledgements_count_once() -> None:
    """However often they come."""
    node = leading_node(voters=(1, 2, 3, 4, 5))
    (index,) = node.core.propose([b"x"])
    settle(node)

    for _ in range(5):
        step_synced(node, Message(MessageType.APPEND_REPLY, 2, 1, 1, index=index))
    alone = node.core.commit
    step_synced(node, Message(MessageType.APPEND_REPLY, 5, 1, 1, index=index))

    assert alone < index
    assert node.core.commit == index


def test_heartbeat_above_the_followers_log_is_noted_and_commits_nothing() -> None:
    """Its disk has lost what it had acknowledged.

    A leader never tells a commit index above what the follower has acknowledged, so this one
    has forgotten. It must not take part as if it had not; the note is for whoever looks.
    """
    node = lone_node(1, entries=entries_of(1, 1), term=1)

    step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 1, commit=7, sequence=1))

    assert node.core.commit == 0
    assert ("log_is_missing", 1, 7) in node.core.trace


def test_follower_that_lost_its_log_is_never_counted_for_what_comes_after() -> None:
    """A log that went back must not help to commit; it is noted (openraft #2002)."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.propose(1, b"x")
    node = cluster.nodes[3]
    node.crash()
    node.disk.log.entries_held.clear()
    node.disk.hard_state = HardState(1, 0, 0)
    node.start()
    cluster.cut_off = [2]

    (index,) = leader.propose([b"y"])
    cluster.tick(12)

    assert leader.commit < index
    assert "ignored_stale_reject" in {event for event, _, _ in leader.trace}


def test_long_backlog_is_paged_to_the_end_with_a_window_of_one() -> None:
    """Each page waits for the answer to the one before; none is lost, none goes twice."""
    cluster = Cluster(append_bytes_max=100, in_flight_count_max=1, in_flight_bytes_max=1)
    cluster.elect(1)
    cluster.cut_off = [3]
    payloads = [b"%d" % n + b"." * 20 for n in range(800)]
    cluster.propose(1, *payloads)
    cluster.log_of_messages.clear()
    cluster.cut_off = []

    cluster.tick(8)

    sent = [m for m in messages_of(cluster, MessageType.APPEND, to=3) if m.entries]
    assert cluster.commands(3) == payloads
    assert sum(len(m.entries) for m in sent) <= len(payloads) + 1
    assert max(sum(len(e.payload) for e in m.entries) for m in sent) <= 100


# Tickets


def test_truncated_entry_that_comes_back_is_durable_only_with_its_new_write() -> None:
    """The ABA case: index and term are those of another write, in flight."""
    node = lone_node(1)
    node.core.step(append(entries_of(1, 1), index=0, log_term=0, term=1))
    node.take()
    node.core.step(append(entries_of(2, low=2), index=1, log_term=1, term=2, sender=3))
    node.core.step(append([*entries_of(1, low=2)], index=1, log_term=1, term=3))

    node.sync()
    durable = node.core.log.durable
    sent = settle(node)

    assert durable == 1
    assert [(m.term, m.index) for m in sent if m.type == MessageType.APPEND_REPLY] == [(3, 2)]
    assert [entry.term for entry in node.disk.log.entries_held] == [1, 1]


def test_news_of_a_leadership_that_is_over_bear_its_old_term() -> None:
    """They may still leave: nobody of the newer term believes them."""
    node = leading_node()
    node.core.tick(4)
    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 9, sequence=3))

    news = node.core.take_news()
    later = settle(node)

    assert {(m.type, m.term) for m in news} == {(MessageType.HEARTBEAT, 1)}
    assert [(m.type, m.term) for m in later] == [(MessageType.HEARTBEAT_REPLY, 9)]


# Membership


def test_new_voter_with_an_empty_log_grants_votes_and_never_campaigns() -> None:
    """S72: it knows no configuration at all until it has the log."""
    node = Node(RaftConfig(node_id=4), Disk(Configuration(())), Cluster().rng)

    node.core.tick(500)
    node.core.campaign()
    step_synced(node, Message(MessageType.HEARTBEAT, 1, 4, 1, sequence=1))
    step_synced(node, Message(MessageType.TIMEOUT_NOW, 1, 4, 1))
    node.core.tick(500)
    pre_vote = vote_request(1, to=4, term=2, index=3, log_term=1, kind=MessageType.PRE_VOTE)
    answers = [
        *step_synced(node, pre_vote),
        *step_synced(node, vote_request(1, to=4, term=2, index=3, log_term=1)),
    ]

    assert [(m.type, m.reject) for m in answers] == [
        (MessageType.PRE_VOTE_REPLY, False),
        (MessageType.VOTE_REPLY, False),
    ]
    assert node.core.role is Role.FOLLOWER


def test_learners_are_promoted_one_after_the_other() -> None:
    """Two in quick succession had quorums that did not overlap (redpanda #17675)."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    cluster.cut_off = [2, 3, 4]
    leader.propose_configuration(ConfigurationChange((1, 2, 3, 4), learners=(5,)))
    cluster.settle()

    with pytest.raises(ProposalRefused) as refused:
        leader.propose_configuration(ConfigurationChange((1, 2, 3, 4, 5)))

    assert refused.value.reason is Refusal.CHANGE_IN_FLIGHT


def test_campaign_after_a_truncated_configuration_asks_the_voters_of_before() -> None:
    """What is in effect follows the log, in both directions (etcd #12359)."""
    node = lone_node(1)
    five = configuration_entry(2, 1, Configuration((1, 2, 3, 4, 5)))
    step_synced(node, append([*entries_of(1), five], index=0, log_term=0, term=1))
    node.core.campaign()
    with_five = {m.to for m in settle(node)}
    step_synced(node, append(entries_of(2, low=2), index=1, log_term=1, term=2, sender=3))

    node.core.campaign()
    with_three = {m.to for m in settle(node)}
    step_synced(node, Message(MessageType.PRE_VOTE_REPLY, 4, 1, 3))
    strangers_vote = node.core.role
    step_synced(node, Message(MessageType.PRE_VOTE_REPLY, 2, 1, 3))

    assert with_five == {2, 3, 4, 5}
    assert with_three == {2, 3}
    assert strangers_vote is Role.PRE_CANDIDATE
    assert node.core.role is Role.CANDIDATE


def test_uncommitted_configuration_outlives_a_restart_and_can_still_go_back() -> None:
    """What is uncommitted is found in the log again, with what it may go back to."""
    five = configuration_entry(2, 1, Configuration((1, 2, 3, 4, 5)))
    node = lone_node(1, entries=[*entries_of(1), five], term=1, commit=1)
    found = node.core.configuration

    step_synced(node, append(entries_of(2, low=2), index=1, log_term=1, term=2))

    assert found.voters == (1, 2, 3, 4, 5)
    assert node.core.configuration.voters == (1, 2, 3)


@pytest.mark.parametrize(
    ("granting", "role"),
    [((2, 3), Role.PRE_CANDIDATE), ((4, 5), Role.PRE_CANDIDATE), ((2, 4), Role.CANDIDATE)],
)
def test_pre_votes_of_a_joint_configuration_need_both_halves(
    granting: tuple[int, ...], role: Role
) -> None:
    """The halves are counted apart, in pre-votes too (async-raft #62)."""
    joint = configuration_entry(1, 1, Configuration((1, 4, 5), (1, 2, 3)))
    node = lone_node(1, entries=[joint], term=1)
    node.core.campaign()
    settle(node)

    for sender in granting:
        step_synced(node, Message(MessageType.PRE_VOTE_REPLY, sender, 1, 2))

    assert node.core.role is role


def test_group_that_crashes_whole_in_a_joint_configuration_leaves_it() -> None:
    """S75: the leader elected after the restart goes on where the old one stopped."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    cluster.drop = lambda m: m.type == MessageType.APPEND_REPLY
    leader.propose_configuration(ConfigurationChange((1, 4, 5)))
    cluster.settle()
    for node_id in cluster.nodes:
        cluster.restart(node_id)
    cluster.messages.clear()
    cluster.drop = lambda m: False
    assert all(cluster.core(i).configuration.joint for i in cluster.nodes)

    cluster.tick(200)

    (new,) = cluster.leaders()
    assert cluster.core(new).configuration == Configuration((1, 4, 5))


def test_demoted_voter_counts_until_the_joint_configuration_is_left() -> None:
    """S75: it is in the outgoing half; afterwards it is a learner and counts no more."""
    cluster = Cluster((1, 2, 3, 4))
    leader = cluster.elect(1)
    cluster.tick(8)
    leader.propose_configuration(ConfigurationChange((1, 2), (3, 4), auto_leave=False))
    cluster.cut_off = [3, 4]
    cluster.settle()
    in_joint = leader.commit
    cluster.cut_off = []
    cluster.tick(8)
    leader.propose_leave_joint()
    cluster.tick(8)
    cluster.cut_off = [3, 4]
    (index,) = cluster.propose(1, b"x")

    assert in_joint < leader.last_index - 1
    assert leader.commit == index
    assert leader.configuration == Configuration((1, 2), learners=(3, 4))


def test_leader_being_removed_confirms_no_read_by_itself() -> None:
    """S84: it leads on until its removal is committed, and is not counted in it."""
    node = leading_node(voters=(1, 2))
    node.core.propose_configuration(ConfigurationChange((2,)))
    settle(node)

    read_id = node.core.read_index()
    settle(node)
    alone = dict(node.reads)
    sequence = node.core.read_sequence
    step_synced(node, Message(MessageType.HEARTBEAT_REPLY, 2, 1, 1, sequence=sequence))

    assert alone == {}
    assert node.reads == {read_id: 1}
    assert node.core.role is Role.LEADER


def test_single_voter_with_learners_reads_without_them() -> None:
    """S84: whatever the learners do."""
    node = leading_node(voters=(1,), learners=(2, 3))
    settle(node)

    read_id = node.core.read_index()
    settle(node)

    assert node.reads == {read_id: 1}


def test_removed_node_comes_back_with_a_new_progress() -> None:
    """What it had before it left says nothing about what it has now."""
    cluster = Cluster((1, 2, 3))
    leader = cluster.elect(1)
    cluster.propose(1, b"x")
    leader.propose_configuration(ConfigurationChange((1, 2)))
    cluster.tick(8)
    cluster.nodes[3].crash()
    cluster.add(3, Configuration(()))
    cluster.cut_off = [3]

    leader.propose_configuration(ConfigurationChange((1, 2), learners=(3,)))
    cluster.settle()
    match = {p.node_id: p.match for p in leader.status().progress}[3]
    cluster.cut_off = []
    cluster.tick(8)

    assert match == 0
    assert cluster.commands(3) == [b"x"]


def test_acknowledgement_from_before_a_node_left_does_not_count_when_it_is_back() -> None:
    """The id is the same, the disk is another one (dragonboat #350)."""
    cluster = Cluster((1, 2, 3))
    leader = cluster.elect(1)
    held: list[Message] = []
    cluster.drop = lambda m: m.type == MessageType.APPEND_REPLY and m.sender == 3
    cluster.propose(1, b"x")
    held = [m for m in messages_of(cluster, MessageType.APPEND_REPLY, to=1) if m.sender == 3]
    leader.propose_configuration(ConfigurationChange((1, 2)))
    cluster.tick(8)
    cluster.nodes[3].crash()
    cluster.add(3, Configuration(()))
    cluster.cut_off = [3]
    cluster.drop = lambda m: False
    leader.propose_configuration(ConfigurationChange((1, 2), learners=(3,)))
    cluster.settle()

    for message in held:
        leader.step(message)

    assert {p.node_id: p.match for p in leader.status().progress}[3] == 0
    cluster.cut_off = []
    cluster.tick(12)
    assert cluster.commands(3) == [b"x"]


def test_nodes_that_are_back_empty_elect_nobody_by_an_old_configuration() -> None:
    """Replaying the log, they were a majority of long ago (openraft #2002, cockroach #756)."""
    rng = Cluster().rng
    nodes = [Node(RaftConfig(node_id=i), Disk(Configuration(())), rng) for i in (2, 3)]
    first = Entry(1, 1, EntryKind.CONFIGURATION, Configuration((1, 2, 3)).encode())
    for node in nodes:
        # The first page of a log of 900 entries, in which both were removed and added later.
        page = append([first], index=0, log_term=0, term=5, commit=900, sender=1)
        page.to = node.config.node_id
        step_synced(node, page)

    nodes[0].core.campaign()
    asked = settle(nodes[0])
    nodes[1].core.peer_unreachable(1)
    request = vote_request(2, to=3, term=6, index=1, log_term=1, kind=MessageType.PRE_VOTE)
    (answer,) = step_synced(nodes[1], request)

    assert asked == []
    assert answer.reject


# Snapshots


def test_snapshot_whose_configuration_lacks_the_receiver_makes_it_a_stranger() -> None:
    """It was removed while it was away: it campaigns no more, and still answers."""
    node = lone_node(1, entries=entries_of(1), term=1)
    meta = SnapshotMeta(5, 2, Configuration((2, 3)))
    step_synced(node, Message(MessageType.SNAPSHOT, 2, 1, 2, snapshot=meta))
    node.install(())
    settle(node)

    node.core.tick(100)
    node.core.campaign()
    (granted,) = step_synced(node, vote_request(3, to=1, term=3, index=5, log_term=2))

    assert node.core.role is Role.FOLLOWER
    assert not granted.reject


def test_configuration_of_a_snapshot_replaces_an_uncommitted_one() -> None:
    """A stale effective configuration survived the installation (openraft #1808)."""
    stale = configuration_entry(2, 1, Configuration((1, 2, 3, 4, 5)))
    node = lone_node(1, entries=[*entries_of(1), stale], term=1)
    new = Configuration((1, 2, 3), learners=(4,))
    meta = SnapshotMeta(5, 2, new)

    step_synced(node, Message(MessageType.SNAPSHOT, 2, 1, 2, snapshot=meta))
    node.install(())

    assert node.core.configuration == new
    step_synced(node, append(entries_of(2, low=6), index=5, log_term=2, term=2))
    assert node.core.configuration == new


def test_learner_is_brought_up_by_a_snapshot_and_stays_a_learner() -> None:
    """S71: and may be promoted after it."""
    cluster = Cluster((1, 2, 3), strangers=(4,), cache_bytes_max=0)
    leader = cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    cluster.nodes[1].cut()

    leader.propose_configuration(ConfigurationChange((1, 2, 3), learners=(4,)))
    cluster.tick(12)
    as_learner = cluster.core(4).configuration
    leader.propose_configuration(ConfigurationChange((1, 2, 3, 4)))
    cluster.tick(12)

    assert len(messages_of(cluster, MessageType.SNAPSHOT)) >= 1
    assert as_learner.learners == (4,)
    assert cluster.commands(4) == [b"a", b"b"]
    assert cluster.core(4).configuration.voters == (1, 2, 3, 4)


def test_new_leader_during_an_install_is_followed_and_told_of_its_end() -> None:
    """Term and leader change while the snapshot of the old one is installed (tikv #7353)."""
    node = lone_node(1, term=2)
    meta = SnapshotMeta(5, 2, Configuration((1, 2, 3)))
    step_synced(node, Message(MessageType.SNAPSHOT, 2, 1, 2, snapshot=meta))
    step_synced(node, Message(MessageType.HEARTBEAT, 3, 1, 7, sequence=1))

    node.install(((1, b"x"),))
    sent = settle(node)

    assert node.core.term == 7
    assert [(m.type, m.to, m.term, m.index) for m in sent] == [(MessageType.APPEND_REPLY, 3, 7, 5)]


def test_commit_above_the_log_refuses_to_start() -> None:
    """State.commit out of range: data were lost, so do not vote with it (cockroach #2592)."""
    with pytest.raises(Exception, match="the log ends at 2"):
        RaftCore(
            RaftConfig(node_id=1),
            hard_state=HardState(1, 0, 3),
            configuration=Configuration((1, 2, 3)),
            log=MemoryLog(entries_of(1, 1)),
            applied=0,
            rng=Cluster().rng,
        )
