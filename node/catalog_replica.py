"""Group 0 on this node: the catalog's replica and the commands that wait at its leader."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.machine.catalog import CatalogMachine, CatalogResult
from node.replica import Replica
from node.storage.items import ReplicaCheckpoint, ReplicaState
from quorate.cluster.catalog import CATALOG_GROUP, Catalog
from quorate.cluster.outcome import Outcome
from raft.core import RaftCore
from raft.types import ProposalRefused, Role

STATE_GENERATION: Final = 1
"""Under which number the items store keeps the catalog, as its replica's only generation."""

COMMANDS_MAX: Final = 1_000
"""Most catalog commands that wait at the leader. Ours."""

CommandAnswer = Callable[[Outcome, CatalogResult], None]
NO_RESULT: Final = CatalogResult(0)


@dataclass(slots=True)
class _Command:
    """A command, its answer, and the log index it was proposed at (0: not yet)."""

    payload: bytes
    answer: CommandAnswer
    index: int = 0
    term: int = 0


class CatalogReplica(Replica):
    """Applies catalog commands; `on_change` is called with every new catalog."""

    def __init__(
        self,
        core: RaftCore,
        state: ReplicaState,
        machine: CatalogMachine,
        on_change: Callable[[Catalog], None],
    ) -> None:
        """Start from the machine as it was at the applied index of `state`."""
        super().__init__(CATALOG_GROUP, core, state)
        self.machine = machine
        self._on_change = on_change
        self._waiting: list[_Command] = []
        self._proposed: deque[_Command] = deque()

    @property
    def has_waiting(self) -> bool:
        """Whether commands wait for a turn that may write to the log."""
        return bool(self._waiting)

    def change(self, payload: bytes, answer: CommandAnswer) -> None:
        """Propose a command in the next turn; `answer` is called once, whatever happens."""
        if self.core.role is not Role.LEADER:
            answer(Outcome.NOT_LEADER, NO_RESULT)
        elif len(self._waiting) + len(self._proposed) >= COMMANDS_MAX:
            answer(Outcome.OVERLOADED, NO_RESULT)
        else:
            self._waiting.append(_Command(payload, answer))

    def start_waiting(self, now: float) -> None:
        """Propose the commands that wait, each as one entry."""
        if not self._waiting or not self.core.may_evaluate or self.transferring:
            return
        waiting, self._waiting = self._waiting, []
        try:
            indexes = self.core.propose([command.payload for command in waiting])
        except ProposalRefused:
            for command in waiting:
                command.answer(Outcome.OVERLOADED, NO_RESULT)
            return
        for command, index in zip(waiting, indexes, strict=True):
            command.index, command.term = index, self.core.term
            self.milestones.reached(index, len(command.payload), now)
            self._proposed.append(command)

    def apply_command(self, index: int, term: int, payload: bytes) -> None:
        """Apply one command; answer it if it was proposed here."""
        before = self.machine.catalog
        result = self.machine.apply(payload)
        if self._proposed and self._proposed[0].index == index:
            command = self._proposed.popleft()
            if command.term == term:
                command.answer(Outcome.OK, result)
            else:
                command.answer(Outcome.UNKNOWN, NO_RESULT)
        if self.machine.catalog is not before:
            self._on_change(self.machine.catalog)

    def follow_role(self) -> None:
        """Answer what waits when leadership is over."""
        if self.core.role is Role.LEADER:
            if self._proposed and self._proposed[0].term != self.core.term:
                self._end()
            return
        self._end()
        waiting, self._waiting = self._waiting, []
        for command in waiting:
            command.answer(Outcome.NOT_LEADER, NO_RESULT)
        self.refuse_reads()

    def _end(self) -> None:
        while self._proposed:
            self._proposed.popleft().answer(Outcome.UNKNOWN, NO_RESULT)

    def set_aside(self, now: float) -> Callable[[], ReplicaCheckpoint]:
        """Return what stores the whole catalog."""
        del now
        state, encoded = self.state(), self.machine.encode()
        return lambda: ReplicaCheckpoint(self.group, state, (), (STATE_GENERATION, encoded))

    def drop_set_aside(self) -> Callable[[], None]:
        """Return what does nothing: the catalog is small and stays in memory."""
        return lambda: None


class CatalogRead:
    """Answers with the epoch of the newest catalog once leadership is proved."""

    __slots__ = ("_answer",)

    def __init__(self, answer: CommandAnswer) -> None:
        """`answer` is called once."""
        self._answer = answer

    def serve(self, replica: Replica) -> None:
        """Answer with the applied catalog's epoch."""
        assert isinstance(replica, CatalogReplica)
        self._answer(Outcome.OK, CatalogResult(replica.machine.catalog.epoch))

    def refuse(self, outcome: Outcome) -> None:
        """Answer that it was not served."""
        self._answer(outcome, NO_RESULT)
