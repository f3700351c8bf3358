"""What only a leader has: waiting writes, speculative images, proposals in flight.

A write is evaluated against the newest image of its key, speculative before committed. All
writes of a turn become one proposal, hence one log entry; those that are refused, by their
condition for one, are in it with their answer. A write is answered only once its entry is applied,
and everything in flight is answered when leadership ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from model.capacity import write_units
from model.errors import ConditionFailed, ModelError, encode_error
from model.image import image_size_bytes
from model.program import decode_program, evaluate
from node.codec import WriteColumns
from node.machine.partition import LiveTables, PartitionMachine
from node.machine.throughput import PartitionThroughput
from node.routes import RouteStream
from quorate.cluster.outcome import Outcome
from quorate.cluster.token_bucket import TokenBucket

if TYPE_CHECKING:
    from quorate.tracing.tracer import OpenSpan

WaitingWrite = tuple[RouteStream, int, float, bytes, bytes, bytes, bytes, float]
"""A routed write: (stream, slot, deadline, request id, key, image, program, arrival), times in
monotonic seconds. A tuple because one is built for every write."""

ENTRY_BYTES_MAX: Final = 4 << 20
"""Bytes of keys and images at which an entry is full; the write that reaches it is its last. Ours:
ten of the largest items, and well under a message between nodes."""


@dataclass(slots=True)
class Proposal:
    """The writes of one turn, one log entry. Element i of the lists belongs to write i.

    `also` are repeated requests that wait for the same write: (stream, slot, request id).
    `fresh` is the newest image of each key written here. `arrived_at`, of the first,
    `proposed_at` and `spans` are the WriteWatch's.
    """

    columns: WriteColumns
    streams: list[RouteStream] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    also: list[tuple[RouteStream, int, bytes]] = field(default_factory=list)
    fresh: dict[bytes, bytes] = field(default_factory=dict)
    index: int = 0
    term: int = 0
    arrived_at: float = 0.0
    proposed_at: float = 0.0
    spans: list[OpenSpan] = field(default_factory=list)


@dataclass(slots=True)
class Evaluation:
    """What came of the waiting writes of a turn; `proposal` is None if nothing is to be logged."""

    proposal: Proposal | None
    taken: int


class Leadership:
    """The leader's volatile state for one partition; made anew for every term led.

    Invariant: `_speculative` holds, for every key that proposals in flight write, the newest of
    these proposals; `_in_flight` holds the request ids of exactly those proposals.
    """

    __slots__ = ("_in_flight", "_machine", "_proposals", "_speculative", "term")

    def __init__(self, term: int, machine: PartitionMachine) -> None:
        """Start with nothing in flight."""
        self.term = term
        self._machine = machine
        self._speculative: dict[bytes, Proposal] = {}
        self._in_flight: dict[bytes, Proposal] = {}
        self._proposals: deque[Proposal] = deque()

    def evaluate(
        self,
        waiting: Sequence[WaitingWrite],
        *,
        now: float,
        live_tables: LiveTables,
        throughput: PartitionThroughput,
    ) -> Evaluation:
        """Evaluate writes in order of arrival; answer at once those that need no log entry.

        `live_tables` tells of table ids, as the first four bytes of keys, whether `throughput`
        has a cap for them. Stops once the images fill an entry: `Evaluation.taken` says how many of
        `waiting` are done with.
        """
        machine, speculative, in_flight = self._machine, self._speculative, self._in_flight
        is_full = machine.window_is_full(now)
        keys: list[bytes] = []
        images: list[bytes] = []
        request_ids: list[bytes] = []
        units: list[int] = []
        columns = WriteColumns(keys, images, request_ids, units)
        proposal = Proposal(columns)
        fresh = proposal.fresh
        taken = entry_bytes = 0
        for write in waiting:
            if entry_bytes >= ENTRY_BYTES_MAX:
                break
            taken += 1
            stream, slot, _, request_id, key, image, program, _ = write
            table = key[:4]
            capped = live_tables.get(table)
            bucket = throughput.write_bucket(table, now) if capped else None
            unknown = live_tables.refusal(table) if capped is None else None
            if self._is_done_with(write, now, unknown, bucket, full=is_full):
                continue
            in_flight[request_id] = proposal
            request_ids.append(request_id)
            proposal.streams.append(stream)
            proposal.slots.append(slot)
            old = fresh.get(key)
            if old is None:
                writer = speculative.get(key)
                old = machine.image(key) if writer is None else writer.fresh[key]
            if program:
                try:
                    result = evaluate(decode_program(program), old, image)
                except ModelError as error:
                    entry_bytes += _note_refusal(columns, request_id, error)
                    cost = write_units(image_size_bytes(old), 0)
                    units.append(cost)
                    if bucket is not None:
                        bucket.settle(cost)
                    continue
                new = result.image
                if result.returned:
                    columns.answers[request_id] = result.returned
            else:
                new = image
            size_before, size_after = image_size_bytes(old), image_size_bytes(new)
            cost = write_units(size_before, size_after)
            if size_before != size_after:
                _add_size(columns.sizes, key, size_before, size_after)
            entry_bytes += len(key) + len(new)
            fresh[key] = new
            keys.append(key)
            images.append(new)
            units.append(cost)
            if bucket is not None:
                bucket.settle(cost)
        return Evaluation(proposal if request_ids else None, taken)

    def _is_done_with(
        self,
        write: WaitingWrite,
        now: float,
        unknown: Outcome | None,
        bucket: TokenBucket | None,
        *,
        full: bool,
    ) -> bool:
        """Answer a write that needs no evaluation; return whether it was one.

        `unknown` is the answer if its table is not known. `full`: no further request id can be
        remembered, so nothing new may be done.
        """
        stream, slot, deadline, request_id = write[:4]
        if deadline <= now:
            stream.answer(slot, Outcome.EXPIRED)
            return True
        if unknown is not None:
            stream.answer(slot, unknown)
            return True
        answered = self._machine.answered(request_id)
        if answered is not None:
            stream.answer(slot, *answered)
            return True
        earlier = self._in_flight.get(request_id)
        if earlier is not None:
            earlier.also.append((stream, slot, request_id))
            return True
        if full:
            stream.answer(slot, Outcome.OVERLOADED)
            return True
        if bucket is not None and bucket.level <= 0:
            stream.answer(slot, Outcome.THROTTLED)
            return True
        return False

    def proposed(self, proposal: Proposal, index: int) -> None:
        """Note that a proposal is in the log at `index`; answered when that is applied."""
        assert not self._proposals or self._proposals[-1].index < index
        proposal.index = index
        proposal.term = self.term
        self._speculative.update(dict.fromkeys(proposal.fresh, proposal))
        self._proposals.append(proposal)

    def refused(self, proposal: Proposal, outcome: Outcome) -> None:
        """Answer the writes of a proposal that the log did not take: surely not proposed."""
        for request_id in proposal.columns.request_ids:
            del self._in_flight[request_id]
        _answer_all(proposal, outcome)

    def take_applied(self, index: int, term: int) -> Proposal | None:
        """Return the proposal whose entry is applied now, or None if it is not one of ours."""
        if not self._proposals or self._proposals[0].index != index:
            return None
        proposal = self._proposals.popleft()
        assert proposal.term == term, "a leader's own entries are not overwritten in its term"
        return proposal

    def resolve(self, proposal: Proposal) -> None:
        """Answer the writes of an applied proposal and forget their speculative images."""
        columns = proposal.columns
        refusals, answers = columns.refusals, columns.answers
        in_flight = self._in_flight
        if refusals or answers:
            for stream, slot, units, request_id in zip(
                proposal.streams, proposal.slots, columns.units, columns.request_ids, strict=True
            ):
                outcome = Outcome(refusals.get(request_id, Outcome.OK))
                stream.answer(slot, outcome, units, answers.get(request_id, b""))
        else:
            for stream, slot, units in zip(
                proposal.streams, proposal.slots, columns.units, strict=True
            ):
                stream.answer(slot, Outcome.OK, units)
        for stream, slot, request_id in proposal.also:
            answered = self._machine.answered(request_id)
            assert answered is not None, "an applied request id is remembered"
            stream.answer(slot, *answered)
        for request_id in columns.request_ids:
            del in_flight[request_id]
        if not self._proposals:
            self._speculative.clear()
            return
        speculative = self._speculative
        for key in proposal.fresh:
            if speculative[key] is proposal:  # else a later one in flight writes it too
                del speculative[key]

    def end(self) -> None:
        """Answer everything in flight as unknown: it was proposed, and may yet commit."""
        for proposal in self._proposals:
            _answer_all(proposal, Outcome.UNKNOWN)
        self._proposals.clear()
        self._in_flight.clear()
        self._speculative.clear()


def _answer_all(proposal: Proposal, outcome: Outcome) -> None:
    for stream, slot in zip(proposal.streams, proposal.slots, strict=True):
        stream.answer(slot, outcome)
    for stream, slot, _ in proposal.also:
        stream.answer(slot, outcome)


def _note_refusal(columns: WriteColumns, request_id: bytes, error: ModelError) -> int:
    """Let the entry say that a write is refused; return the bytes that this takes."""
    if isinstance(error, ConditionFailed):
        columns.refusals[request_id], payload = Outcome.CONDITION_FAILED, error.item_json
    else:
        columns.refusals[request_id], payload = Outcome.INVALID, encode_error(error)
    if payload:
        columns.answers[request_id] = payload
    return len(payload)


def _add_size(
    sizes: dict[int, tuple[int, int]], key: bytes, size_before: int, size_after: int
) -> None:
    table = int.from_bytes(key[:4], "big")
    item_count, size_bytes = sizes.get(table, (0, 0))
    sizes[table] = (
        item_count + (1 if not size_before else 0) - (1 if not size_after else 0),
        size_bytes + size_after - size_before,
    )
