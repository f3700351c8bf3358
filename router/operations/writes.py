"""PutItem, DeleteItem, UpdateItem: one routed write each. The hot path; no task, no future."""

from __future__ import annotations

from model.capacity import write_units
from model.errors import ModelError
from model.image import image_size_bytes
from model.requests.writes import (
    DeleteItem,
    PutItem,
    UpdateItem,
    WriteRequest,
    parse_delete_item,
    parse_put_item,
    parse_update_item,
)
from model.tables import Table
from router.admission.tables import TableAdmission
from router.call import Call
from router.operations.metered import MeteredOwner
from router.request_id import write_id
from router.routed import Routed, RoutedWrite
from router.service import Service


class SingleWrite(MeteredOwner):
    """A call that waits for one write."""

    __slots__ = ("request",)

    reads = False

    def __init__(
        self, admission: TableAdmission, table: Table, call: Call, request: WriteRequest
    ) -> None:
        MeteredOwner.__init__(self, admission, table, call)
        self.request = request

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:  # noqa: ARG002
        """Answer the call."""
        self.settle(units)
        self.call.succeed(self.request.response(self.table, units, payload))

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Fail the call."""
        self.settle_failed(routed)
        self.call.fail(self.request.explain(error))


def put_item(service: Service, body: object, call: Call) -> None:
    """Serve PutItem."""
    _send(service, call, parse_put_item(body))


def delete_item(service: Service, body: object, call: Call) -> None:
    """Serve DeleteItem."""
    _send(service, call, parse_delete_item(body))


def update_item(service: Service, body: object, call: Call) -> None:
    """Serve UpdateItem."""
    _send(service, call, parse_update_item(body))


def _send(service: Service, call: Call, request: PutItem | DeleteItem | UpdateItem) -> None:
    table = service.view.table(request.table_name)
    write = request.bind(table)
    owner = SingleWrite(service.admission, table, call, request)
    routed = RoutedWrite(
        owner,
        service.view.partition_of(write.key),
        call.deadline,
        write_id(call.request_id, write.key),
        write.key,
        write.image,
        write.program,
    )
    owner.submit(service.dispatch, routed, write_units(0, image_size_bytes(write.image)))
