"""GetItem: one routed get. An eventually consistent one goes to the nearest replica."""

from __future__ import annotations

from model.capacity import read_units
from model.errors import ModelError
from model.image import image_size_bytes
from model.requests.reads import GetItem, parse_get_item
from model.tables import Table
from router.admission.tables import TableAdmission
from router.call import Call
from router.operation import Tables
from router.operations.metered import GetOwner
from router.routed import Routed
from router.service import Service


class SingleGet(GetOwner):
    """A call that waits for one item."""

    __slots__ = ("request",)

    def __init__(
        self, admission: TableAdmission, table: Table, call: Call, request: GetItem
    ) -> None:
        key = request.bind(table)
        GetOwner.__init__(self, admission, table, call, key, consistent=request.consistent)
        self.request = request

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:  # noqa: ARG002
        """Answer the call; the payload is the item's image, empty for no such item."""
        self.settle(read_units(image_size_bytes(payload), consistent=self.consistent))
        self.call.succeed(self.request.response(self.table, payload))

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Fail the call."""
        self.settle_failed(routed)
        self.call.fail(error)

    def refused(self, error: ModelError) -> None:
        """Fail the call."""
        self.call.fail(error)


def prepare_get_item(tables: Tables, body: object) -> tuple[Table, GetItem]:
    """Check a GetItem."""
    request = parse_get_item(body)
    return tables.table(request.table_name), request


def serve_get(service: Service, prepared: tuple[Table, GetItem], call: Call) -> None:
    """Send the get."""
    table, request = prepared
    SingleGet(service.admission, table, call, request).send(service)
