"""Planted bugs: request ids forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.machine.dedupe import DedupeWindow
from node.machine.leadership import Leadership as PartitionLeadership
from node.machine.partition import PartitionMachine
from node.recovery import Recovery
from tests.sim.disk import MemoryItemStore
from tests.sim.plants.registry import Change, plant


@plant
def no_dedupe() -> Sequence[Change]:
    """Whoever evaluates does not ask whether a request id was applied before."""
    evaluate, find = PartitionLeadership.evaluate, DedupeWindow.find
    evaluating = [False]

    def forgetful(self: PartitionLeadership, *arguments: Any, **named: Any) -> Any:
        evaluating[0] = True
        try:
            return evaluate(self, *arguments, **named)
        finally:
            evaluating[0] = False

    return [
        (PartitionLeadership, "evaluate", forgetful),
        (DedupeWindow, "find", lambda self, i: None if evaluating[0] else find(self, i)),
    ]


@plant
def no_dedupe_in_flight() -> Sequence[Change]:
    """A retry of what is proposed and not applied is proposed again."""
    proposed = PartitionLeadership.proposed

    def forgetful(self: PartitionLeadership, proposal: Any, index: int) -> None:
        proposed(self, proposal, index)
        for request_id in proposal.columns.request_ids:
            self._in_flight.pop(request_id, None)

    def resolve(self: PartitionLeadership, proposal: Any) -> None:
        self._in_flight.update(dict.fromkeys(proposal.columns.request_ids, proposal))
        original(self, proposal)

    original = PartitionLeadership.resolve
    return [(PartitionLeadership, "proposed", forgetful), (PartitionLeadership, "resolve", resolve)]


@plant
def ids_forgotten_at_checkpoint() -> Sequence[Change]:
    """A checkpoint does not store the request ids since the last one."""
    rotate = DedupeWindow.rotate

    def forgetful(self: DedupeWindow, now: float) -> Any:
        return None, rotate(self, now)[1]

    return [(DedupeWindow, "rotate", forgetful)]


@plant
def ids_not_restored_at_start() -> Sequence[Change]:
    """A restarted replica begins with no request ids but those of the log it replays."""

    def make(self: Recovery, group: int, state: Any) -> PartitionMachine:
        return PartitionMachine(self._items, state.table_sizes, [])

    return [(Recovery, "make_machine", make)]


@plant
def ids_forgotten_in_snapshot() -> Sequence[Change]:
    """A snapshot brings the items and not the request ids."""
    finish = MemoryItemStore.finish_install

    def forgetful(self: MemoryItemStore, record: Any, state: bytes) -> None:
        finish(self, record, state)
        if record.group:
            self._disk.generations[record.group] = {}

    return [(MemoryItemStore, "finish_install", forgetful)]
