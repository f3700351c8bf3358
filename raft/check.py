"""Checks of one replica as a whole: what must hold between any two calls of the core.

Tests and simulations run `check_core` after every step; a host may run it now and then.
"""

from itertools import pairwise

from raft.election import promotable
from raft.leadership import Leadership
from raft.log import RaftLog
from raft.progress import Flow, Progress
from raft.state import RaftState
from raft.types import NO_NODE, Role


def check_core(core: RaftState) -> None:
    """Assert everything that must hold for one replica."""
    log = core.log
    check_log(log)
    assert 0 <= core.applied <= core.applying <= core.commit <= log.last_index
    assert log.first_index() - 1 <= core.applied
    assert log.last_term <= core.term
    assert (core.role is Role.LEADER) == (core.leadership is not None)
    assert (core.role is Role.LEADER) == (core.leader == core.node_id)
    if core.role in (Role.PRE_CANDIDATE, Role.CANDIDATE):
        assert core.leader == NO_NODE
        assert promotable(core)
    else:
        assert not core.votes
    if core.role in (Role.CANDIDATE, Role.LEADER):
        assert core.vote == core.node_id
    assert core.leader in (NO_NODE, core.leader_of_term)
    assert core.saved_term <= core.term
    if core.saved_term == core.term:
        assert core.saved_vote in (NO_NODE, core.vote)
    assert core.ack_index <= log.last_index
    if core.installing is not None:
        assert core.role is Role.FOLLOWER
        assert core.installing.index > core.commit
    assert core.configurations.index <= log.last_index
    current = core.configurations.current
    for learner in current.learners:
        assert not current.is_voter(learner)
    if core.leadership is not None:
        check_leadership(core, core.leadership)


def check_log(log: RaftLog) -> None:
    """Assert that the parts of the log fit together."""
    assert log.first_index() - 1 <= log.durable <= log.taken <= log.last_index
    if log.truncate_from is not None:
        assert log.durable < log.truncate_from
        assert log.truncate_from == log.taken + 1
    assert log.term(log.last_index) == log.last_term
    low = max(log.first_index(), log.durable)
    if low <= log.last_index:
        entries = log.entries(low, log.last_index + 1, 1 << 62)
        term = log.term(low - 1)
        for index, entry in enumerate(entries, low):
            assert entry.index == index
            assert entry.term >= term
            term = entry.term


def check_leadership(core: RaftState, leadership: Leadership) -> None:
    """Assert that a leader's view of the members is possible."""
    members = core.configurations.current.members()
    assert sorted(leadership.progress) == sorted({*members, core.node_id})
    assert leadership.progress[core.node_id].match == core.log.durable
    assert leadership.uncommitted_bytes >= 0
    assert leadership.transferee in (NO_NODE, *core.configurations.current.voters)
    assert leadership.transferee != core.node_id
    assert leadership.progress[core.node_id].flow is Flow.PROBE
    for progress in leadership.progress.values():
        check_progress(progress)
        assert progress.next <= core.log.last_index + 1


def check_progress(progress: Progress) -> None:
    """Assert that one member's progress is consistent in itself."""
    assert 0 <= progress.match < progress.next
    assert progress.snapshot_index >= 0
    assert progress.in_flight_bytes == sum(size for _, size in progress.in_flight)
    if progress.flow is Flow.REPLICATE:
        indexes = [progress.match, *[last for last, _ in progress.in_flight], progress.next]
        assert all(before < after for before, after in pairwise(indexes))
    else:
        assert not progress.in_flight
