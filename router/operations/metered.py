"""Owners of routed requests that spend their table's capacity."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from model.capacity import read_units, write_units
from model.errors import ModelError
from model.requests.writes import Write
from model.tables import Table
from quorate.cluster.write_id import write_id
from quorate.logs import bug
from router.admission.tables import TableAdmission, Undecided
from router.call import Call
from router.dispatch import is_unknown
from router.operations.owner import RoutedOwner
from router.refusals import router_bug
from router.routed import Routed, RoutedGet, RoutedWrite
from router.service import Service


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

    def route(self, service: Service) -> Routed:
        """Return the request for a node. A request that is refused comes not as far."""
        raise NotImplementedError

    def refused(self, error: ModelError) -> None:
        """Take the error of a request that was not sent."""
        raise NotImplementedError

    def submit(self, service: Service, units: float) -> None:
        """Have a request admitted and sent, now or when the pool of its table has answered."""
        admission, call = self.admission, self.call
        if not call.decoded_at:
            call.decoded_at = admission.clock()
        try:
            self.admitted = admission.admit(self.table, units, reads=self.reads)
        except Undecided:
            again = partial(self._go_on, service, units)
            admission.wait(self.table, units, again, reads=self.reads)
            return
        except ModelError as error:
            admission.settle(self.table, call.operation, 0.0, 0.0, reads=self.reads)
            self.refused(error.with_traceback(None))  # the next refusal raises it again
            return
        self.go_on(service)

    def go_on(self, service: Service) -> None:
        """Send the admitted request."""
        call = self.call
        call.admitted_at = self.admission.clock()  # of a batch: its last part
        routed = call.routed = self.route(service)
        if call.trace is not None:
            routed.trace_context = call.trace.dispatched(routed, call.admitted_at)
        try:
            service.dispatch.submit(routed)
        except ModelError as error:
            self.failed(routed, error)

    def _go_on(self, service: Service, units: float) -> None:
        try:
            self.submit(service, units)
        except Exception:  # noqa: BLE001 - a bug met by one call must not end the others
            bug("call_failed", operation=self.call.operation)
            self.refused(router_bug())

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
    """An owner of one write, admitted for the item that it brings."""

    __slots__ = ("write",)

    reads = False

    def __init__(self, admission: TableAdmission, table: Table, call: Call, write: Write) -> None:
        MeteredOwner.__init__(self, admission, table, call)
        self.write = write

    def estimate(self) -> float:
        """Return the units of the item that the write brings."""
        return write_units(0, self.write.size_bytes)

    def send(self, service: Service) -> None:
        """Send the write."""
        self.submit(service, self.estimate())

    def route(self, service: Service) -> RoutedWrite:
        """Return the write for its leader."""
        write, call = self.write, self.call
        key, image, program = write.key, write.image, write.program
        return RoutedWrite(
            self,
            service.view.partition_of(key),
            call.deadline,
            write_id(call.request_id, key, image, program),
            key,
            image,
            program,
        )


class GetOwner(MeteredOwner):
    """An owner of one get, admitted for the least that it can cost."""

    __slots__ = ("consistent", "key")

    reads = True

    def __init__(
        self, admission: TableAdmission, table: Table, call: Call, key: bytes, *, consistent: bool
    ) -> None:
        MeteredOwner.__init__(self, admission, table, call)
        self.key = key
        self.consistent = consistent

    def estimate(self) -> float:
        """Return the least that the get can cost."""
        return read_units(0, consistent=self.consistent)

    def send(self, service: Service) -> None:
        """Send the get."""
        self.submit(service, self.estimate())

    def route(self, service: Service) -> RoutedGet:
        """Return the get for a replica."""
        partition = service.view.partition_of(self.key)
        return RoutedGet(self, partition, self.call.deadline, self.key, consistent=self.consistent)
