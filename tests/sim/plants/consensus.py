"""Planted bugs: votes, logs, leaders."""

from __future__ import annotations

from collections.abc import Sequence

from raft import election, following
from raft.leadership import Leadership
from raft.log import RaftLog
from raft.state import RaftState
from raft.types import Message
from tests.sim.plants.registry import Change, plant


@plant
def truncate_committed() -> Sequence[Change]:
    """An append replaces all that follows its previous entry, also what is the same."""
    on_append = following.on_append

    def replacing(core: RaftState, message: Message) -> None:
        log = core.log
        if (
            message.entries
            and log.first_index() <= message.index < log.last_index
            and core.installing is None
            and log.matches(message.index, message.log_term)
        ):
            log.truncate(message.index + 1)
            core.configurations.truncate(message.index + 1)
        on_append(core, message)

    return [(following, "on_append", replacing)]


@plant
def commit_by_counting_older_terms() -> Sequence[Change]:
    """A leader commits entries of older terms by counting their copies (paper, figure 8)."""
    maybe_commit = Leadership._maybe_commit

    def counting(self: Leadership) -> bool:
        start, self._term_start = self._term_start, 0
        try:
            return maybe_commit(self)
        finally:
            self._term_start = start

    return [(Leadership, "_maybe_commit", counting)]


@plant
def vote_for_shorter_log() -> Sequence[Change]:
    """A vote does not look at the candidate's log."""
    return [(RaftLog, "is_covered_by", lambda self, index, term: True)]


@plant
def no_pre_vote() -> Sequence[Change]:
    """A campaign begins with a new term, whatever the others would say."""

    def at_once(core: RaftState) -> None:
        if election.promotable(core):
            election.become_candidate(core, hint=0)

    return [(election, "campaign", at_once)]


@plant
def no_check_quorum() -> Sequence[Change]:
    """A leader that hears nobody goes on leading."""
    heartbeat = Leadership.heartbeat

    def deaf(self: Leadership, ticks: int) -> None:
        for progress in self._others:
            progress.heard = self._clock
        heartbeat(self, ticks)

    return [(Leadership, "heartbeat", deaf)]
