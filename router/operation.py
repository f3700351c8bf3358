"""What an operation is to the service: how its request is prepared, and how it is then served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from model.tables import Table

if TYPE_CHECKING:
    from router.call import Call
    from router.service import Service

BATCH_BYTES_MAX: Final = 16 << 20
"""Longest body of a batch of writes. Source: DynamoDB's limit on a request."""

ITEM_BYTES_MAX: Final = 4 << 20
"""Longest body of a request that is about one item, a page, or keys. Ours: an item has 400 KB,
of which JSON may make six times as much, and values in expressions 2 MB."""

TABLE_BYTES_MAX: Final = 1 << 20
"""Longest body of a request that is about tables. Ours."""


class Tables(Protocol):
    """Where tables are found; as it is at one moment, for any thread."""

    def table(self, name: str) -> Table:
        """Return a table by its name. Raises UnknownTable."""


Handler = Callable[["Service", object, "Call"], None]
"""Serves a call whose request is as it came; raises ModelError or UnknownTable."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    `prepare` checks a request's JSON value and finds its tables; it is pure, so that large requests
    can be prepared beside the loop, and raises ModelError or UnknownTable. What it returns,
    `complete` makes ready to be sent, which is done beforehand only for large requests; `serve`
    takes it on the loop: it answers the call at once or later, and never blocks.
    """

    prepare: Callable[[Tables, object], Any]
    serve: Callable[[Service, Any, Call], None]
    body_bytes_max: int
    complete: Callable[[Any], None] = lambda _: None


def as_it_came(handler: Handler) -> Operation:
    """Return an operation whose requests are small, and prepared by the handler itself."""
    return Operation(lambda _, body: body, handler, TABLE_BYTES_MAX)
