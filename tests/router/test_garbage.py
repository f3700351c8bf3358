"""Answered calls leave no cycles: only the collector frees those, tens of milliseconds at a time.

The router collects seldom (`router.process.GC_THRESHOLD`), for requests are to make none.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc.aio
import orjson
import pytest

from quorate.demo.raw_http import dynamodb_request
from quorate.v1 import api_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from tests.router.cluster import SCANT
from tests.router.talk import read_answer
from tests.router.world import World, tell

CALLS = 20

ITEM = {"TableName": "Music", "Item": {"p": {"S": "a"}}}
KEY = {"TableName": "Music", "Key": {"p": {"S": "a"}}}
PUTS = [{"PutRequest": {"Item": {"p": {"S": name}}}} for name in "abc"]

REQUESTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "put": ("PutItem", ITEM),
    "get": ("GetItem", KEY),
    "delete": ("DeleteItem", KEY),
    "update": ("UpdateItem", KEY),
    "batch": ("BatchWriteItem", {"RequestItems": {"Music": PUTS}}),
    "batch of gets": (
        "BatchGetItem",
        {"RequestItems": {"Music": {"Keys": [{"p": {"S": name}} for name in "abc"]}}},
    ),
    "query": (
        "Query",
        {
            "TableName": "Music",
            "KeyConditionExpression": "p = :p",
            "ExpressionAttributeValues": {":p": {"S": "a"}},
        },
    ),
    "scan": ("Scan", {"TableName": "Music"}),
    "no such table": ("PutItem", {**ITEM, "TableName": "Nothing"}),
    "no key": ("PutItem", {"TableName": "Music", "Item": {}}),
    "no JSON object": ("PutItem", {}),
    "no such operation": ("Nothing", {}),
    "described": ("DescribeTable", {"TableName": "Music"}),
}


@contextmanager
def garbage() -> Iterator[Counter[str]]:
    """Count, by type, what of ours only the collector would have freed in the block."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        kinds = (type(each) for each in gc.garbage)
        found.update(
            f"{kind.__module__}.{kind.__qualname__}"
            for kind in kinds
            if kind.__module__.startswith(("router.", "quorate.", "model."))
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def call(world: World, operation: str, body: Mapping[str, object]) -> None:
    """Send a call many times on one connection, each after the last was answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
    request = dynamodb_request(operation, orjson.dumps(body), host="127.0.0.1")
    for _ in range(CALLS):
        writer.write(request)
        await read_answer(reader)
    writer.close()
    await writer.wait_closed()


async def leaves_no_cycle(world: World, kind: str) -> None:
    """Make calls of a kind twice: what is done for the first time may leave something."""
    await call(world, *REQUESTS[kind])
    with garbage() as found:
        await call(world, *REQUESTS[kind])
        await asyncio.sleep(0)
    assert sum(found.values()) < CALLS, found


@pytest.mark.parametrize("kind", REQUESTS)
def test_answered_call_over_http_leaves_no_cycle(kind: str) -> None:
    tell(lambda world: leaves_no_cycle(world, kind))


@pytest.mark.parametrize("kind", ["put", "get", "delete", "update", "batch", "query", "scan"])
def test_throttled_call_leaves_no_cycle(kind: str) -> None:
    async def story(world: World) -> None:
        await leaves_no_cycle(world, kind)
        refused = sum(sum(usage.throttled.values()) for usage in world.router.admission.usages())
        assert refused > CALLS, "and this was about throttled ones"

    tell(story, definition=SCANT, request_timeout_ms=350)  # batches wait for capacity till then


def test_answered_call_over_grpc_leaves_no_cycle() -> None:
    async def story(world: World) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            stub = QuorateServiceStub(channel)
            item = {"p": api_pb2.AttributeValue(s="a")}
            with garbage() as found:
                for _ in range(CALLS):
                    await stub.PutItem(api_pb2.PutItemRequest(table_name="Music", item=item))
            assert sum(found.values()) < CALLS, found

    tell(story)
