"""Replication and commitment: scenarios S08 and S21-S38."""

import pytest

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
)
from tests.raft.cluster import Cluster, Node
from tests.raft.stories import (
    append,
    entries_of,
    lone_node,
    messages_of,
    settle,
    step_synced,
    terms_of,
)


def leader_with(*terms: int, term: int, config: RaftConfig | None = None) -> Node:
    """Make node 1 of (1, 2, 3) the leader of `term`, with a log of older terms before its no-op."""
    node = lone_node(1, entries=entries_of(*terms), term=term - 1, config=config)
    node.core.campaign()
    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, term))
    settle(node)
    node.core.step(Message(MessageType.VOTE_REPLY, 2, 1, term))
    assert node.core.role is Role.LEADER
    return node


def acknowledge(node: Node, sender: int, index: int) -> list[Message]:
    """Let a follower acknowledge up to `index`."""
    reply = Message(MessageType.APPEND_REPLY, sender, 1, node.core.term, index=index)
    return step_synced(node, reply)


def test_new_leader_does_not_commit_older_terms_by_counting() -> None:
    """S08, S26; Raft paper, figure 8: the no-op of the own term commits what came before."""
    node = leader_with(1, 2, term=4)
    settle(node)

    acknowledge(node, 2, 2)
    acknowledge(node, 3, 2)
    before = node.core.commit
    acknowledge(node, 2, 3)

    assert before == 0
    assert node.core.commit == 3
    assert node.disk.log.entries_held[-1].kind == EntryKind.NOOP


@pytest.mark.parametrize(
    "follower_terms",
    [
        (1, 1, 1, 4, 4, 5, 5, 6, 6),
        (1, 1, 1, 4),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
        (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
        (1, 1, 1, 4, 4, 4, 4),
        (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
        (),
    ],
)
def test_leader_brings_every_kind_of_divergent_follower_to_its_log(
    follower_terms: tuple[int, ...],
) -> None:
    """S21; Raft paper, figure 7: at most one rejected probe for each distinct term."""
    leader_terms = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
    cluster = Cluster()
    for node_id, terms in ((1, leader_terms), (2, follower_terms), (3, leader_terms)):
        disk = cluster.nodes[node_id].disk
        disk.log.entries_held = entries_of(*terms)
        disk.hard_state = HardState(term=7)
        cluster.restart(node_id)
    cluster.elect(1)
    cluster.tick(30)

    rejects = [m for m in messages_of(cluster, MessageType.APPEND_REPLY, to=1) if m.reject]

    assert terms_of(cluster.nodes[2]) == [*leader_terms, 8]
    assert len(rejects) <= len(set(leader_terms) | set(follower_terms))


def test_late_append_that_is_a_prefix_truncates_nothing() -> None:
    """S22: acknowledged entries stay, whatever the order of messages."""
    node = lone_node(1)
    step_synced(node, append(entries_of(1, 1, 1), index=0, log_term=0, term=1))

    late = step_synced(node, append(entries_of(1), index=0, log_term=0, term=1))
    empty = step_synced(node, append([], index=1, log_term=1, term=1))

    assert terms_of(node) == [1, 1, 1]
    assert [(m.index, m.reject) for m in late + empty] == [(1, False), (1, False)]


def test_append_that_overlaps_the_log_adds_only_what_is_new() -> None:
    """S22: the part that is here already is not written again."""
    node = lone_node(1, entries=entries_of(1, 1), term=1)

    node.core.step(append(entries_of(1, 1, 1), index=0, log_term=0, term=1))
    node.take()

    assert node.writing is not None
    assert node.writing.truncate_from is None
    assert [entry.index for entry in node.writing.entries] == [3]


def test_late_acknowledgement_does_not_end_a_probe() -> None:
    """It says less than what is known."""
    node = leader_with(1, 1, term=2)
    settle(node)
    acknowledge(node, 2, 3)
    node.core.peer_unreachable(2)

    acknowledge(node, 2, 1)
    late = node.core.status().progress[0]
    acknowledge(node, 2, 3)

    assert (late.match, late.flow) == (3, "probe")
    assert node.core.status().progress[0].flow == "replicate"


def test_reordered_appends_are_rejected_until_the_gap_closes() -> None:
    """S22: the second of two pipelined appends arrives first."""
    node = lone_node(1)

    early = step_synced(node, append(entries_of(1, low=3), index=2, log_term=1, term=1))
    step_synced(node, append(entries_of(1, 1), index=0, log_term=0, term=1))
    again = step_synced(node, append(entries_of(1, low=3), index=2, log_term=1, term=1))

    assert [(m.reject, m.index, m.hint) for m in early] == [(True, 2, 0)]
    assert [(m.reject, m.index) for m in again] == [(False, 3)]
    assert terms_of(node) == [1, 1, 1]


def test_conflict_truncates_exactly_from_the_first_conflicting_index() -> None:
    """S23: what agrees before it is not written again."""
    node = lone_node(1, entries=entries_of(1, 1, 2, 2), term=2)

    node.core.step(append(entries_of(1, 3, low=2), index=1, log_term=1, term=3))
    node.take()

    assert node.writing is not None
    assert node.writing.truncate_from == 3
    assert [(e.index, e.term) for e in node.writing.entries] == [(3, 3)]
    node.sync()
    assert terms_of(node) == [1, 1, 3]


def test_committed_entries_are_never_truncated() -> None:
    """S23: a message that would do it finds an assertion, not an obedient core."""
    node = lone_node(1, entries=entries_of(1, 1), term=1, commit=2)

    with pytest.raises(AssertionError):
        node.core.truncate(2)


def test_append_from_below_the_commit_index_is_answered_with_it() -> None:
    """S24: not rejected into a loop."""
    node = lone_node(1, entries=entries_of(1, 1, 1), term=1, commit=3)

    sent = step_synced(node, append(entries_of(1), index=0, log_term=0, term=2))

    assert [(m.type, m.index, m.reject) for m in sent] == [(MessageType.APPEND_REPLY, 3, False)]


def test_follower_commits_no_further_than_this_message_matches() -> None:
    """S25: a tail of its own beyond that may be wrong."""
    node = lone_node(1, entries=entries_of(1, 1, 1), term=1)

    step_synced(node, append(entries_of(1), index=0, log_term=0, term=2, commit=3))

    assert node.core.commit == 1


def test_heartbeat_never_tells_a_commit_above_the_followers_match() -> None:
    """S25: for heartbeats the leader takes care, and the follower of what cannot be."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.drop = lambda m: m.to == 3 and m.type == MessageType.APPEND
    cluster.propose(1, b"a", b"b")
    cluster.log_of_messages.clear()

    cluster.tick(4)
    cluster.core(3).step(Message(MessageType.HEARTBEAT, 1, 3, 1, commit=99))

    commits = {m.to: m.commit for m in messages_of(cluster, MessageType.HEARTBEAT)}
    assert commits == {2: 3, 3: 1}
    assert cluster.core(3).commit == 1


def test_learners_never_count() -> None:
    """S26: two learners and a leader are no quorum of three voters."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.cut_off = [2, 3]

    index = cluster.propose(1, b"x")[0]

    assert leader.commit < index
    cluster.cut_off = []
    cluster.tick(10)
    assert leader.commit == index
    assert cluster.commands(5) == [b"x"]


def test_all_entries_of_a_turn_leave_in_one_message_a_follower() -> None:
    """Cost is per turn: several proposals, one append each way."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.log_of_messages.clear()

    first = leader.propose([b"a", b"b"])
    second = leader.propose([b"c"])
    sent = leader.take_ready().send_now

    assert (list(first), list(second)) == ([2, 3], [4])
    assert [(m.to, len(m.entries)) for m in sent] == [(2, 3), (3, 3)]
    assert sent[0].entries is sent[1].entries


def test_empty_proposal_is_no_entry() -> None:
    """A range of nothing."""
    cluster = Cluster()
    leader = cluster.elect(1)

    assert list(leader.propose([])) == []
    assert not leader.has_ready()


def test_follower_refuses_proposals_and_names_the_leader() -> None:
    """No forwarding: the router should ask the leader itself."""
    cluster = Cluster()
    cluster.elect(1)

    with pytest.raises(NotLeader) as refused:
        cluster.core(2).propose([b"x"])

    assert (refused.value.leader, refused.value.term) == (1, 1)
    assert str(refused.value) == "not the leader of term 1; leader 1"


def test_window_pauses_by_count_and_opens_with_acknowledgements() -> None:
    """S29: at most so many unanswered appends."""
    config = RaftConfig(node_id=1, in_flight_count_max=2)
    node = leader_with(term=1, config=config)
    settle(node)
    acknowledge(node, 2, 1)

    sent = []
    for _ in range(4):
        node.core.propose([b"x"])
        sent += settle(node)
    to_two = [m for m in sent if m.to == 2]
    opened = [m for m in acknowledge(node, 2, 2) if m.to == 2]

    assert [m.index for m in to_two] == [1, 2]
    assert [(m.index, len(m.entries)) for m in opened] == [(3, 2)]


def test_window_pauses_by_bytes() -> None:
    """S29: one append always passes, a second only below the bound."""
    config = RaftConfig(node_id=1, in_flight_bytes_max=100)
    node = leader_with(term=1, config=config)
    settle(node)
    acknowledge(node, 2, 1)

    node.core.propose([b"x" * 150])
    first = [m for m in settle(node) if m.to == 2]
    node.core.propose([b"y"])
    second = [m for m in settle(node) if m.to == 2]

    assert len(first) == 1
    assert second == []


def test_lost_window_is_found_by_a_heartbeat_and_an_empty_append() -> None:
    """S29: the follower answers heartbeats but has nothing of what was sent."""
    cluster = Cluster(in_flight_count_max=2)
    cluster.elect(1)
    cluster.drop = lambda m: m.to == 3 and m.type == MessageType.APPEND
    for payload in (b"a", b"b", b"c"):
        cluster.propose(1, payload)
    cluster.drop = lambda m: False

    cluster.tick(12)

    assert cluster.commands(3) == [b"a", b"b", b"c"]


def test_unreachable_follower_is_probed_and_returns_to_replicate_without_proposals() -> None:
    """S30: caught up already, but the flow must come back."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.propose(1, b"x")

    leader.peer_unreachable(3)
    leader.peer_unreachable(1)
    leader.peer_unreachable(9)
    flow_broken = {p.node_id: p.flow for p in leader.status().progress}
    cluster.tick(8)

    assert flow_broken == {2: "replicate", 3: "probe"}
    assert {p.flow for p in leader.status().progress} == {"replicate"}


def test_probe_that_was_lost_is_repeated_after_a_heartbeat() -> None:
    """S30: one append in flight, and it is gone."""
    cluster = Cluster()
    cluster.drop = lambda m: m.to == 3 and m.type == MessageType.APPEND
    leader = cluster.elect(1)
    cluster.propose(1, b"x")
    probes = messages_of(cluster, MessageType.APPEND, to=3)
    cluster.drop = lambda m: False

    cluster.tick(8)

    assert len(probes) == 1
    assert cluster.commands(3) == [b"x"]
    assert leader.status().progress[1].flow == "replicate"


def test_backlog_is_paged_by_bytes_and_an_oversize_entry_goes_alone() -> None:
    """S32: nothing is too large to be replicated."""
    cluster = Cluster(append_bytes_max=100)
    cluster.elect(1)
    cluster.drop = lambda m: m.to == 3
    payloads = [b"a" * 60, b"b" * 60, b"c" * 500, b"d" * 10, b"e" * 10]
    cluster.propose(1, *payloads)
    cluster.drop = lambda m: False
    cluster.log_of_messages.clear()

    cluster.tick(16)

    pages = [m.entries for m in messages_of(cluster, MessageType.APPEND, to=3) if m.entries]
    sizes = [[len(entry.payload) for entry in page] for page in pages]
    assert cluster.commands(3) == payloads
    assert [500] in sizes
    assert all(sum(page) <= 100 for page in sizes if page != [500])


def test_proposals_are_refused_when_too_much_is_uncommitted() -> None:
    """S33: with a reason; the first one always passes, and commits make room again."""
    cluster = Cluster(uncommitted_bytes_max=100)
    leader = cluster.elect(1)
    cluster.cut_off = [2, 3]
    cluster.propose(1, b"x" * 90)
    last_index = leader.last_index

    with pytest.raises(ProposalRefused) as refused:
        leader.propose([b"y" * 20])

    assert refused.value.reason is Refusal.TOO_MANY_BYTES
    assert leader.last_index == last_index
    assert leader.status().uncommitted_bytes == 90
    cluster.cut_off = []
    cluster.tick(8)
    assert leader.status().uncommitted_bytes == 0
    cluster.propose(1, b"z" * 5000)
    assert cluster.commands(1)[-1] == b"z" * 5000


def test_hung_follower_does_not_stop_the_others() -> None:
    """S35: it takes nothing and answers nothing; two of three go on."""
    cluster = Cluster(in_flight_count_max=4)
    leader = cluster.elect(1)
    cluster.drop = lambda m: m.to == 3

    for number in range(50):
        cluster.propose(1, b"%d" % number)

    assert leader.commit == 51
    cluster.tick(1)
    assert len(cluster.commands(2)) == 50


def test_leader_commits_by_two_followers_before_its_own_sync() -> None:
    """S38: it replicates in parallel with its own fsync, but applies only what it has itself."""
    node = leader_with(term=1)
    node.core.take_ready()
    node.core.persisted(2)
    node.core.propose([b"x"])
    writing = node.core.take_ready()

    for sender in (2, 3):
        node.core.step(Message(MessageType.APPEND_REPLY, sender, 1, 1, index=2))
    commit = node.core.commit
    early = node.core.take_ready(persist=False)
    node.core.persisted(writing.ticket)
    late = node.core.take_ready()

    assert commit == 2
    assert [entry.index for entry in early.committed] == [1]
    assert [entry.index for entry in late.committed] == [2]


def test_leader_does_not_count_its_own_copy_before_its_sync() -> None:
    """S41: one follower and a disk that has not answered are no quorum."""
    node = leader_with(term=1)
    settle(node)
    acknowledge(node, 2, 1)
    node.core.propose([b"x"])
    writing = node.core.take_ready()

    node.core.step(Message(MessageType.APPEND_REPLY, 2, 1, 1, index=2))
    before = node.core.commit
    node.core.persisted(writing.ticket)

    assert (before, node.core.commit) == (1, 2)


def test_followers_learn_a_commit_at_the_next_tick_or_append() -> None:
    """News of a commit costs no message of its own while writes go on."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.tick(1)
    cluster.propose(1, b"a")
    before = cluster.commands(2)
    cluster.log_of_messages.clear()

    cluster.tick(1)

    assert before == []
    assert cluster.commands(2) == [b"a"]
    assert len(messages_of(cluster, MessageType.HEARTBEAT)) == 2
    cluster.log_of_messages.clear()
    cluster.tick(1)
    assert not cluster.log_of_messages


def test_followers_may_be_told_a_commit_at_once() -> None:
    """A host at rest pays a message, which is not answered, rather than a tick of lag."""
    cluster = Cluster(tells_news=True)
    cluster.elect(1)
    cluster.log_of_messages.clear()

    cluster.propose(1, b"a")

    assert cluster.commands(2) == cluster.commands(3) == [b"a"]
    assert len(messages_of(cluster, MessageType.HEARTBEAT)) == 2
    assert not messages_of(cluster, MessageType.HEARTBEAT_REPLY)


@pytest.mark.parametrize(
    "entries",
    [
        [Entry(5, 1, 0, b"gap")],
        [Entry(2, 9, 0, b"of a term to come")],
        [Entry(2, 1, 0, b""), Entry(3, 0, 0, b"term goes back")],
        [Entry(2, 1, EntryKind.CONFIGURATION, b"nonsense")],
        [Entry(2, 1, EntryKind.CONFIGURATION, Configuration(()).encode())],
    ],
)
def test_malformed_append_is_ignored(entries: list[Entry]) -> None:
    """The network cannot make a core raise, nor write what no leader has sent."""
    node = lone_node(1, entries=entries_of(1), term=1)

    sent = step_synced(node, append(entries, index=1, log_term=1, term=1))

    assert sent == []
    assert terms_of(node) == [1]
    assert node.core.trace[-1] == ("ignored_malformed", 1, 2)


def test_leader_that_contradicts_itself_is_not_acknowledged_twice() -> None:
    """It cannot happen; what was to be acknowledged is gone with the entries."""
    node = lone_node(1, term=2)
    node.core.step(append(entries_of(1, 1, 1), index=0, log_term=0, term=2))
    node.core.step(append(entries_of(2, low=2), index=1, log_term=1, term=2))

    assert [m.index for m in settle(node)] == [2]


def test_impossible_and_foreign_answers_are_ignored() -> None:
    """An acknowledgement of what was never sent, a reject of it, and both from strangers."""
    node = leader_with(term=1)
    settle(node)
    acknowledge(node, 2, 1)
    kinds = (MessageType.APPEND_REPLY, MessageType.HEARTBEAT_REPLY)
    odd = [
        Message(kinds[0], 2, 1, 1, index=99),
        Message(kinds[0], 2, 1, 1, index=99, reject=True, hint=98, hint_term=1),
        Message(kinds[0], 2, 1, 1, index=1, reject=True),
        Message(kinds[0], 3, 1, 1, index=7, reject=True),
        Message(kinds[0], 9, 1, 1, index=1),
        Message(kinds[1], 9, 1, 1),
    ]

    sent = [message for strange in odd for message in step_synced(node, strange)]

    assert sent == []
    assert [(p.match, p.next) for p in node.core.status().progress] == [(1, 2), (0, 1)]


def test_reject_without_a_hint_term_is_followed_as_it_is() -> None:
    """A follower with an empty log knows no term."""
    node = leader_with(1, 1, 1, term=2)
    settle(node)

    reject = Message(MessageType.APPEND_REPLY, 2, 1, 2, index=3, reject=True, hint=1)
    sent = step_synced(node, reject)

    assert [(m.to, m.index, m.log_term) for m in sent] == [(2, 1, 1)]


def test_pipelined_appends_are_acknowledged_once_a_write() -> None:
    """Three appends in one turn, one answer: the highest."""
    node = lone_node(1)
    for index in range(3):
        page = entries_of(1, low=index + 1)
        node.core.step(append(page, index=index, log_term=min(index, 1), term=1))

    now = node.take()
    after = node.sync()

    assert now == []
    assert [(m.index, m.reject) for m in after] == [(3, False)]


def test_hundred_entries_are_applied_in_pages() -> None:
    """One turn's work is bounded; the rest is still ready."""
    cluster = Cluster((1,), committed_bytes_max=100)
    leader = cluster.elect(1)
    leader.propose([b"x" * 30] * 10)
    ready = leader.take_ready()
    cluster.nodes[1].disk.log.write(None, ready.entries)
    leader.persisted(ready.ticket)

    sizes = []
    while leader.has_ready():
        sizes.append(len(leader.take_ready().committed))

    assert sizes == [3, 3, 3, 1]


def test_tail_is_served_from_memory_and_older_entries_from_the_log() -> None:
    """Followers are fed without disk reads while they keep up."""
    cluster = Cluster(cache_bytes_max=2000)
    cluster.elect(1)
    for number in range(50):
        cluster.propose(1, b"%d" % number * 50)
    keeping_up = cluster.nodes[1].disk.log.reads
    cluster.cut_off = [3]
    for number in range(50):
        cluster.propose(1, b"%d" % number * 50)
    cluster.cut_off = []

    cluster.tick(12)

    assert keeping_up == 0
    assert cluster.nodes[1].disk.log.reads > 0
    assert cluster.commands(3) == cluster.commands(1)
