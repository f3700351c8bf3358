"""Where leaderships should be: first campaigns, balance, handing over before a stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Final

from node.replica import PartitionReplica, Replica
from quorate.cluster.catalog import CATALOG_GROUP, Catalog
from quorate.troubles import Troubles
from raft.progress import Flow
from raft.types import NO_NODE, ProposalRefused, Role

BALANCE_SECONDS: Final = 1.0
"""How often a leader looks whether the preferred replica could take over, and a node whether a
second leader was refused. Ours."""

SETTLED_SECONDS: Final = 5.0
"""How long a group must have had its leader before leadership is moved for balance. Ours."""

LAG_ENTRIES_MAX: Final = 16
"""How far behind a preferred replica may be to be handed a leadership: proposals stop until it has
caught up, so it must be near. Under load it is never quite level. Ours."""

FIRST_CAMPAIGN_TICKS: Final = 3
"""When a preferred leader first campaigns, after its replica was made or a peer can be reached
again, and between two of its first campaigns. Ours: its peers mostly make theirs within some
milliseconds, and campaign later than this."""

FIRST_CAMPAIGNS_MAX: Final = 6
"""How often it does so before it leaves that to the election timer. Ours: a peer that has not heard
of the catalog yet has no replica to answer with; most have within a second."""


@dataclass(slots=True)
class _FirstCampaigns:
    """Those of one group that are still to come."""

    ticks: int = FIRST_CAMPAIGN_TICKS  # until the next one
    left: int = FIRST_CAMPAIGNS_MAX


class Leaderships:
    """Decides for one node. `mark` is told of every replica whose core was touched."""

    def __init__(
        self,
        node_id: int,
        replicas: Mapping[int, Replica],
        mark: Callable[[Replica], None],
        log: Callable[..., None],
        clock: Callable[[], float],
    ) -> None:
        """`replicas` is the host's, by group. `clock` tells seconds, and never goes back."""
        self._node_id = node_id
        self._replicas = replicas
        self._mark = mark
        self._log = log
        self._refused = Troubles("transfer_refused", clock=clock, say=log)
        self._campaigns: dict[int, _FirstCampaigns] = {}
        self._changed_at: dict[int, float] = {}
        self._drained: dict[int, tuple[int, set[int]]] = {}  # group -> term, heirs tried
        self._elected: set[int] = set()  # groups led here that cannot evaluate yet
        self._balance_at = 0.0
        self.silent: set[int] = set()  # nodes that a group has given up as its leader, since silent
        self.second_leaders_refused = 0  # messages, in this process's life

    def campaign_soon(self, group: int) -> None:
        """Let this node's replica campaign in some ticks, and again, until a leader is known."""
        self._campaigns.setdefault(group, _FirstCampaigns())

    def changed(self, replica: Replica, now: float) -> None:
        """Take note that a group's leader or term has changed."""
        group, core = replica.group, replica.core
        self._changed_at[group] = now
        self._elected.discard(group)
        if core.role is Role.LEADER:
            self._elected.add(group)
            self._log("leader_elected", group=group, term=core.term)

    def applied(self, replica: Replica) -> None:
        """Take note that entries of a group were applied."""
        if replica.group in self._elected and replica.core.may_evaluate:
            self._elected.discard(replica.group)
            self._log("leader_serves", group=replica.group, term=replica.core.term)

    def peer_connected(self, node_id: int, catalog: Catalog) -> None:
        """Take note that a node can be asked for its vote: where nobody leads, campaign soon.

        The preferred replica asks first.
        """
        for group, replica in self._replicas.items():
            if not replica.core.leader:
                replica.core.peer_reachable(node_id)
                if self._node_id == _preferred(group, catalog):
                    self.campaign_soon(group)

    def tick(self, count: int, now: float, catalog: Catalog) -> None:
        """Let `count` ticks pass."""
        if self.silent:
            self._suspect()
        if self._campaigns:
            self._campaign_first(count)
        if now >= self._balance_at:
            self._balance_at = now + BALANCE_SECONDS
            self._audit()
            if not self._drained:
                self._balance(now, catalog)

    def give_up(self) -> None:
        """Step down everywhere: this node's disk does not serve."""
        for replica in self._replicas.values():
            if replica.core.role is Role.LEADER:
                replica.core.step_down()
                self._mark(replica)

    def drain(self) -> bool:
        """Hand every leadership to the replica that is furthest; return whether that is done.

        Done means that the new leader serves: until then this replica's vote and acknowledgements
        may be what it waits for. Each group goes once, or to each replica once if a transfer is
        aborted: when all nodes stop together, leaderships must not go in circles.
        """
        done = True
        for replica in self._replicas.values():
            core = replica.core
            if core.role is not Role.LEADER:
                if replica.group in self._drained:
                    done = done and core.leader != NO_NODE and replica.applied_term == core.term
                continue
            term, tried = self._drained.setdefault(replica.group, (core.term, set()))
            if term == core.term and not replica.transferring:
                heir = self._heir(replica, tried)
                if heir is not None:
                    tried.add(heir)
                    self.transfer(replica.group, heir)
            done = done and not replica.transferring
        return done

    def _heir(self, replica: Replica, tried: Set[int]) -> int | None:
        """Return the voter that is furthest of those heard lately, None if there is none."""
        others = [
            progress
            for progress in replica.core.status().progress
            if progress.active and not progress.learner and progress.node_id not in tried
        ]
        # One whose stream broke is probed until it answers on a new one.
        best = max(
            others,
            key=lambda progress: (progress.flow == Flow.REPLICATE.value, progress.match),
            default=None,
        )
        return None if best is None else best.node_id

    def transfer(self, group: int, to: int) -> bool:
        """Hand a group's leadership over; False if this node does not lead it or may not."""
        replica = self._replicas.get(group)
        if replica is None or replica.core.role is not Role.LEADER:
            return False
        try:
            replica.core.transfer_leader(to)
        except ProposalRefused as refusal:
            self._refused.met(group, group=group, to=to, reason=refusal)
            return False
        self._refused.over(group)
        self._log("handing_over", group=group, to=to, term=replica.core.term)
        self._mark(replica)
        return True

    def _campaign_first(self, count: int) -> None:
        for group, campaigns in list(self._campaigns.items()):
            campaigns.ticks -= count
            if campaigns.ticks > 0:
                continue
            replica = self._replicas[group]
            core = replica.core
            campaigns.ticks = FIRST_CAMPAIGN_TICKS
            campaigns.left -= 1
            if core.leader or not campaigns.left:
                del self._campaigns[group]
            if not core.leader and core.role is not Role.CANDIDATE:  # that one waits for its votes
                core.campaign()
                self._mark(replica)

    def _suspect(self) -> None:
        """Tell all groups of the leaders that one of them has given up.

        It was their node that fell silent: a leader's heartbeats to all its groups come together.
        Else each group would wait for a time of its own, and the last ones for twice the shortest.
        """
        followed = set()
        for replica in self._replicas.values():
            leader = replica.core.leader
            if leader in self.silent:
                followed.add(leader)
                replica.core.suspect(leader)
                if replica.core.leader != leader:
                    self._mark(replica)
        self.silent &= followed

    def _audit(self) -> None:
        """Tell of second leaders of a term: one line a group, however many messages there were."""
        for group, replica in self._replicas.items():
            core = replica.core
            count, core.second_leaders_refused = core.second_leaders_refused, 0
            if count:
                self.second_leaders_refused += count
                self._log(
                    "second_leader_refused",
                    group=group,
                    term=core.term,
                    leader=core.leader_of_term,
                    sender=core.second_leader,
                    count=count,
                )

    def _balance(self, now: float, catalog: Catalog) -> None:
        """Hand at most one settled group to its preferred leader, if that has nearly all."""
        for group, replica in self._replicas.items():
            core = replica.core
            if (
                not isinstance(replica, PartitionReplica)
                or core.role is not Role.LEADER
                or replica.transferring
                or now - self._changed_at.get(group, now) < SETTLED_SECONDS
            ):
                continue
            preferred = _preferred(group, catalog)
            if preferred == self._node_id:
                continue
            for progress in core.status().progress:
                if (
                    progress.node_id == preferred
                    and progress.active
                    and progress.match + LAG_ENTRIES_MAX >= core.last_index
                ):
                    self.transfer(group, preferred)
                    return


def _preferred(group: int, catalog: Catalog) -> int:
    """Return the node that a group's leader should be on, 0 if that is not known."""
    if group == CATALOG_GROUP:
        return min(catalog.catalog_replicas, default=0)
    return catalog.partition_by_id[group].replicas[0]
