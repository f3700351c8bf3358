"""One write through a real cluster is one trace: router, leader, followers. Nobody waits for it."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable

import pytest

from quorate.local.background import BackgroundCluster, wait_until
from tests.processes.conftest import TABLE, dynamodb, make_table
from tests.tracing.collector import Span, collecting

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, CALLERS_SPAN = CALLER.split("-")[1:3]


def put(cluster: BackgroundCluster, name: str, **headers: str) -> None:
    body = f'{{"TableName":"{TABLE}","Item":{{"group":{{"S":"{name}"}},"id":{{"S":"x"}}}}}}'
    request = urllib.request.Request(
        cluster.http_url,
        body.encode(),
        {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "DynamoDB_20120810.PutItem",
            **headers,
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let clusters that are started from here on send their spans somewhere, soon."""

    def to(url: str) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")

    return to


def test_one_sampled_write_is_one_trace_over_router_leader_and_followers(
    own_cluster: Callable[..., BackgroundCluster], traced: Callable[[str], None]
) -> None:
    with collecting() as collector:
        traced(collector.url)
        cluster = own_cluster(partitions=3)
        cluster.start()
        make_table(cluster, TABLE)
        put(cluster, "not sampled")
        put(cluster, "sampled", traceparent=CALLER)

        def processes(name: str) -> set[str]:
            return {span.process for span in collector.of(TRACE) if span.name == name}

        wait_until(
            lambda: processes("apply") == {"a1", "b1", "c1"} and bool(processes("PutItem")),
            what="the spans of all processes",
            timeout_seconds=15,
        )
        cluster.stop()
        spans = collector.of(TRACE)

        def one(name: str, process: str | None = None) -> Span:
            (found,) = [
                span for span in spans if span.name == name and process in (None, span.process)
            ]
            return found

        call, write = one("PutItem"), one("write")
        assert (call.process, call.parent_id) == ("r1", CALLERS_SPAN)
        for name in ("decode", "admission", "dispatch"):
            assert (one(name).process, one(name).parent_id) == ("r1", call.span_id)
        assert write.parent_id == one("dispatch").span_id
        for name in ("queue", "quorum"):
            assert (one(name).process, one(name).parent_id) == (write.process, write.span_id)
        for name in ("log commit", "apply"):
            for node in ("a1", "b1", "c1"):
                assert one(name, node).parent_id == write.span_id
                assert one(name, node).facts["quorate.node"] == node
        assert {span.facts["quorate.index"] for span in spans if span.name == "apply"} == {
            write.facts["quorate.index"]
        }
        assert (
            call.began_ns <= one("dispatch").began_ns <= one("dispatch").ended_ns <= call.ended_ns
        )
        assert all(span.trace_id == TRACE for span in collector.spans)  # the others: not sampled


@pytest.mark.parametrize("hanging", [True, False])
def test_collector_that_hangs_or_is_not_there_delays_no_request_and_no_stop(
    own_cluster: Callable[..., BackgroundCluster],
    traced: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    hanging: object,
) -> None:
    with collecting(hanging=True) as collector:
        traced(collector.url if hanging else "http://127.0.0.1:9")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "16")
        cluster = own_cluster(partitions=3)
        cluster.start()
        make_table(cluster, TABLE)
        client = dynamodb(cluster.http_url)
        longest = 0.0
        for number in range(300):  # several times what the queue holds
            began = time.monotonic()
            item = {"group": {"S": f"item-{number}"}, "id": {"S": "x"}}
            client.put_item(TableName=TABLE, Item=item)
            longest = max(longest, time.monotonic() - began)
        client.close()
        began = time.monotonic()
        assert cluster.stop() == 0
        assert longest < 2.0  # an export's own time-out is 10 s
        assert time.monotonic() - began < 10.0
