"""BatchWriteItem and BatchGetItem: many routed requests, one answer when the last has ended.

What surely was not done is tried again, and comes back as unprocessed if its time is up. A write
that may have been done must not: its outcome is unknown, and so is the whole batch's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Final, Union

from model.capacity import read_units
from model.errors import ModelError
from model.image import image_size_bytes
from model.requests.batches import (
    BatchGet,
    BatchGetItem,
    BatchWrite,
    BatchWriteItem,
    parse_batch_get_item,
    parse_batch_write_item,
)
from router.admission.tables import TableAdmission
from router.call import Call
from router.dispatch import is_unknown
from router.large_requests import take_apart
from router.operation import Tables
from router.operations.metered import GetOwner, WriteOwner
from router.refusals import outcome_unknown
from router.routed import Routed
from router.service import Service

ANSWER_SECONDS: Final = 0.3
"""So long before its deadline a batch gives back what is not done yet. Ours: what is sent then may
still be answered in time."""

Part = Union["_WritePart", "_GetPart"]


class _Batch(ABC):
    """What both batches share: counting parts down, trying them again, the errors on the way.

    A part that was surely not done, and may well be done in a moment, is tried again, under the
    same id, until shortly before the deadline: many clients never look at what comes back
    unprocessed.
    """

    __slots__ = ("call", "left", "reason", "refusal", "service")

    def __init__(self, service: Service, call: Call, count: int) -> None:
        self.service = service
        self.call = call
        self.left = count
        self.reason: ModelError | None = None  # why something is unprocessed; the first one's
        self.refusal: ModelError | None = None  # what ends the whole batch

    def part_refused(self, part: Part, error: ModelError) -> None:
        """Let a part wait that its table has no capacity for."""
        until = self.call.deadline - ANSWER_SECONDS

        def go_on(units: float) -> None:
            if units:
                part.admitted = units
                part.go_on(self.service)
            else:
                self.part_failed(error)

        admission, units = self.service.admission, part.estimate()
        if not admission.queue(part.table, units, until, go_on, reads=part.reads):
            self.part_failed(error)

    def part_ended(self, part: Part, error: ModelError, *, unknown: bool) -> None:
        """Try a part again that its partition or this router refused for a moment."""
        deadline = self.call.deadline - ANSWER_SECONDS
        may_again = error.retryable and not unknown and self.refusal is None
        again = partial(part.send, self.service)
        if not may_again or not self.service.retries.after_a_pause(again, deadline):
            self.part_failed(error, unknown=unknown)

    def part_failed(self, error: ModelError, *, unknown: bool = False) -> None:
        """Take the error of one part, and whether it may have been done."""
        error = error.with_traceback(None)  # whose frames know this batch: a cycle else
        if unknown:
            self.refusal = outcome_unknown()
        elif not error.retryable:
            self.refusal = self.refusal or error
        else:
            self.reason = self.reason or error
        self.count_down()

    def count_down(self) -> None:
        """Answer the call when the last part has ended."""
        self.left -= 1
        if self.left:
            return
        if self.refusal is not None:
            self.call.fail(self.refusal)
        elif self.reason is not None and self.is_all_unprocessed():
            self.call.fail(self.reason)
        else:
            self.answer()

    @abstractmethod
    def is_all_unprocessed(self) -> bool:
        """Return whether not a single part was done."""

    @abstractmethod
    def answer(self) -> None:
        """Answer the call with what was done and what was not."""


class _WriteBatch(_Batch):
    __slots__ = ("request", "units", "writes")

    def __init__(
        self, service: Service, call: Call, request: BatchWriteItem, writes: Sequence[BatchWrite]
    ) -> None:
        _Batch.__init__(self, service, call, len(writes))
        self.request = request
        self.writes = writes
        self.units: list[int | None] = [None] * len(writes)

    def is_all_unprocessed(self) -> bool:
        return all(units is None for units in self.units)

    def answer(self) -> None:
        body = self.request.response(self.writes, self.units)
        if len(body) > self.call.answer_bytes_max:
            # The caller could not receive what was not done. Sent again with the same request id,
            # the batch does that alone.
            self.call.fail(outcome_unknown())
        else:
            self.call.succeed(body)


class _GetBatch(_Batch):
    __slots__ = ("gets", "images", "request")

    def __init__(
        self, service: Service, call: Call, request: BatchGetItem, gets: Sequence[BatchGet]
    ) -> None:
        _Batch.__init__(self, service, call, len(gets))
        self.request = request
        self.gets = gets
        self.images: list[bytes | None] = [None] * len(gets)

    def is_all_unprocessed(self) -> bool:
        return all(image is None for image in self.images)

    def answer(self) -> None:
        room = self.call.answer_bytes_max
        self.call.succeed(self.request.response(self.gets, self.images, room))


class _WritePart(WriteOwner):
    """One put or delete of a batch."""

    __slots__ = ("batch", "position")

    def __init__(self, admission: TableAdmission, batch: _WriteBatch, position: int) -> None:
        bound = batch.writes[position]
        WriteOwner.__init__(self, admission, bound.table, batch.call, bound.write)
        self.batch = batch
        self.position = position

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:  # noqa: ARG002
        """Note the units consumed."""
        self.settle(units)
        self.batch.units[self.position] = units
        self.batch.count_down()

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Try it again, or note why it was not done."""
        self.settle_failed(routed)
        self.batch.part_ended(self, error, unknown=is_unknown(routed))

    def refused(self, error: ModelError) -> None:
        """Wait for capacity."""
        self.batch.part_refused(self, error)


class _GetPart(GetOwner):
    """One get of a batch."""

    __slots__ = ("batch", "position")

    def __init__(self, admission: TableAdmission, batch: _GetBatch, position: int) -> None:
        get = batch.gets[position]
        GetOwner.__init__(
            self, admission, get.table, batch.call, get.key, consistent=get.consistent
        )
        self.batch = batch
        self.position = position

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:  # noqa: ARG002
        """Note the image found, empty for no item."""
        self.settle(read_units(image_size_bytes(payload), consistent=self.consistent))
        self.batch.images[self.position] = payload
        self.batch.count_down()

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Try it again, or note why it was not read."""
        self.settle_failed(routed)
        self.batch.part_ended(self, error, unknown=is_unknown(routed))

    def refused(self, error: ModelError) -> None:
        """Wait for capacity."""
        self.batch.part_refused(self, error)


def prepare_batch_write(
    tables: Tables, body: object
) -> tuple[BatchWriteItem, Sequence[BatchWrite]]:
    """Check a BatchWriteItem."""
    request = parse_batch_write_item(body)
    return request, request.bind({name: tables.table(name) for name in request.table_names})


def complete_batch_write(prepared: tuple[BatchWriteItem, Sequence[BatchWrite]]) -> None:
    """Make the images, and let the items go in pieces."""
    request, writes = prepared
    request.pack()
    for bound in writes:
        take_apart(bound.pack())


def serve_batch_write(
    service: Service, prepared: tuple[BatchWriteItem, Sequence[BatchWrite]], call: Call
) -> None:
    """Send the writes."""
    batch = _WriteBatch(service, call, *prepared)
    for position in range(len(batch.writes)):
        _WritePart(service.admission, batch, position).send(service)


def prepare_batch_get(tables: Tables, body: object) -> tuple[BatchGetItem, Sequence[BatchGet]]:
    """Check a BatchGetItem."""
    request = parse_batch_get_item(body)
    return request, request.bind({name: tables.table(name) for name in request.table_names})


def serve_batch_get(
    service: Service, prepared: tuple[BatchGetItem, Sequence[BatchGet]], call: Call
) -> None:
    """Send the gets."""
    batch = _GetBatch(service, call, *prepared)
    for position in range(len(batch.gets)):
        _GetPart(service.admission, batch, position).send(service)
