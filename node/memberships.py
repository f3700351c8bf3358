"""Brings the members of each group to what the catalog wants, one step at a time.

The catalog says which node takes whose place. The leader of each group that the old node holds
adds the new one as a learner, lets it catch up, swaps the two in one joint configuration, and
tells the catalog; the catalog's leader forgets the old node once it holds nothing. Every step is
decided from the present state alone, so whoever leads goes on where another one stopped.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Mapping
from typing import Final, Protocol

from node.replica import Replica
from quorate.cluster.catalog import CATALOG_GROUP, Catalog
from quorate.cluster.commands import CatalogCommand, MoveReplica, RemoveNode
from quorate.troubles import Troubles
from raft.core import ConfigurationChange
from raft.types import ProposalRefused, Role

STEP_SECONDS: Final = 0.25
"""How often a leader looks whether there is a next step. Ours."""

TELL_SECONDS: Final = 2.0
"""How long a leader waits for the catalog to change before it tells it again. Ours."""

LAG_ENTRIES_MAX: Final = 64
"""How far behind a learner may be to become a voter. Ours: under load it is never quite level, and
this many small entries go in one message."""

_REQUEST_ID: Final = struct.Struct(">4sIII")


class Shell(Protocol):
    """The part of the host's shell that membership needs."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    def change_catalog(self, command: CatalogCommand) -> None:
        """Have the catalog's leader apply a command, wherever it is; it may be lost."""
        ...

    def log(self, event: str, **facts: object) -> None:
        """Log one fact."""
        ...


class Memberships:
    """Decides for one node. `mark` is told of every replica whose core was touched."""

    def __init__(
        self,
        node_id: int,
        replicas: Mapping[int, Replica],
        mark: Callable[[Replica], None],
        transfer: Callable[[int, int], bool],
        shell: Shell,
    ) -> None:
        """`replicas` is the host's, by group; `transfer` hands a group's leadership over."""
        self._node_id = node_id
        self._replicas = replicas
        self._mark = mark
        self._transfer = transfer
        self._shell = shell
        self._refused = Troubles("membership_refused", clock=shell.monotonic, say=shell.log)
        self.proposed = 0  # configurations, in this process's life
        self._step_at = 0.0
        self._tell_at: dict[CatalogCommand, float] = {}

    def tick(self, now: float, catalog: Catalog) -> None:
        """Take the steps that are due."""
        if now < self._step_at or not catalog.replacements:
            return
        self._step_at = now + STEP_SECONDS
        self._tell_at = {command: at for command, at in self._tell_at.items() if at > now}
        for old, new in catalog.replacements.items():
            held = [group for group, nodes in catalog.replicas_of.items() if old in nodes]
            for group in held:
                replica = self._replicas.get(group)
                if replica is not None and replica.core.role is Role.LEADER:
                    self._step(replica, old, new, now, catalog.replacements)
            awaited = old in catalog.next_replacements.values()
            if not held and not awaited and self._leads_catalog():
                self._tell(RemoveNode(_REQUEST_ID.pack(b"gone", 0, old, new), old), now)

    def _leads_catalog(self) -> bool:
        replica = self._replicas.get(CATALOG_GROUP)
        return replica is not None and replica.core.role is Role.LEADER

    def _step(
        self, replica: Replica, old: int, new: int, now: float, replacements: Mapping[int, int]
    ) -> None:
        """Take a group's next step; `replacements` are the catalog's.

        Whoever was to be replaced by a node that is lost by now may be gone already, and that node
        in its place: all whose place the new one takes go at once.
        """
        group, core = replica.group, replica.core
        applied = replica.configuration
        leaving = {voter for voter in applied.voters if replacements.get(voter) == new}
        if not applied.joint and new in applied.voters and not leaving:
            # In force and committed: the group cannot go back.
            self._tell(
                MoveReplica(_REQUEST_ID.pack(b"move", group, old, new), group, old, new), now
            )
            return
        wanted = core.configuration
        if wanted.joint or wanted != applied or not core.may_evaluate or replica.transferring:
            return
        coming = replacements.values()
        learners = tuple(learner for learner in wanted.learners if learner in coming)
        if new not in wanted.members():
            change = ConfigurationChange(wanted.voters, (*learners, new))
        elif not self._has_caught_up(replica, new):
            return
        elif self._node_id in leaving:
            self._hand_over(replica, leaving)
            return
        else:
            change = ConfigurationChange(
                voters=(*(voter for voter in wanted.voters if voter not in leaving), new),
                learners=tuple(learner for learner in learners if learner != new),
            )
        try:
            core.propose_configuration(change)
        except ProposalRefused as refusal:
            self._refused.met(group, group=group, reason=refusal)
            return
        self._refused.over(group)
        self.proposed += 1
        self._shell.log(
            "membership_changing", group=group, voters=change.voters, learners=change.learners
        )
        self._mark(replica)

    @staticmethod
    def _has_caught_up(replica: Replica, learner: int) -> bool:
        return any(
            progress.node_id == learner
            and progress.active
            and progress.match + LAG_ENTRIES_MAX >= replica.core.last_index
            for progress in replica.core.status().progress
        )

    def _hand_over(self, replica: Replica, leaving: Container[int]) -> None:
        """Let another voter lead before this node leaves: else the group would wait for one."""
        voters = [
            progress
            for progress in replica.core.status().progress
            if progress.active and not progress.learner and progress.node_id not in leaving
        ]
        if voters:
            best = max(voters, key=lambda progress: progress.match)
            self._transfer(replica.group, best.node_id)

    def _tell(self, command: CatalogCommand, now: float) -> None:
        if command not in self._tell_at:
            self._tell_at[command] = now + TELL_SECONDS
            self._shell.change_catalog(command)
