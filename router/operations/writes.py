"""PutItem, DeleteItem, UpdateItem: one routed write each. The hot path; no task, no future."""

from __future__ import annotations

from model.errors import ModelError
from model.requests.writes import (
    Write,
    WriteRequest,
    parse_delete_item,
    parse_put_item,
    parse_update_item,
)
from model.tables import Table
from router.call import Call
from router.operations.owner import RoutedOwner
from router.request_id import write_id
from router.routed import Routed, RoutedWrite
from router.service import Service


class SingleWrite(RoutedOwner):
    """A call that waits for one write."""

    __slots__ = ("call", "request", "table")

    def __init__(self, call: Call, request: WriteRequest, table: Table) -> None:
        self.call = call
        self.request = request
        self.table = table

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:  # noqa: ARG002
        """Answer the call."""
        self.call.succeed(self.request.response(self.table, units, payload))

    def failed(self, routed: Routed, error: ModelError) -> None:  # noqa: ARG002
        """Fail the call."""
        self.call.fail(self.request.explain(error))


def put_item(service: Service, body: object, call: Call) -> None:
    """Serve PutItem."""
    request = parse_put_item(body)
    table = service.view.table(request.table_name)
    _send(service, SingleWrite(call, request, table), request.bind(table))


def delete_item(service: Service, body: object, call: Call) -> None:
    """Serve DeleteItem."""
    request = parse_delete_item(body)
    table = service.view.table(request.table_name)
    _send(service, SingleWrite(call, request, table), request.bind(table))


def update_item(service: Service, body: object, call: Call) -> None:
    """Serve UpdateItem."""
    request = parse_update_item(body)
    table = service.view.table(request.table_name)
    _send(service, SingleWrite(call, request, table), request.bind(table))


def _send(service: Service, owner: SingleWrite, write: Write) -> None:
    call = owner.call
    service.dispatch.submit(
        RoutedWrite(
            owner,
            service.view.partition_of(write.key),
            call.deadline,
            write_id(call.request_id, write.key),
            write.key,
            write.image,
            write.program,
        )
    )
