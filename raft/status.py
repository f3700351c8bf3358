"""What a replica shows of itself, for people and metrics."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft.types import NO_NODE, Configuration, Role

if TYPE_CHECKING:
    from raft.core import RaftCore


@dataclass(frozen=True, slots=True)
class ProgressStatus:
    """A leader's view of one member, for people and metrics."""

    node_id: int
    match: int
    next: int
    flow: str
    active: bool
    learner: bool


@dataclass(frozen=True, slots=True)
class Status:
    """One replica at one moment, for people and metrics."""

    node_id: int
    role: Role
    term: int
    vote: int
    leader: int
    commit: int
    applied: int
    first_index: int
    last_index: int
    durable_index: int
    configuration: Configuration
    may_evaluate: bool
    transferee: int
    uncommitted_bytes: int
    installing: bool
    progress: tuple[ProgressStatus, ...]


def describe(core: "RaftCore") -> Status:
    """Return how a replica is, with its view of the others if it leads."""
    leadership = core.leadership
    return Status(
        node_id=core.node_id,
        role=core.role,
        term=core.term,
        vote=core.vote,
        leader=core.leader,
        commit=core.commit,
        applied=core.applied,
        first_index=core.log.first_index(),
        last_index=core.log.last_index,
        durable_index=core.log.durable,
        configuration=core.configurations.current,
        may_evaluate=core.may_evaluate,
        transferee=leadership.transferee if leadership else NO_NODE,
        uncommitted_bytes=leadership.uncommitted_bytes if leadership else 0,
        installing=core.installing is not None,
        progress=leadership.describe() if leadership else (),
    )
