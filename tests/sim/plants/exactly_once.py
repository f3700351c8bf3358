"""Planted bugs: request ids forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from node.machine import dedupe
from node.machine.dedupe import Answer, DedupeWindow
from node.machine.leadership import Leadership as PartitionLeadership
from node.machine.partition import PartitionMachine
from node.recovery import Recovery
from quorate.cluster.outcome import Outcome
from quorate.cluster.write_id import write_id
from tests.sim import clients
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
def equal_ids_are_equal_writes() -> Sequence[Change]:
    """A write is known by its call's request id and its item, whatever it writes."""

    def by_item(request_id: bytes, key: bytes, image: bytes, program: bytes) -> bytes:
        return write_id(request_id, key, b"", b"")

    return [(clients, "write_id", by_item)]


@plant
def ids_forgotten_with_their_answers() -> Sequence[Change]:
    """What is kept of answers is bounded, and a write whose answer goes is forgotten with it."""
    add = DedupeWindow.add

    def forgetful(self: DedupeWindow, *columns: Any) -> None:
        before = set(self._answers)
        add(self, *columns)
        for request_id in before - self._answers.keys():
            self._units.pop(request_id, None)

    def drop(self: DedupeWindow, request_ids: Iterable[bytes]) -> None:
        for request_id in request_ids:
            self._units.pop(request_id, None)
            self._refusals.pop(request_id, None)
            self._answers_bytes -= len(self._answers.pop(request_id, b""))

    return [(DedupeWindow, "add", forgetful), (DedupeWindow, "_drop", drop)]


@plant
def refusals_forgotten_with_their_items() -> Sequence[Change]:
    """A refused write whose answer is forgotten counts as done."""
    find = DedupeWindow.find

    def glad(self: DedupeWindow, request_id: bytes) -> Answer | None:
        answer = find(self, request_id)
        if answer is not None and request_id not in self._answers:
            return answer._replace(outcome=Outcome.OK)
        return answer

    return [(DedupeWindow, "find", glad)]


@plant
def full_window_forgets_its_oldest() -> Sequence[Change]:
    """A partition that cannot remember more ids forgets some early, and takes writes."""

    def full(self: DedupeWindow) -> bool:
        while len(self._units) >= dedupe.IDS_MAX and len(self._generations) > 1:
            oldest = self._generations.popleft()
            self._drop(oldest.request_ids)
            self._forgotten.append(oldest.number)
        return False

    return [(DedupeWindow, "is_full", property(full))]


@plant
def ids_forgotten_at_the_next_checkpoint() -> Sequence[Change]:
    """A generation is forgotten as soon as it is stored, however young."""
    return [(DedupeWindow, "_oldest_may_go", lambda self, now: True)]


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
