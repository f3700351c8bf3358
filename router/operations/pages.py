"""Query and Scan: range reads, one after the other, until the model says that the page is done.

A Query stays in one partition; a Scan walks the partitions in the order of the ring.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.errors import ModelError
from model.keys import token_bound, token_of
from model.requests.pages import Page
from model.requests.reads import parse_query, parse_scan
from router.call import Call
from router.operations.owner import RoutedOwner
from router.routed import Routed, RoutedRange, Span
from router.service import Service


class PageWalk(RoutedOwner):
    """A call that waits for one page."""

    __slots__ = ("call", "page", "service")

    def __init__(self, service: Service, call: Call, page: Page) -> None:
        self.service = service
        self.call = call
        self.page = page

    def go_on(self) -> None:
        """Read on where the page stands, within one partition; answer when it is done."""
        page = self.page
        if page.done:
            self.call.succeed(page.response())
            return
        ring = self.service.view.ring
        assert ring is not None
        plan = page.plan
        # The partition that holds the next row: backwards that is the last one below `high`. Only
        # a Query goes backwards, and it stays in the partition of its `low`.
        partition = ring.partition_of(token_of(page.low))
        _, token_high = ring.arc_of(partition.id)
        span = Span(
            low=page.low,
            high=min(page.high, token_bound(plan.table.id, token_high)),
            backwards=plan.backwards,
            items_max=page.items_max,
            size_bytes_max=page.size_bytes_max,
        )
        self.service.dispatch.submit(
            RoutedRange(self, partition.id, self.call.deadline, span, consistent=plan.consistent)
        )

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        """Take in the rows of one read."""
        assert isinstance(routed, RoutedRange)
        span = routed.span
        self.page.add(keys, images, more=more, low=span.low, high=span.high)
        self.go_on()

    def failed(self, routed: Routed, error: ModelError) -> None:  # noqa: ARG002
        """Fail the call: a page with a hole in it would be wrong."""
        self.call.fail(error)


def query(service: Service, body: object, call: Call) -> None:
    """Serve Query."""
    request = parse_query(body)
    plan = request.bind(service.view.table(request.table_name))
    PageWalk(service, call, plan.start()).go_on()


def scan(service: Service, body: object, call: Call) -> None:
    """Serve Scan."""
    request = parse_scan(body)
    plan = request.bind(service.view.table(request.table_name))
    PageWalk(service, call, plan.start()).go_on()
