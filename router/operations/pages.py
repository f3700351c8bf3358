"""Query and Scan: range reads, one after the other, until the model says that the page is done.

A Query stays in one partition; a Scan walks the partitions in the order of the ring.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.capacity import read_units
from model.errors import ModelError
from model.keys import token_bound, token_of
from model.requests.pages import Page, RangePlan
from model.requests.reads import parse_query, parse_scan
from router.call import Call
from router.operation import Tables
from router.operations.metered import MeteredOwner
from router.routed import Routed, RoutedRange, Span
from router.service import Service


class PageWalk(MeteredOwner):
    """A call that waits for one page. Admitted once, settled for all rows that were read."""

    __slots__ = ("page", "service")

    reads = True

    def __init__(self, service: Service, call: Call, page: Page) -> None:
        MeteredOwner.__init__(self, service.admission, page.plan.table, call)
        self.service = service
        self.page = page

    def start(self) -> None:
        """Begin to read."""
        if self.page.done:
            self.call.succeed(self.page.response())
        else:
            units = read_units(0, consistent=self.page.plan.consistent)
            self.submit(self.service, units)

    def route(self, service: Service) -> RoutedRange:
        """Return the read that goes on where the page stands, within one partition."""
        page = self.page
        ring = service.view.ring
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
        return RoutedRange(self, partition.id, self.call.deadline, span, consistent=plan.consistent)

    def page_arrived(
        self, routed: Routed, keys: Sequence[bytes], images: Sequence[bytes], *, more: bool
    ) -> None:
        """Take in the rows of one read."""
        assert isinstance(routed, RoutedRange)
        span = routed.span
        self.page.add(keys, images, more=more, low=span.low, high=span.high)
        if self.page.done:
            self.settle(self.page.units)
            self.call.succeed(self.page.response())
        else:
            self.service.dispatch.submit(self.route(self.service))

    def failed(self, routed: Routed, error: ModelError) -> None:
        """Fail the call: a page with a hole in it would be wrong."""
        self.settle_failed(routed)
        self.call.fail(error)

    def refused(self, error: ModelError) -> None:
        """Fail the call."""
        self.call.fail(error)


def prepare_query(tables: Tables, body: object) -> RangePlan:
    """Check a Query."""
    request = parse_query(body)
    return request.bind(tables.table(request.table_name))


def prepare_scan(tables: Tables, body: object) -> RangePlan:
    """Check a Scan."""
    request = parse_scan(body)
    return request.bind(tables.table(request.table_name))


def serve_pages(service: Service, plan: RangePlan, call: Call) -> None:
    """Read a page."""
    PageWalk(service, call, plan.start(call.answer_bytes_max)).start()
