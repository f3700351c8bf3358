"""Whether a group's log and its items can be what one replica has left behind."""

from __future__ import annotations

from typing import Final

from node.storage.errors import StoresDisagree
from raft.log import RaftLog
from raft.recovery import check_recovered
from raft.types import HardState, LogReader, RecoveryRefused

_NO_CACHE: Final = 0


def is_older_log(log: LogReader, applied: int, applied_term: int) -> bool:
    """Return whether a log is of before the snapshot that its items are from."""
    return applied > log.last_index() or (
        applied >= log.first_index() and log.term(applied) != applied_term
    )


def check_agreement(
    group: int, log: LogReader, hard_state: HardState, *, applied: int, applied_term: int
) -> None:
    """Raise StoresDisagree if no replica can start from the two. Reads no entry.

    A log that is older than its items is reset at the start: then only its commit index counts.
    """
    if is_older_log(log, applied, applied_term):
        if hard_state.commit > applied:
            why = f"commit {hard_state.commit}, but the items end at {applied}"
            raise StoresDisagree(group, why)
        return
    try:
        check_recovered(RaftLog(log, cache_bytes_max=_NO_CACHE), hard_state, applied, applied_term)
    except RecoveryRefused as error:
        raise StoresDisagree(group, str(error)) from error
