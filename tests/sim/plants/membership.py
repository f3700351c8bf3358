"""Planted bugs: who has a say in a group, and from when on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node import join, memberships
from node.acquaintances import Acquaintances, Introduction, Verdict
from node.join import Step
from node.memberships import Memberships
from node.replica import Replica
from node.storage.identity import Identity
from quorate.cluster.commands import MoveReplica
from quorate.v1 import node_pb2
from raft import election
from raft.configuration import ConfigurationHistory
from raft.core import RaftCore
from raft.leadership import Leadership
from raft.quorum import Tally, tally
from raft.state import RaftState
from raft.types import Configuration, Role
from tests.sim import joining, nodes
from tests.sim.nodes import SimulatedNode
from tests.sim.plants.registry import Change, plant


@plant
def learner_counted_for_commit() -> Sequence[Change]:
    """A learner's copy counts in place of a voter's."""
    maybe_commit = Leadership._maybe_commit

    def counting(self: Leadership) -> bool:
        kept = self._voters
        learners = self._core.configurations.current.learners
        everybody = [*kept, *(self.progress[learner] for learner in learners)]
        everybody.sort(key=lambda progress: progress.match, reverse=True)
        self._voters = everybody[: len(kept)]
        try:
            return maybe_commit(self)
        finally:
            if self._core.leadership is self and self._voters == everybody[: len(kept)]:
                self._voters = kept

    return [(Leadership, "_maybe_commit", counting)]


@plant
def learner_promoted_before_it_caught_up() -> Sequence[Change]:
    """A learner becomes a voter at once."""
    at_once = staticmethod(lambda replica, learner: True)
    return [(Memberships, "_has_caught_up", at_once)]


@plant
def configuration_stays_when_its_entry_is_truncated() -> Sequence[Change]:
    """A configuration whose entry another leader has overwritten stays in effect."""

    def truncate(self: ConfigurationHistory, index: int) -> bool:
        kept = self.current
        changed = original(self, index)
        self.current = kept
        return changed

    original = ConfigurationHistory.truncate
    return [(ConfigurationHistory, "truncate", truncate)]


@plant
def joint_votes_of_one_half() -> Sequence[Change]:
    """In a joint configuration the votes of the new half are enough."""

    def one_half(configuration: Configuration, votes: Mapping[int, bool]) -> Tally:
        return tally(Configuration(configuration.voters), votes)

    return [(election, "tally", one_half)]


@plant
def joint_commit_of_one_half() -> Sequence[Change]:
    """In a joint configuration the copies of the new half are enough."""
    follow = Leadership.configuration_changed

    def forgetting(self: Leadership) -> None:
        follow(self)
        self._voters_outgoing = []

    return [(Leadership, "configuration_changed", forgetting)]


@plant
def votes_of_the_former_members_count() -> Sequence[Change]:
    """Votes are counted by the last configuration that is committed, not by the newest."""
    count = election._count

    def by_former(core: RaftState) -> None:
        configurations = core.configurations
        kept = configurations.current
        configurations.current = configurations._history[0][1]
        try:
            count(core)
        finally:
            if configurations.current is configurations._history[0][1]:
                configurations.current = kept

    return [(election, "_count", by_former)]


@plant
def catalog_told_before_the_change_is_committed() -> Sequence[Change]:
    """The catalog hears of a move when it is proposed; it may never happen."""
    step = Memberships._step

    def hasty(
        self: Memberships,
        replica: Replica,
        old: int,
        new: int,
        now: float,
        replacements: Mapping[int, int],
    ) -> None:
        step(self, replica, old, new, now, replacements)
        group, proposed = replica.group, replica.core.configuration
        if new in proposed.voters:
            request_id = memberships._REQUEST_ID.pack(b"move", group, old, new)
            self._tell(MoveReplica(request_id, group, old, new), now)

    return [(Memberships, "_step", hasty)]


@plant
def members_change_before_own_commit() -> Sequence[Change]:
    """A new leader changes members before an entry of its own term is committed."""

    def unchecked(self: Leadership) -> None:
        return None

    eager = property(lambda core: core.role is Role.LEADER)
    return [(Leadership, "_check_change_allowed", unchecked), (RaftCore, "may_evaluate", eager)]


@plant
def empty_directory_takes_part() -> Sequence[Change]:
    """A node that is back with an empty directory takes part as before."""

    def welcome(self: Acquaintances, introduction: Introduction) -> Verdict:
        return Verdict.WELCOME

    def take_part(node: SimulatedNode) -> Step:
        return Step.TAKE_PART if node.id else joining.next_step(node)

    return [(nodes, "next_step", take_part), (Acquaintances, "meet", welcome)]


@plant
def empty_directory_takes_part_among_starting_nodes() -> Sequence[Change]:
    """Nodes that have no catalog to show yet do not keep an empty directory out."""

    def trusting(identity: Identity, answer: node_pb2.IdentifyResponse) -> bool:
        return False

    return [(join, "_knows_another_directory", trusting)]


@plant
def replaced_node_goes_on() -> Sequence[Change]:
    """A node that was replaced does not notice, and nobody tells it."""
    never = property(lambda self: False)
    keep = Acquaintances.meet

    def welcome(self: Acquaintances, introduction: Introduction) -> Verdict:
        verdict = keep(self, introduction)
        return Verdict.WELCOME if verdict is Verdict.REMOVED else verdict

    return [(Acquaintances, "has_been_removed", never), (Acquaintances, "meet", welcome)]
