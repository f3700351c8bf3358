"""Row 41: how many calls are traced because their clients say so."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from model.errors import ModelError
from quorate.tracing.tracer import Tracer
from router.call import Call
from router.call_trace import CLIENTS_PER_SECOND_MAX, CallTracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
NOT_SAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


class TracedCall(Call):
    """A call of a client that says something about its trace."""

    __slots__ = ("said",)

    def __init__(self, said: str, started: float) -> None:
        Call.__init__(self, Nobody(), bytes(16), started, started + 1)
        self.operation = "PutItem"
        self.said = said

    @property
    def traceparent(self) -> str:
        return self.said

    def send_answer(self, body: bytes) -> None:
        """Nobody waits."""

    def send_error(self, error: ModelError) -> None:
        """Nobody waits."""


class Nobody:
    """Counts nothing."""

    def call_ended(self, call: Call, error: ModelError | None) -> None:
        """Take it."""

    def answered(self, error: type[ModelError]) -> None:
        """Take it."""


def traced(sampler: Sampler, calls: list[TracedCall]) -> list[str]:
    """Return the trace ids of the calls that are traced, "" for those that are not."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = CallTracing(Tracer(provider))
    found = []
    for call in calls:
        trace = tracing.begin(call)
        if trace is not None:
            trace.end(call, "OK", call.started)
        spans = exporter.get_finished_spans()
        found.append(f"{spans[-1].context.trace_id:032x}" if trace is not None else "")
        exporter.clear()
    return found


def test_row_41_clients_have_a_share_of_each_second() -> None:
    first = [TracedCall(SAMPLED, 10.0) for _ in range(3 * CLIENTS_PER_SECOND_MAX)]
    later = [TracedCall(SAMPLED, 10.5) for _ in range(CLIENTS_PER_SECOND_MAX)]

    found = traced(ParentBased(ALWAYS_OFF), first + later)

    assert found[: len(first)].count(TRACE) == CLIENTS_PER_SECOND_MAX
    assert found[len(first) :].count(TRACE) == CLIENTS_PER_SECOND_MAX // 2
    assert set(found) == {TRACE, ""}


def test_row_41_of_what_is_more_the_sampler_decides() -> None:
    calls = [TracedCall(SAMPLED, 10.0) for _ in range(CLIENTS_PER_SECOND_MAX + 5)]

    found = traced(ParentBased(ALWAYS_ON), calls)

    assert found.count(TRACE) == CLIENTS_PER_SECOND_MAX
    assert "" not in found


def test_who_does_not_want_a_trace_has_none_and_uses_up_no_share() -> None:
    calls = [TracedCall(NOT_SAMPLED, 10.0) for _ in range(2 * CLIENTS_PER_SECOND_MAX)]

    found = traced(ParentBased(ALWAYS_ON), [*calls, TracedCall(SAMPLED, 10.0)])

    assert found == ["" for _ in calls] + [TRACE]
