"""The door to OpenTelemetry.

Its queue is bounded and a thread of its own exports: a collector that is down, or hangs, costs
spans and nothing else.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from quorate import __version__
from quorate.logs import log, warn
from quorate.tracing.context import TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

STOP_SECONDS: Final = 1.0
"""Longest wait for the last spans to leave when a process stops. Ours."""

Attributes = Mapping[str, str | int | float | bool]


def tracer_from_environment(kind: str, name: str, az: str) -> Tracer | None:
    """Return a tracer for one process if the environment names a collector, else None.

    OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT switch it on;
    OTEL_SDK_DISABLED=true and OTEL_TRACES_EXPORTER=none switch it off. Sampling, headers, time-outs
    and the queue are the SDK's variables. Spans leave by OTLP over HTTP.
    """
    environment = os.environ
    named = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if (
        not any(environment.get(name) for name in named)
        or environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    ):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        warn("traces_off", reason="OpenTelemetry is missing: pip install 'quorate[traces]'")
        return None
    resource = Resource.create(
        {
            "service.name": environment.get("OTEL_SERVICE_NAME", f"quorate-{kind}"),
            "service.instance.id": name,
            "service.version": __version__,
            "cloud.availability_zone": az,
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    log("traces_on")
    return Tracer(provider)


class OpenSpan:
    """A span that others may be children of before it ends."""

    __slots__ = ("_span", "_tracer", "context")

    def __init__(self, tracer: Tracer, span: Any, context: TraceContext) -> None:  # noqa: ANN401
        """`span` is OpenTelemetry's."""
        self._tracer = tracer
        self._span = span
        self.context = context

    def end(self, at: float, **attributes: str | float | bool) -> None:
        """End it at a time of the monotonic clock."""
        self._span.set_attributes(attributes)
        self._span.end(self._tracer.wall_ns(at))

    def failed(self, why: str) -> None:
        """Mark it as an error."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        self._span.set_status(Status(StatusCode.ERROR, why))


class Tracer:
    """Makes spans; all times are seconds of the monotonic clock."""

    def __init__(self, provider: TracerProvider) -> None:
        """Take a provider with its exporter."""
        from opentelemetry import trace  # noqa: PLC0415

        self._trace = trace
        self._provider = provider
        self._tracer = provider.get_tracer("quorate", __version__)
        self._offset_ns = time.time_ns() - time.monotonic_ns()

    def wall_ns(self, at: float) -> int:
        """Return the nanoseconds since 1970 at a time of the monotonic clock."""
        return int(at * 1e9) + self._offset_ns

    def open(
        self,
        name: str,
        at: float,
        *,
        parent: TraceContext | None = None,
        links: Sequence[TraceContext] = (),
        kind: str = "INTERNAL",
        attributes: Attributes | None = None,
    ) -> OpenSpan | None:
        """Begin a span; None if it is not sampled."""
        trace = self._trace
        span = self._tracer.start_span(
            name,
            context=trace.set_span_in_context(self._remote(parent), _EMPTY),
            kind=trace.SpanKind[kind],
            attributes=attributes,
            links=[trace.Link(self._span_context(link)) for link in links],
            start_time=self.wall_ns(at),
        )
        if not span.is_recording():
            return None
        given = span.get_span_context()
        return OpenSpan(self, span, TraceContext(given.trace_id, given.span_id, given.trace_flags))

    def record(
        self,
        name: str,
        began_at: float,
        ended_at: float,
        *,
        parent: TraceContext,
        links: Sequence[TraceContext] = (),
        attributes: Attributes | None = None,
    ) -> None:
        """Make a span of something that is over."""
        span = self.open(name, began_at, parent=parent, links=links, attributes=attributes)
        if span is not None:
            span.end(ended_at)

    def close(self) -> None:
        """Let the last spans leave, if that is quick."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(STOP_SECONDS)

    def _remote(self, parent: TraceContext | None) -> Any:  # noqa: ANN401
        if parent is None:
            return self._trace.INVALID_SPAN
        return self._trace.NonRecordingSpan(self._span_context(parent))

    def _span_context(self, context: TraceContext) -> Any:  # noqa: ANN401
        return self._trace.SpanContext(
            context.trace_id,
            context.span_id,
            is_remote=True,
            trace_flags=self._trace.TraceFlags(context.flags),
        )


_EMPTY: Final[dict[str, object]] = {}
