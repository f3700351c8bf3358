"""What the router tells Prometheus. Counting a call must cost about a microsecond."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from quorate.buckets import DELAY_SECONDS, STAGE_SECONDS, Buckets
from quorate.security.watched_files import Expiring
from router.call import Call
from router.call_log import FAILURES, CallLog

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


class _Operation:
    """One operation's calls: by code, and how long they took, whole and by stage."""

    __slots__ = ("admission", "codes", "decode", "dispatch", "duration")

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.duration = Buckets(DURATION_BUCKETS_SECONDS)
        self.decode = Buckets(STAGE_SECONDS)
        self.admission = Buckets(STAGE_SECONDS)
        self.dispatch = Buckets(STAGE_SECONDS)


class _Calls(Collector):
    """All operations that were called. Their names are known ones, or ""."""

    def __init__(self) -> None:
        self.by_operation: dict[str, _Operation] = {}

    def collect(self) -> Iterator[Metric]:
        """Read all counts now."""
        requests = CounterMetricFamily(
            "quorate_router_requests",
            "Calls answered, by operation and error code.",
            labels=("operation", "code"),
        )
        durations = HistogramMetricFamily(
            "quorate_router_request_duration_seconds",
            "Time from the whole request to its answer.",
            labels=("operation",),
        )
        stages = HistogramMetricFamily(
            "quorate_router_request_stage_duration_seconds",
            "What calls that reached nodes spent where: decode, admission, dispatch.",
            labels=("operation", "stage"),
        )
        for name, operation in list(self.by_operation.items()):
            label = name or "unknown"
            for code, count in list(operation.codes.items()):
                requests.add_metric((label, code), count)
            operation.duration.add_to(durations, (label,))
            if operation.decode.count:
                for stage in ("decode", "admission", "dispatch"):
                    buckets: Buckets = getattr(operation, stage)
                    buckets.add_to(stages, (label, stage))
        yield from (requests, durations, stages)


class _LoopDelay(Collector):
    """How late the loop's tick came."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def collect(self) -> Iterator[Metric]:
        """Read it now."""
        family = HistogramMetricFamily(
            "quorate_router_loop_delay_seconds",
            "How late the loop's tick came: what everything on it had to wait for.",
        )
        self._buckets.add_to(family)
        yield family


class CertificateCollector(Collector):
    """When the certificates end that are in use now."""

    def __init__(self, certificates: Mapping[str, Callable[[], Expiring]]) -> None:
        """Take what gives the newest certificate, by the face that shows it."""
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        """Read them now."""
        family = GaugeMetricFamily(
            "quorate_router_certificate_expires_timestamp_seconds",
            "When the certificate ends that clients or nodes are shown.",
            labels=("shown_to",),
        )
        for shown_to, current in self._certificates.items():
            family.add_metric((shown_to,), current().expires)
        yield family


class RouterMetrics:
    """The router's metrics, in a registry of their own."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        version: str,
        name: str,
        az: str,
        call_log: CallLog | None = None,
    ) -> None:
        """Take the clock that calls were started on; `call_log` is told of slow and failed ones."""
        self.registry = CollectorRegistry()
        self._clock = clock
        self._call_log = call_log
        self._slow_seconds = float("inf") if call_log is None else call_log.slow_seconds
        self._calls = _Calls()
        self.registry.register(self._calls)
        self._loop_delay = Buckets(DELAY_SECONDS)
        self.registry.register(_LoopDelay(self._loop_delay))
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
        operation = self._calls.by_operation.get(call.operation)
        if operation is None:
            operation = self._calls.by_operation[call.operation] = _Operation()
        operation.codes[code] = operation.codes.get(code, 0) + 1
        now, admitted_at = self._clock(), call.admitted_at
        if call.trace is not None:
            call.trace.end(call, code, now)
        duration = now - call.started
        operation.duration.observe(duration)
        if admitted_at:
            operation.decode.observe(call.decoded_at - call.started)
            operation.admission.observe(admitted_at - call.decoded_at)
            operation.dispatch.observe(now - admitted_at)
        if (duration > self._slow_seconds or code in FAILURES) and self._call_log is not None:
            self._call_log.write(call, code, now)

    def loop_delayed(self, seconds: float) -> None:
        """Observe how late one tick came."""
        self._loop_delay.observe(max(0.0, seconds))


class _Constant(Collector):
    """One metric that never changes."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """Return it."""
        yield self._metric
