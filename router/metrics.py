"""What the router tells Prometheus. Counting a call must cost about a microsecond."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from model.errors import InternalServerError, ModelError, ServiceUnavailable, ThrottledError
from quorate.buckets import DELAY_SECONDS, STAGE_SECONDS, Buckets
from quorate.security.watched_files import Expiring
from router.call import Call
from router.call_log import FAILURES, CallLog
from router.refusals import Overloaded

DURATION_BUCKETS_SECONDS: Final = (
    0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.035, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""Closest together where a quorum's fsync and two ways between AZs are. Ours."""

UNKNOWN_OPERATION: Final = ""
"""What calls are counted under whose operation nobody has read, or that there is not."""

OURS: Final = (InternalServerError, ServiceUnavailable, Overloaded)
"""Errors that are shown before there are any: a series that begins with its first count has, to
Prometheus, not grown by it."""

Reading = Callable[[], float]


def outcome_of(error: type[ModelError]) -> str:
    """Return whose fault an error is: what an availability objective goes by.

    A code does not tell: DynamoDB has one for a table's limit and for a server that is overloaded.
    """
    if issubclass(error, Overloaded):
        return "refused"
    if issubclass(error, ThrottledError):
        return "throttled"
    is_ours = error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return "failed" if is_ours else "client_error"


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
    """One operation's errors, and how long served calls took, whole and by stage.

    How many were served is not counted twice: `duration` has it.
    """

    __slots__ = ("admission", "decode", "dispatch", "duration", "errors")

    def __init__(self) -> None:
        self.errors: defaultdict[type[ModelError], int] = defaultdict(int, dict.fromkeys(OURS, 0))
        self.duration = Buckets(DURATION_BUCKETS_SECONDS)
        self.decode = Buckets(STAGE_SECONDS)
        self.admission = Buckets(STAGE_SECONDS)
        self.dispatch = Buckets(STAGE_SECONDS)


class _Calls(Collector):
    """All operations that were called. Their names are known ones, or ""."""

    def __init__(self) -> None:
        self.unknown = _Operation()
        self.by_operation = {UNKNOWN_OPERATION: self.unknown}
        self.unread: Mapping[int, int] = {}  # answers to what no call could be made of, by status

    def collect(self) -> Iterator[Metric]:
        """Read all counts now."""
        requests = CounterMetricFamily(
            "quorate_router_requests",
            "All answers, by operation, code, and whose fault they are.",
            labels=("operation", "code", "outcome"),
        )
        durations = HistogramMetricFamily(
            "quorate_router_request_duration_seconds",
            "Time from the whole request to its answer, of calls that were served.",
            labels=("operation",),
        )
        stages = HistogramMetricFamily(
            "quorate_router_request_stage_duration_seconds",
            "What calls that nodes have served spent where: decode, admission, dispatch.",
            labels=("operation", "stage"),
        )
        for name, operation in list(self.by_operation.items()):
            label = name or "unknown"
            for error, count in list(operation.errors.items()):
                requests.add_metric((label, error.code, outcome_of(error)), count)
            if served := operation.duration.count:
                requests.add_metric((label, "OK", "ok"), served)
                operation.duration.add_to(durations, (label,))
            if operation.decode.count:
                for stage in ("decode", "admission", "dispatch"):
                    buckets: Buckets = getattr(operation, stage)
                    buckets.add_to(stages, (label, stage))
        for status, count in list(self.unread.items()):
            refused = status == HTTPStatus.SERVICE_UNAVAILABLE
            outcome = "refused" if refused else "client_error"
            requests.add_metric(("unknown", str(status), outcome), count)
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
        build = GaugeMetricFamily("quorate_router_build_info", "Always 1.", labels=("version",))
        build.add_metric((version,), 1)
        self.registry.register(_Constant(build))
        ProcessCollector(registry=self.registry)

    def gauge(self, name: str, text: str, read: Reading) -> None:
        """Show a value that is read when asked for."""
        self._readings.gauges.append((name, text, read))

    def counter(self, name: str, text: str, read: Reading) -> None:
        """Show a count that is kept elsewhere; `name` is without `_total`."""
        self._readings.counters.append((name, text, read))

    def count_unread(self, by_status: Mapping[int, int]) -> None:
        """Count, too, the answers that HTTP itself has given: this mapping is read when asked."""
        self._calls.unread = by_status

    def answered(self, error: type[ModelError]) -> None:
        """Count an answer for which no call was made. It costs a tenth of a microsecond."""
        self._calls.unknown.errors[error] += 1

    def call_ended(self, call: Call, error: ModelError | None) -> None:
        """Count one call, and time it if it was served."""
        operation = self._calls.by_operation.get(call.operation)
        if operation is None:
            operation = self._calls.by_operation[call.operation] = _Operation()
        now = self._clock()
        duration = now - call.started
        if error is None:
            code = "OK"
            operation.duration.observe(duration)
            if admitted_at := call.admitted_at:
                operation.decode.observe(call.decoded_at - call.started)
                operation.admission.observe(admitted_at - call.decoded_at)
                operation.dispatch.observe(now - admitted_at)
        else:
            code = error.code
            operation.errors[type(error)] += 1
        if call.trace is not None:
            call.trace.end(call, code, now)
            if error is None:
                named = {"trace_id": call.trace.id}
                operation.duration.exemplify(Exemplar(named, duration, time.time()))
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
