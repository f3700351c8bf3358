"""What tables have used, for metrics and for people: read from the accounts when asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from router.admission.lease import Lease
from router.admission.tables import TableAdmission


class CapacityCollector(Collector):
    """Requests, units consumed and requests throttled, by table, for a bounded number of tables."""

    def __init__(self, admission: TableAdmission) -> None:
        self._admission = admission

    def collect(self) -> Iterator[Metric]:
        """Read the accounts now."""
        requests = CounterMetricFamily(
            "quorate_router_table_requests",
            "Items, pages and single requests that nodes have answered.",
            labels=("table", "operation"),
        )
        consumed = CounterMetricFamily(
            "quorate_router_consumed_capacity_units",
            "Capacity units that answered requests have used.",
            labels=("table", "operation", "kind"),
        )
        throttled = CounterMetricFamily(
            "quorate_router_throttled_requests",
            "Requests refused for want of capacity.",
            labels=("table", "reason"),
        )
        for usage in self._admission.usages():
            for (operation, _), count in usage.requests.items():
                requests.add_metric((usage.name, operation), count)
            for (operation, reads), units in usage.units.items():
                kind = "read" if reads else "write"
                consumed.add_metric((usage.name, operation, kind), units)
            for reason, count in usage.throttled.items():
                throttled.add_metric((usage.name, reason), count)
        yield requests
        yield consumed
        yield throttled


def describe_accounts(admission: TableAdmission) -> list[dict[str, object]]:
    """Return what `/status` shows of each table used at this router; rates are units a second."""
    return [
        {
            "id": table_id,
            "name": account.name,
            "read_units_per_second": round(account.read_rate, 2),
            "write_units_per_second": round(account.write_rate, 2),
            "read_limit": _limit(account.reads),
            "write_limit": _limit(account.writes),
            "throttled": dict(account.usage.throttled),
        }
        for table_id, account in admission.accounts()
    ]


def _limit(lease: Lease | None) -> float | None:
    return None if lease is None else lease.rate
