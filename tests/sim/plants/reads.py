"""Planted bugs: reads and conditions that see too little, or too much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from node.machine.dedupe import DedupeWindow
from node.machine.leadership import Leadership as PartitionLeadership
from node.machine.leadership import Proposal
from node.replica import GetReads, PartitionReplica, Replica
from quorate.cluster.outcome import Outcome
from raft.core import RaftCore
from raft.leadership import Leadership
from raft.quorum import majority_value
from raft.types import Message, Role
from tests.sim.plants.registry import Change, plant


@plant
def read_without_proof() -> Sequence[Change]:
    """Whoever believes that it leads serves strong reads at once."""

    def at_once(self: Replica) -> None:
        reads, self._reads = self._reads, []
        for read in reads:
            read.serve(self)

    return [(Replica, "start_reads", at_once)]


@plant
def read_confirmed_by_older_round() -> Sequence[Change]:
    """Any answer to a heartbeat confirms all reads, also those asked for after it was sent."""
    on_reply = Leadership.on_heartbeat_reply

    def confirming(self: Leadership, message: Message) -> None:
        message.sequence = self._core.read_sequence
        on_reply(self, message)

    return [(Leadership, "on_heartbeat_reply", confirming)]


@plant
def lease_by_the_own_clock() -> Sequence[Change]:
    """Whoever has heard a majority lately, by its own ticks, serves strong reads at once."""
    ask = Leadership.read

    def by_lease(self: Leadership, read_id: int) -> None:
        core = self._core
        heard = majority_value([progress.heard for progress in self._voters])
        if self.may_evaluate() and self._clock - heard < core.config.election_ticks_min:
            core.reads.append((read_id, core.commit))
            core.dirty = True
        else:
            ask(self, read_id)

    return [(Leadership, "read", by_lease)]


@plant
def read_from_speculative_image() -> Sequence[Change]:
    """Gets see what is proposed and not committed."""
    serve = GetReads.serve

    def speculative(self: GetReads, of: Replica) -> None:
        assert isinstance(of, PartitionReplica)
        machine, leads = of.machine, of._leadership

        class Machine:
            @staticmethod
            def image(key: bytes) -> bytes:
                writer = leads._speculative.get(key) if leads else None
                return writer.fresh[key] if writer else machine.image(key)

        of.machine = Machine()  # type: ignore[assignment]
        try:
            serve(self, of)
        finally:
            of.machine = machine

    return [(GetReads, "serve", speculative)]


@plant
def condition_failed_without_proof() -> Sequence[Change]:
    """A failed condition is answered at once."""
    proposed = PartitionLeadership.proposed

    def at_once(self: PartitionLeadership, proposal: Proposal, index: int) -> None:
        proposed(self, proposal, index)
        columns = proposal.columns
        for stream, slot, request_id in zip(
            proposal.streams, proposal.slots, columns.request_ids, strict=True
        ):
            if request_id in columns.refusals:
                outcome = Outcome(columns.refusals[request_id])
                stream.answer(slot, outcome, 0, columns.answers.get(request_id, b""))

    return [(PartitionLeadership, "proposed", at_once)]


@plant
def refusals_forgotten() -> Sequence[Change]:
    """A failed condition is not remembered: an attempt that was slow can take effect later."""
    add = DedupeWindow.add

    def only_writes(
        self: DedupeWindow,
        request_ids: Sequence[bytes],
        units: Sequence[int],
        refusals: Mapping[bytes, int],
        answers: Mapping[bytes, bytes],
    ) -> None:
        kept = [at for at, request_id in enumerate(request_ids) if request_id not in refusals]
        add(self, [request_ids[at] for at in kept], [units[at] for at in kept], {}, answers)

    return [(DedupeWindow, "add", only_writes)]


@plant
def evaluate_before_own_commit() -> Sequence[Change]:
    """A new leader evaluates writes before all that its predecessors committed is applied."""
    return [(RaftCore, "may_evaluate", property(lambda core: core.role is Role.LEADER))]


@plant
def evaluate_against_committed_image() -> Sequence[Change]:
    """A write is evaluated against the committed image, not the newest proposed one."""
    proposed = PartitionLeadership.proposed

    def forgetful(self: PartitionLeadership, proposal: Any, index: int) -> None:
        proposed(self, proposal, index)
        self._speculative.clear()

    def resolve(self: PartitionLeadership, proposal: Any) -> None:
        self._speculative.update(dict.fromkeys(proposal.fresh, proposal))
        original(self, proposal)

    original = PartitionLeadership.resolve
    return [(PartitionLeadership, "proposed", forgetful), (PartitionLeadership, "resolve", resolve)]
