"""A collector of traces that parses what it is sent: OTLP over HTTP, on loopback."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2


@dataclass(frozen=True)
class Span:
    """One span, with its process."""

    process: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    links: tuple[str, ...]
    facts: dict[str, Any] = field(hash=False)


@dataclass
class Collector:
    """What has come so far."""

    url: str
    spans: list[Span] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            about = _facts(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        process=about["service.instance.id"],
                        name=span.name,
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        began_ns=span.start_time_unix_nano,
                        ended_ns=span.end_time_unix_nano,
                        links=tuple(link.span_id.hex() for link in span.links),
                        facts=_facts(span.attributes),
                    )
                    for span in scope.spans
                ]

    def of(self, trace_id: str) -> list[Span]:
        return [span for span in list(self.spans) if span.trace_id == trace_id]


@contextmanager
def collecting(*, hanging: bool = False) -> Iterator[Collector]:
    """Collect while the block runs; one that hangs takes requests and never answers."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if hanging:
                over.wait(60)
                return
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        try:
            yield collector
        finally:
            over.set()
            server.shutdown()
            serving.join()


def _facts(attributes: Any) -> dict[str, Any]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value")
        for each in attributes
    }
