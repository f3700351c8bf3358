"""Owners of routed requests that spend their table's capacity."""

from __future__ import annotations

from typing import ClassVar

from model.capacity import read_units, write_units
from model.errors import ModelError
from model.image import image_size_bytes
from model.requests.writes import Write
from model.tables import Table
from quorate.cluster.write_id import write_id
from router.admission.tables import TableAdmission
from router.call import Call
from router.dispatch import Dispatch, is_unknown
from router.operations.owner import RoutedOwner
from router.routed import Routed, RoutedGet, RoutedWrite
from router.service import Handler, Service


def unless_throttled(handler: Handler, *, reads: bool) -> Handler:
    """Return a handler that refuses for a table without capacity, before the rest is looked at.

    Of a request that is refused most of the cost is to check it. What is wrong with it is told when
    the table has capacity again.
    """

    def handle(service: Service, body: object, call: Call) -> None:
        name = body.get("TableName") if isinstance(body, dict) else None
        table = service.view.known_table(name)
        if table is not None:
            service.admission.refuse_if_empty(table, call.operation, reads=reads)
        handler(service, body, call)

    return handle


class MeteredOwner(RoutedOwner):
    """Admitted for an estimate, settled for what it cost in the end.

    `admitted` are the units taken and not settled yet, 0 if the table has no limit.
    """

    __slots__ = ("admission", "admitted", "call", "table")

    reads: ClassVar[bool]

    def __init__(self, admission: TableAdmission, table: Table, call: Call) -> None:
        self.admission = admission
        self.table = table
        self.call = call
        self.admitted = 0.0

    def submit(self, dispatch: Dispatch, routed: Routed, units: float) -> None:
        """Have a request admitted and sent; if it is refused, `failed` hears of it."""
        call = self.call
        if not call.decoded_at:
            call.decoded_at = self.admission.clock()
        call.routed = routed
        if call.trace is not None:
            routed.trace_context = call.trace.dispatched(routed, call.decoded_at)
        try:
            self.admitted = self.admission.admit(self.table, units, reads=self.reads)
            dispatch.submit(routed)
        except ModelError as error:
            self.failed(routed, error)
        else:
            call.admitted_at = self.admission.clock()  # of a batch: its last part

    def settle(self, units: float) -> None:
        """Take note of what the request cost."""
        operation, admitted = self.call.operation, self.admitted
        self.admission.settle(self.table, operation, units, admitted, reads=self.reads)
        self.admitted = 0.0

    def settle_failed(self, routed: Routed) -> None:
        """Take note that the request failed: it cost what its leader says, else nothing.

        What may have been done keeps what it was admitted for.
        """
        if not is_unknown(routed) or routed.refused_units:
            self.settle(routed.refused_units)

    def throttled(self, routed: Routed) -> ModelError:
        """Return the error for a partition that is over its own cap."""
        del routed
        return self.admission.key_range_refusal(self.table, reads=self.reads)


class WriteOwner(MeteredOwner):
    """An owner of one write."""

    __slots__ = ()

    reads = False

    def send(self, service: Service, write: Write) -> None:
        """Send the write, admitted for the image that it brings."""
        routed = RoutedWrite(
            self,
            service.view.partition_of(write.key),
            self.call.deadline,
            write_id(self.call.request_id, write.key, write.image, write.program),
            write.key,
            write.image,
            write.program,
        )
        self.submit(service.dispatch, routed, write_units(0, image_size_bytes(write.image)))


class GetOwner(MeteredOwner):
    """An owner of one get."""

    __slots__ = ()

    reads = True

    def send(self, service: Service, key: bytes, *, consistent: bool) -> None:
        """Send the get, admitted for the least that it can cost."""
        partition = service.view.partition_of(key)
        routed = RoutedGet(self, partition, self.call.deadline, key, consistent=consistent)
        self.submit(service.dispatch, routed, read_units(0, consistent=consistent))
