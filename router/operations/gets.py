"""GetItem: one routed get. An eventually consistent one goes to the nearest replica."""

from __future__ import annotations

from model.errors import ModelError
from model.requests.reads import GetItem, parse_get_item
from model.tables import Table
from router.call import Call
from router.operations.owner import RoutedOwner
from router.routed import Routed, RoutedGet
from router.service import Service


class SingleGet(RoutedOwner):
    """A call that waits for one item."""

    __slots__ = ("call", "request", "table")

    def __init__(self, call: Call, request: GetItem, table: Table) -> None:
        self.call = call
        self.request = request
        self.table = table

    def answered(self, routed: Routed, units: int, payload: bytes) -> None:  # noqa: ARG002
        """Answer the call; the payload is the item's image, empty for no such item."""
        self.call.succeed(self.request.response(self.table, payload))

    def failed(self, routed: Routed, error: ModelError) -> None:  # noqa: ARG002
        """Fail the call."""
        self.call.fail(error)


def get_item(service: Service, body: object, call: Call) -> None:
    """Serve GetItem."""
    request = parse_get_item(body)
    table = service.view.table(request.table_name)
    key = request.bind(table)
    service.dispatch.submit(
        RoutedGet(
            SingleGet(call, request, table),
            service.view.partition_of(key),
            call.deadline,
            key,
            consistent=request.consistent,
        )
    )
