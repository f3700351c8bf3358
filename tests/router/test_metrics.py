"""What a router tells Prometheus, and what that is bounded by."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from model.errors import (
    AccessDenied,
    ConditionFailed,
    ModelError,
    RequestLimitExceeded,
    Throttled,
)
from model.tables import load_table
from quorate.buckets import Buckets
from quorate.exposition import expose
from quorate.tracing.tracer import Tracer
from router.admission import tables
from router.admission.report import CapacityCollector
from router.admission.tables import OTHER_TABLES, TableAdmission
from router.call import Call
from router.call_trace import CallTracing
from router.metrics import RouterMetrics, outcome_of
from router.refusals import no_answer_in_time, outcome_unknown, overloaded, router_full
from tests.admission.test_tables import definition
from tests.router.cluster import CLUSTER_ID, SCANT
from tests.router.world import World, tell


def test_buckets_count_as_prometheus_does() -> None:
    """An upper bound is inclusive; buckets are cumulative."""
    buckets = Buckets((1, 5))
    for value, count in ((0.5, 2), (1, 1), (5, 1), (9, 3)):
        buckets.observe(value, count)

    assert buckets.read() == ([("1.0", 3.0), ("5.0", 4.0), ("+Inf", 7.0)], 34.0)
    assert buckets.count == 7


def strict_families(text: str) -> list[Metric]:
    """Parse OpenMetrics. Raises ValueError."""
    return list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


async def fetch(world: World, *header_lines: bytes) -> tuple[bytes, bytes]:
    """Return (head, body) of the page that Prometheus gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.admin_port)
    lines = b"".join(line + b"\r\n" for line in (b"Connection: close", *header_lines))
    writer.write(b"GET /metrics HTTP/1.1\r\n%b\r\n" % lines)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, body


async def scrape(world: World) -> dict[str, Metric]:
    _, body = await fetch(world)
    return {one.name: one for one in text_string_to_metric_families(body.decode())}


def answers(families: dict[str, Metric]) -> dict[tuple[str, str, str], float]:
    """Return how many answers there were, by operation, code and outcome, if there were any."""
    return {
        (sample.labels["operation"], sample.labels["code"], sample.labels["outcome"]): sample.value
        for sample in families["quorate_router_requests"].samples
        if sample.value
    }


def of_put(families: dict[str, Metric], name: str, suffix: str) -> list[Sample]:
    return [
        sample
        for sample in families[f"quorate_router_{name}"].samples
        if sample.name.endswith(suffix) and sample.labels["operation"] == "PutItem"
    ]


def test_a_write_shows_in_each_stage_and_an_error_in_none_and_in_no_latency() -> None:
    """Reason: throttled calls take a millisecond; with them, the median gets better under load."""

    async def story(world: World) -> None:
        assert (await world.put("a"))[0] == 200
        assert (await world.http("PutItem", {"TableName": "Music", "Item": {}}))[0] == 400
        families = await scrape(world)
        (whole,) = (one.value for one in of_put(families, "request_duration_seconds", "_sum"))
        (count,) = (one.value for one in of_put(families, "request_duration_seconds", "_count"))
        counts = of_put(families, "request_stage_duration_seconds", "_count")
        parts = sum(one.value for one in of_put(families, "request_stage_duration_seconds", "_sum"))

        stages = {one.labels["stage"]: one.value for one in counts}
        assert stages == {"decode": 1, "admission": 1, "dispatch": 1}
        assert count == 1
        assert parts == pytest.approx(whole)
        assert answers(families) == {
            ("PutItem", "OK", "ok"): 1,
            ("PutItem", "ValidationException", "client_error"): 1,
        }

    tell(story)


def test_every_answer_is_counted_once_and_says_whose_fault_it_was() -> None:
    """What a table's limit refuses is its owner's affair, what the router refuses is ours."""

    async def story(world: World) -> None:
        while (await world.put("a"))[0] == 200:  # it has a unit a second, and some saved
            pass
        assert (await world.http("NoSuchThing", {}))[0] == 400
        assert (await say(world, b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")) == 404
        assert (await say(world, b"nonsense\r\n\r\n")) == 400
        assert (await say(world, b"GET / HTTP/1.1\r\n\r\n")) == 200  # a probe, and no call
        world.router.dispatch._in_flight_limit.count = 0  # the door is closed
        assert (await world.put("late"))[1]["__type"] == (
            "com.amazon.coral.availability#ThrottlingException"
        )
        found = answers(await scrape(world))
        throttled = "ProvisionedThroughputExceededException"

        assert found.pop(("PutItem", "OK", "ok")) > 0
        assert found == {
            ("PutItem", throttled, "throttled"): 1,
            ("unknown", "UnknownOperationException", "client_error"): 2,
            ("unknown", "400", "client_error"): 1,
            ("unknown", "ThrottlingException", "refused"): 1,
        }

    tell(story, definition=SCANT)


def test_failures_and_refusals_are_shown_before_there_are_any() -> None:
    """Reason: Prometheus sees what a series grows by, not what it begins with."""

    async def story(world: World) -> None:
        await world.put("a")
        shown = {
            (sample.labels["operation"], sample.labels["outcome"]): sample.value
            for sample in (await scrape(world))["quorate_router_requests"].samples
        }

        for operation in ("unknown", "PutItem"):
            assert shown[operation, "failed"] == shown[operation, "refused"] == 0

    tell(story)


async def say(world: World, request: bytes) -> int:
    """Send bytes to the HTTP face; return the answer's status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
    writer.write(request)
    line = await reader.readline()
    writer.close()
    return int(line[9:12])


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (router_full(), "refused"),
        (overloaded(), "refused"),
        (Throttled(), "throttled"),
        (RequestLimitExceeded(), "throttled"),
        (ConditionFailed(), "client_error"),
        (AccessDenied(), "client_error"),
        (outcome_unknown(), "failed"),
        (no_answer_in_time(led=True), "failed"),
    ],
)
def test_outcome_of_an_error(error: ModelError, outcome: str) -> None:
    assert outcome_of(type(error)) == outcome


def test_every_sample_says_which_cluster_az_and_process_it_is_of() -> None:
    async def story(world: World) -> None:
        await world.put("a")
        samples = [one for family in (await scrape(world)).values() for one in family.samples]

        expected = {"cluster": CLUSTER_ID, "az": "az-a", "name": "r1"}
        assert len(samples) > 100
        assert all(expected.items() <= sample.labels.items() for sample in samples)

    tell(story)


def test_page_comes_in_the_form_and_the_coding_that_are_asked_for() -> None:
    async def story(world: World) -> None:
        head, body = await fetch(
            world,
            b"Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            b"Accept-Encoding: gzip",
        )
        assert b"Content-Type: application/openmetrics-text; version=1.0.0" in head
        assert b"Content-Encoding: gzip" in head
        text = gzip.decompress(body)
        assert len(body) < len(text) / 3
        assert text.endswith(b"# EOF\n")
        assert strict_families(text.decode())

        head, body = await fetch(world, b"Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
        assert b"Content-Type: text/plain; version=0.0.4" in head
        assert b"Content-Encoding" not in head
        assert b"# EOF" not in body

    tell(story)


def test_a_sampled_call_s_trace_is_the_exemplar_of_its_bucket() -> None:
    now = 7.0
    metrics = RouterMetrics(lambda: now, version="1")
    provider = TracerProvider(shutdown_on_exit=False)
    for seconds in (0.0025, 0.0028, 0.2):
        call = Untold(metrics, bytes(16), now - seconds, now + 1.0)
        call.operation = "PutItem"
        call.trace = newest = CallTracing(Tracer(provider)).begin(call)
        call.succeed(b"{}")
    provider.shutdown()

    _, text = expose(
        metrics.registry.collect(), {}, {b"accept": b"application/openmetrics-text; version=1.0.0"}
    )

    buckets = [
        sample
        for family in strict_families(text.decode())
        for sample in family.samples
        if sample.name == "quorate_router_request_duration_seconds_bucket"
    ]
    exemplars = {sample.labels["le"]: sample.exemplar for sample in buckets if sample.exemplar}
    assert [(le, round(one.value, 4)) for le, one in exemplars.items()] == [
        ("0.003", 0.0028),  # the newest
        ("0.25", 0.2),
    ]
    assert newest is not None
    assert exemplars["0.25"].labels == {"trace_id": newest.id}


class Untold(Call):
    """A call whose answer goes nowhere."""

    def send_answer(self, body: bytes) -> None:
        pass

    def send_error(self, error: ModelError) -> None:
        pass


def test_more_tables_than_are_told_apart_are_counted_together() -> None:
    """Reason: a label for each of ten thousand tables would be a dozen series for each."""
    count = tables.TABLES_COUNTED_MAX + 25
    admission = TableAdmission(lambda: 0.0)
    for number in range(1, count + 1):
        one = load_table(number, f"table-{number}", definition(None), 0)
        admission.admit(one, 1.0, reads=False)
        admission.settle(one, "PutItem", 2.0, 0.0, reads=False)

    (requests,) = (
        family
        for family in CapacityCollector(admission).collect()
        if family.name == "quorate_router_table_requests"
    )
    by_table = {sample.labels["table"]: sample.value for sample in requests.samples}

    assert len(by_table) == tables.TABLES_COUNTED_MAX + 1
    assert by_table[OTHER_TABLES] == 25
    assert sum(by_table.values()) == count
