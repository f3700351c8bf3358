"""Spans of writes that share an entry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from node.codec import RoutedWrites
from node.tracing import ARRIVED_MAX, LINKS_MAX, NodeTracing
from quorate.tracing.context import TraceContext
from quorate.tracing.tracer import Tracer
from tests.node.builders import Write, put
from tests.node.harness import Cluster


@pytest.fixture
def exporter(cluster: Cluster) -> Iterator[InMemorySpanExporter]:
    """Let all nodes trace into a list."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for node in cluster.nodes.values():
        node.host.watch.tracing = NodeTracing(Tracer(provider), f"n{node.id}")
    yield exporter
    provider.shutdown()


def sample(cluster: Cluster, *writes: Write) -> list[TraceContext]:
    """Have the leader told, as by a router, that these writes are sampled."""
    contexts = [TraceContext(7_000 + place, 9, 1) for place, _ in enumerate(writes)]
    tracing = cluster.leader().host.watch.tracing
    assert tracing is not None
    ids = [write.request_id for write in writes]
    columns = RoutedWrites(
        [], [], [], ids, [], [], [], range(len(ids)), [context.encode() for context in contexts]
    )
    tracing.arrived(columns, cluster.now)
    return contexts


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def test_an_entry_s_spans_are_the_first_write_s_and_linked_to_the_others(
    cluster: Cluster, exporter: InMemorySpanExporter
) -> None:
    writes = [put("a"), put("b"), put("c")]
    contexts = sample(cluster, *writes[1:])

    cluster.do(*writes)
    cluster.tick(2)

    first, second = named(exporter, "write")
    assert [span.context.trace_id for span in (first, second)] == [
        context.trace_id for context in contexts
    ]
    for name in ("log commit", "apply"):
        spans = named(exporter, name)
        nodes = [str((span.attributes or {})["quorate.node"]) for span in spans]
        assert sorted(nodes) == ["n1", "n2", "n3"]
        for span in spans:
            assert parent_of(span) == first.context.span_id
            assert [link.context.span_id for link in span.links] == [second.context.span_id]
    for name in ("queue", "quorum"):
        parents = [parent_of(span) for span in named(exporter, name)]
        assert parents == [first.context.span_id, second.context.span_id]


def test_unsampled_writes_have_no_spans_and_their_entry_no_contexts(
    cluster: Cluster, exporter: InMemorySpanExporter
) -> None:
    cluster.do(put("a"))
    cluster.tick(2)

    assert exporter.get_finished_spans() == ()


def test_what_is_remembered_of_sampled_writes_is_bounded(
    cluster: Cluster, exporter: InMemorySpanExporter
) -> None:
    """Writes that never come, and more in one entry than are told apart."""
    sample(cluster, *(put(f"never-{number}") for number in range(ARRIVED_MAX + 10)))
    tracing = cluster.leader().host.watch.tracing
    assert tracing is not None
    assert len(tracing._arrived) == ARRIVED_MAX

    writes = [put(f"item-{number}") for number in range(LINKS_MAX + 5)]
    sample(cluster, *writes)
    cluster.do(*writes)
    cluster.tick(2)

    assert len(named(exporter, "write")) == LINKS_MAX
    assert {len(span.links) for span in named(exporter, "apply")} == {LINKS_MAX - 1}
