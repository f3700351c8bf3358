"""What the router tells Prometheus. Counting a call must cost about a microsecond."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from router.call import Call

DURATION_BUCKETS_SECONDS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip

Reading = Callable[[], float]


class _Readings(Collector):
    """Values that live elsewhere and are read when somebody asks: they cost nothing before."""

    def __init__(self) -> None:
        self.gauges: list[tuple[str, str, Reading]] = []
        self.counters: list[tuple[str, str, Reading]] = []

    def collect(self) -> Iterator[Metric]:
        """Read all values now."""
        for name, text, read in self.gauges:
            yield GaugeMetricFamily(name, text, value=read())
        for name, text, read in self.counters:
            yield CounterMetricFamily(name, text, value=read())


class RouterMetrics:
    """The router's metrics, in a registry of their own."""

    def __init__(self, clock: Callable[[], float], *, version: str, name: str, az: str) -> None:
        """Take the clock that calls were started on."""
        self.registry = CollectorRegistry()
        self._clock = clock
        self._requests = Counter(
            "quorate_router_requests",
            "Calls answered, by operation and error code.",
            ("operation", "code"),
            registry=self.registry,
        )
        self._durations = Histogram(
            "quorate_router_request_duration_seconds",
            "Time from the whole request to its answer.",
            ("operation",),
            buckets=DURATION_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._request_children: dict[tuple[str, str], Counter] = {}
        self._duration_children: dict[str, Histogram] = {}
        self._readings = _Readings()
        self.registry.register(self._readings)
        build = GaugeMetricFamily(
            "quorate_router_build_info", "Always 1.", labels=("version", "name", "az")
        )
        build.add_metric((version, name, az), 1)
        self.registry.register(_Constant(build))
        ProcessCollector(registry=self.registry)

    def gauge(self, name: str, text: str, read: Reading) -> None:
        """Show a value that is read when asked for."""
        self._readings.gauges.append((name, text, read))

    def counter(self, name: str, text: str, read: Reading) -> None:
        """Show a count that is kept elsewhere; `name` is without `_total`."""
        self._readings.counters.append((name, text, read))

    def call_ended(self, call: Call, code: str) -> None:
        """Count and time one call."""
        operation = call.operation
        child = self._request_children.get((operation, code))
        if child is None:
            child = self._requests.labels(operation or "unknown", code)
            self._request_children[operation, code] = child
        child.inc()
        duration = self._duration_children.get(operation)
        if duration is None:
            duration = self._durations.labels(operation or "unknown")
            self._duration_children[operation] = duration
        duration.observe(self._clock() - call.started)


class _Constant(Collector):
    """One metric that never changes."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """Return it."""
        yield self._metric
