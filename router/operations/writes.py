"""PutItem, DeleteItem, UpdateItem: one routed write each. The hot path; no task, no future."""

from __future__ import annotations

from model.errors import ModelError
from model.requests.writes import (
    DeleteItem,
    PutItem,
    UpdateItem,
    Write,
    WriteRequest,
    parse_delete_item,
    parse_put_item,
    parse_update_item,
)
from model.tables import Table
from router.admission.tables import TableAdmission
from router.call import Call
from router.operations.metered import WriteOwner
from router.routed import Routed
from router.service import Service


class SingleWrite(WriteOwner):
    """A call that waits for one write."""

    __slots__ = ("request",)

    def __init__(
        self,
        admission: TableAdmission,
        table: Table,
        call: Call,
        request: WriteRequest,
        write: Write,
    ) -> None:
        WriteOwner.__init__(self, admission, table, call, write)
        self.request = request

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:  # noqa: ARG002
        """Answer the call."""
        self.settle(units)
        self.call.succeed(self.request.response(self.table, units, payload))

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Fail the call."""
        self.settle_failed(routed)
        self.call.fail(self.request.explain(error))

    def refused(self, error: ModelError) -> None:
        """Fail the call."""
        self.call.fail(error)


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
    SingleWrite(service.admission, table, call, request, request.bind(table)).send(service)
