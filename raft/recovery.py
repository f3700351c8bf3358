"""What a replica starts from: what was found on disk, checked against itself.

A replica that has lost something durable must not vote: it may have promised it.
"""

from typing import Final

from raft.configuration import ConfigurationHistory, decode_entry
from raft.log import RaftLog
from raft.types import MIB, Configuration, EntryKind, HardState, RecoveryRefused

SCAN_BYTES_MAX: Final = MIB
"""Payload bytes read at once while the log is searched for configurations. Ours."""


def check_recovered(log: RaftLog, hard_state: HardState, applied: int, applied_term: int) -> None:
    """Raise RecoveryRefused if something durable is missing; `applied_term` 0 means unknown."""
    if hard_state.commit > log.last_index:
        raise RecoveryRefused(f"commit {hard_state.commit}, but the log ends at {log.last_index}")
    if applied > log.last_index:
        raise RecoveryRefused(f"applied {applied}, but the log ends at {log.last_index}")
    if log.first_index() > applied + 1:
        raise RecoveryRefused(f"applied {applied}, but the log begins at {log.first_index()}")
    if applied_term and log.term(applied) != applied_term:
        raise RecoveryRefused(
            f"applied {applied} of term {applied_term}, but the log has term {log.term(applied)}"
        )
    if log.last_term > hard_state.term:
        raise RecoveryRefused(f"term {hard_state.term}, but the log ends in {log.last_term}")


def find_configurations(
    log: RaftLog, configuration: Configuration, *, applied: int, commit: int
) -> ConfigurationHistory:
    """Return what is in effect: the configuration as of `applied`, and those in the log above."""
    history = ConfigurationHistory(applied, configuration)
    low, high = applied + 1, log.last_index + 1
    while low < high:
        entries = log.entries(low, high, SCAN_BYTES_MAX)
        for entry in entries:
            if entry.kind == EntryKind.CONFIGURATION:
                history.append(entry.index, decode_entry(entry))
        low = entries[-1].index + 1
    history.settle(commit)
    return history
