"""What is on disk before what leaves, and what a crash may lose: scenarios S40-S47."""

from random import Random

import pytest

from raft.core import RaftCore
from raft.types import (
    Configuration,
    HardState,
    Message,
    MessageType,
    RaftConfig,
    RecoveryRefused,
    Role,
)
from tests.raft.cluster import Cluster, Disk, MemoryLog, Node
from tests.raft.stories import (
    append,
    entries_of,
    lone_node,
    settle,
    step_synced,
    terms_of,
    vote_request,
)


def test_vote_leaves_only_after_term_and_vote_are_durable() -> None:
    """S40: a crash in between forgets the vote, but nobody has heard of it."""
    node = lone_node(1)
    node.core.step(vote_request(2, to=1, term=3))

    now = node.take()
    node.crash()
    node.start()

    assert now == []
    assert (node.core.term, node.core.vote) == (0, 0)
    node.core.step(vote_request(3, to=1, term=3))
    node.take()
    assert [m.to for m in node.sync()] == [3]


def test_vote_requests_leave_only_after_the_own_vote_is_durable() -> None:
    """S40: else a candidate could forget its term and ask again with a shorter log."""
    node = lone_node(1)
    node.core.campaign()
    asked = node.take()
    node.core.step(Message(MessageType.PRE_VOTE_REPLY, 2, 1, 1))

    now = node.take()
    after = node.sync()

    assert [m.type for m in asked] == [MessageType.PRE_VOTE] * 2
    assert now == []
    assert [m.type for m in after] == [MessageType.VOTE] * 2
    assert (node.disk.hard_state.term, node.disk.hard_state.vote) == (1, 1)


def test_heartbeat_of_a_new_term_is_answered_only_once_the_term_is_durable() -> None:
    """S40: and at once when it is; a read round must not wait for a disk without a reason."""
    node = lone_node(1)
    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 4, sequence=1))
    first = node.take()
    waited = node.sync()

    node.core.step(append(entries_of(4), index=0, log_term=0, term=4))
    node.take()
    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 4, sequence=2))
    during_a_write = node.take()

    assert first == []
    assert [m.sequence for m in waited] == [1]
    assert [m.sequence for m in during_a_write] == [2]


def test_answer_that_waited_for_a_term_already_being_written_leaves_when_it_is() -> None:
    """It needs no write of its own."""
    node = lone_node(1)
    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 4, sequence=1))
    node.take()
    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 4, sequence=2))
    early = node.take()
    node.sync()

    late = node.take()

    assert early == []
    assert [m.sequence for m in late] == [2]
    assert node.writing is None


def test_append_is_acknowledged_only_after_its_entries_are_durable() -> None:
    """S41: the acknowledgement waits for the same ticket."""
    node = lone_node(1)
    node.core.step(append(entries_of(1, 1), index=0, log_term=0, term=1, commit=2))

    now = node.take()
    held = node.core.commit
    applied_before = node.core.applied
    after = node.sync()
    node.take()

    assert now == []
    assert [(m.type, m.index) for m in after] == [(MessageType.APPEND_REPLY, 2)]
    assert (held, applied_before, node.core.applied) == (2, 0, 2)


def test_repeated_append_of_entries_in_flight_waits_for_them() -> None:
    """S41: a duplicate must not be acknowledged from memory."""
    node = lone_node(1)
    page = append(entries_of(1), index=0, log_term=0, term=1)
    node.core.step(page)
    node.take()

    node.core.step(page)
    early = node.take()
    still_due = node.core.has_ready()
    node.sync()
    late = node.take()

    assert early == []
    assert still_due
    assert [(m.type, m.index) for m in late] == [(MessageType.APPEND_REPLY, 1)]
    assert node.writing is None


def test_what_arrives_during_a_write_is_the_next_one() -> None:
    """Group commit: take_ready(False) leaves entries, hard state and answers where they are."""
    node = lone_node(1)
    node.core.step(append(entries_of(1), index=0, log_term=0, term=1))
    node.take()
    first = node.writing
    node.core.step(append(entries_of(1, low=2), index=1, log_term=1, term=1, commit=1))
    node.core.step(append(entries_of(2, low=3), index=2, log_term=1, term=2, commit=1))

    during = node.core.take_ready(persist=False)
    node.sync()
    now = node.take()

    assert first is not None
    assert (during.ticket, during.entries, during.hard_state, during.send_after) == (
        0,
        [],
        None,
        [],
    )
    assert during.role_changed
    assert now == []
    assert node.writing is not None
    assert [entry.index for entry in node.writing.entries] == [2, 3]
    assert node.writing.hard_state == HardState(2, 0, 1)
    assert node.writing.ticket == first.ticket + 1
    assert [(m.index, m.term) for m in node.sync()] == [(3, 2)]


def test_write_in_flight_that_was_truncated_does_not_count_as_durable() -> None:
    """The ABA case: the same index comes back with another term before the old write ends."""
    node = lone_node(1)
    node.core.step(append(entries_of(1, 1, 1), index=0, log_term=0, term=1))
    node.take()
    node.core.step(append(entries_of(2, 2, low=2), index=1, log_term=1, term=2))

    node.sync()
    durable_after_first = node.core.log.durable
    sent = node.take()
    writing = node.writing

    assert durable_after_first == 1
    assert sent == []
    assert writing is not None
    assert writing.truncate_from == 2
    assert [(m.index, m.term) for m in node.sync()] == [(3, 2)]
    assert terms_of(node) == [1, 2, 2]


def test_acknowledgement_for_a_deposed_leader_is_dropped() -> None:
    """Its term is over before the entries were durable."""
    node = lone_node(1)
    node.core.step(append(entries_of(1), index=0, log_term=0, term=1))
    node.core.step(vote_request(3, to=1, term=2, index=9, log_term=9))
    node.core.peer_unreachable(2)
    node.core.step(vote_request(3, to=1, term=2, index=9, log_term=9))

    node.take()
    after = node.sync()

    assert [(m.type, m.to) for m in after] == [(MessageType.VOTE_REPLY, 3)]


def test_leaders_appends_leave_before_its_own_sync() -> None:
    """Replicate in parallel with the fsync: the leader's term is durable already."""
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose([b"x"])

    ready = leader.take_ready()

    assert ready.ticket > 0
    assert [m.type for m in ready.send_now] == [MessageType.APPEND] * 2
    assert ready.send_after == []


def test_commit_index_alone_is_never_written() -> None:
    """S46: it travels with the next write; a restart with a stale one is harmless."""
    node = lone_node(1)
    step_synced(node, append(entries_of(1, 1), index=0, log_term=0, term=1))

    node.core.step(Message(MessageType.HEARTBEAT, 2, 1, 1, commit=2))
    ready = node.core.take_ready()
    node.crash()
    node.start()

    assert (ready.ticket, ready.hard_state) == (0, None)
    assert [entry.index for entry in ready.committed] == [1, 2]
    assert node.core.commit == 0
    step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 1, commit=2))
    assert [payload for _, payload in node.state] == [b"1.1", b"2.1"]


def test_three_restarts_at_once_lose_nothing_acknowledged() -> None:
    """S43: terms go on upward."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    term = cluster.core(1).term

    for node_id in (1, 2, 3):
        cluster.restart(node_id)
    cluster.tick(60)

    (leader,) = cluster.leaders()
    assert cluster.core(leader).term > term
    assert [cluster.commands(node_id) for node_id in (1, 2, 3)] == [[b"a", b"b"]] * 3


def test_restart_replays_from_the_applied_index() -> None:
    """S47: nothing twice, nothing missing."""
    cluster = Cluster((1,))
    cluster.elect(1)
    cluster.propose(1, b"a")
    cluster.nodes[1].checkpoint()
    cluster.propose(1, b"b", b"c")

    cluster.restart(1)
    at_start = cluster.core(1).applied
    cluster.tick(40)

    assert at_start == 2
    assert cluster.commands(1) == [b"a", b"b", b"c"]


def test_known_commits_are_handed_out_at_once_after_a_restart() -> None:
    """S47: hard state knew of them."""
    node = lone_node(1, entries=entries_of(1, 1), term=1, commit=2)

    settle(node)

    assert node.core.applied == 2


def test_leader_that_crashed_before_its_sync_may_lose_what_nobody_acknowledged() -> None:
    """S41: but what one follower and it had synced stays."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.propose(1, b"kept")
    leader.propose([b"lost"])
    cluster.nodes[1].take()

    cluster.restart(1)
    cluster.tick(60)

    (new_leader,) = cluster.leaders()
    cluster.propose(new_leader, b"next")
    cluster.tick(8)
    assert [cluster.commands(i) for i in (1, 2, 3)] == [[b"kept", b"next"]] * 3


def test_persisted_must_name_the_ticket_in_flight() -> None:
    """A host that confuses tickets has a bug."""
    node = lone_node(1)
    node.core.step(vote_request(2, to=1, term=1))
    ready = node.core.take_ready()

    with pytest.raises(AssertionError):
        node.core.persisted(ready.ticket + 1)
    with pytest.raises(AssertionError):
        node.core.persisted(0)


def test_only_one_ticket_may_be_in_flight() -> None:
    """A host that takes another write meanwhile has a bug."""
    node = lone_node(1)
    node.core.step(vote_request(2, to=1, term=1))
    node.core.take_ready()
    node.core.step(append(entries_of(2), index=0, log_term=0, term=2))

    with pytest.raises(AssertionError):
        node.core.take_ready()


@pytest.mark.parametrize(
    ("hard_state", "log", "applied", "words"),
    [
        (HardState(1, 0, 3), MemoryLog(entries_of(1)), 0, "commit 3, but the log ends at 1"),
        (HardState(1, 0, 0), MemoryLog(entries_of(1)), 2, "applied 2, but the log ends at 1"),
        (HardState(1), MemoryLog(cut_index=5, cut_term=1), 3, "applied 3, but the log begins at 6"),
        (HardState(1), MemoryLog(entries_of(2)), 0, "term 1, but the log ends in 2"),
    ],
)
def test_replica_refuses_to_start_when_durable_state_is_missing(
    hard_state: HardState, log: MemoryLog, applied: int, words: str
) -> None:
    """Data were lost: such a replica must not vote."""
    disk = Disk(Configuration((1, 2, 3)), hard_state, log, applied, applied_term=0)

    with pytest.raises(RecoveryRefused, match=words):
        Node(RaftConfig(node_id=1), replace_start(disk), Random(1))


def test_replica_refuses_a_log_of_another_history_than_what_is_applied() -> None:
    """S61: a host that forgot to reset the log after a crash in an install."""
    with pytest.raises(RecoveryRefused, match="applied 2 of term 2, but the log has term 1"):
        RaftCore(
            RaftConfig(node_id=1),
            hard_state=HardState(2),
            configuration=Configuration((1, 2, 3)),
            log=MemoryLog(entries_of(1, 1, 1)),
            applied=2,
            applied_term=2,
            rng=Random(1),
        )


def replace_start(disk: Disk) -> Disk:
    """Keep the test's node from repairing the disk, as it would after a crash in an install."""
    disk.log.reset = lambda index, term: None  # type: ignore[method-assign]
    return disk


def test_role_change_is_reported_once() -> None:
    """Role, term or leader: the host answers its waiting requests then."""
    node = lone_node(1)
    node.core.campaign()

    changes = [node.core.take_ready().role_changed for _ in range(2)]

    assert changes == [True, False]
    assert node.core.role is Role.PRE_CANDIDATE
