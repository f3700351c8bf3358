"""Which calls get a line, and what is in it."""

from __future__ import annotations

from typing import Any

import pytest

from quorate.cluster.write_id import write_id
from quorate.logs import Event
from router.call_log import LINES_PER_SECOND_MAX
from tests.router.world import World, tell

ID = "0f0e0d0c-0b0a-0908-0706-050403020100"


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [
        {"event": record.msg.name, **record.msg.facts}
        for record in caplog.records
        if isinstance(record.msg, Event) and record.msg.name.endswith("_request")
    ]


def test_slow_write_names_the_ids_that_lead_on(caplog: pytest.LogCaptureFixture) -> None:
    """0.0001 ms is not to be had by option; every call is slow for a threshold of nothing."""

    async def story(world: World) -> None:
        log = world.router.metrics._call_log
        assert log is not None
        world.router.metrics._slow_seconds = 0.0
        _, fields, _ = await world.http(
            "PutItem",
            {"TableName": "Music", "Item": {"p": {"S": "secret"}}},
            b"amz-sdk-invocation-id: %b\r\n" % ID.encode(),
        )
        ((key, image),) = world.items.items()
        (line,) = lines(caplog)
        assert line["event"] == "slow_request"
        assert (line["operation"], line["code"]) == ("PutItem", "OK")
        assert line["request"] == ID.replace("-", "")
        assert fields[b"x-amzn-requestid"].decode().startswith(line["request"])
        assert line["write"] == write_id(bytes.fromhex(line["request"]), key, image, b"").hex()
        assert (line["partition"], line["attempts"]) == (1, 1)
        assert 0 < line["decode_ms"] + line["dispatch_ms"] <= line["ms"] + 0.2
        assert "secret" not in str(line)

    tell(story)


def test_quick_call_has_no_line_and_a_caller_s_mistake_neither(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(world: World) -> None:
        await world.put("a")
        await world.http("PutItem", {"TableName": "Music", "Item": {}})
        assert not lines(caplog)

    tell(story)


def test_failed_call_is_told_of_and_many_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: World) -> None:
        for node in world.nodes:
            await node.stop()
        for number in range(2):
            status, _ = await world.put(f"item-{number}")
            assert status in (500, 503)
        failed = lines(caplog)
        assert {line["event"] for line in failed} == {"failed_request"}
        assert len(failed) <= LINES_PER_SECOND_MAX

    tell(story, request_timeout_ms=200)
