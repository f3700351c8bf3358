"""PutItem, DeleteItem, UpdateItem: one routed write each. The hot path; no task, no future."""

from __future__ import annotations

from dataclasses import dataclass

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
from router.large_requests import take_apart
from router.operation import Tables
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


@dataclass(slots=True)
class Prepared:
    """A checked write and its table."""

    table: Table
    request: WriteRequest
    write: Write


def prepare_put_item(tables: Tables, body: object) -> Prepared:
    """Check a PutItem."""
    return _prepared(tables, parse_put_item(body))


def prepare_delete_item(tables: Tables, body: object) -> Prepared:
    """Check a DeleteItem."""
    return _prepared(tables, parse_delete_item(body))


def prepare_update_item(tables: Tables, body: object) -> Prepared:
    """Check an UpdateItem."""
    return _prepared(tables, parse_update_item(body))


def _prepared(tables: Tables, request: PutItem | DeleteItem | UpdateItem) -> Prepared:
    table = tables.table(request.table_name)
    return Prepared(table, request, request.bind(table))


def complete_write(prepared: Prepared) -> None:
    """Make the image, and let the item go in pieces."""
    prepared.request.pack()
    take_apart(prepared.write.pack())


def serve_write(service: Service, prepared: Prepared, call: Call) -> None:
    """Send the write."""
    table, request, write = prepared.table, prepared.request, prepared.write
    SingleWrite(service.admission, table, call, request, write).send(service)
