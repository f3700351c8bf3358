"""Answers over gRPC fit into what the client takes: 4 MiB, by default and in all languages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
import orjson
import pytest

from model.image import encode_image
from model.limits import ITEM_SIZE_BYTES_MAX
from model.values import measure_item
from quorate.client import Client
from quorate.v1 import api_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from router.arrivals import REQUEST_BYTES_MAX
from router.grpc_call import (
    ENVELOPE_BYTES,
    MESSAGE_BYTES_DEFAULT,
    MESSAGE_BYTES_MAX,
    message_bytes_max,
)
from tests.router.cluster import SCANT
from tests.router.test_grpc_bytes import reason_of
from tests.router.world import World, tell

TAKES = "x-quorate-answer-bytes"
VALUES: dict[str, dict[str, Any]] = {
    "a text": {"S": "x" * 390_000},
    "a binary": {"B": "eHh4" * 130_000},
    "empty texts": {"L": [{"S": ""}] * 390_000},
    "control characters": {"S": "\x01" * 390_000},
    "nulls": {"L": [{"NULL": True}] * 195_000},
    "empty maps": {"L": [{"M": {}}] * 97_000},
    "a set": {"SS": [f"{number:05}" for number in range(78_000)]},
    "long texts": {"L": [{"S": "y" * 16_384}] * 23},
    "short numbers": {"L": [{"N": "1"}] * 130_000},
}
"""What takes the most bytes, as JSON or as a message, for what an item of 400 KB may have."""


def name_of(number: int) -> str:
    return f"big{number:02}"


async def put_items(world: World, value: dict[str, Any], count: int) -> None:
    for number in range(count):
        item = {"p": {"S": name_of(number)}, "v": value}
        status, _, answer = await world.http("PutItem", {"TableName": "Music", "Item": item})
        assert status == 200, answer


def channel_of(world: World, **options: int) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(
        f"127.0.0.1:{world.router.grpc_port}", options=tuple(options.items())
    )


def wanted(keys: Iterable[api_pb2.AttributeMap]) -> api_pb2.BatchGetItemRequest:
    of_table = api_pb2.KeysAndAttributes(keys=keys, consistent_read=True)
    return api_pb2.BatchGetItemRequest(request_items={"Music": of_table})


def keys_of(count: int) -> list[api_pb2.AttributeMap]:
    return [
        api_pb2.AttributeMap(values={"p": api_pb2.AttributeValue(s=name_of(number))})
        for number in range(count)
    ]


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_batch_of_large_items_comes_in_several_answers(value: dict[str, Any]) -> None:
    """What does not fit is unprocessed; who asks for that again gets all."""
    count = 2 + MESSAGE_BYTES_DEFAULT // len(orjson.dumps(value))

    async def story(world: World) -> None:
        await put_items(world, value, count)
        found: set[str] = set()
        keys = keys_of(count)
        async with channel_of(world) as channel:
            while keys:
                answer = await QuorateServiceStub(channel).BatchGetItem(wanted(keys), timeout=20)
                assert answer.ByteSize() <= MESSAGE_BYTES_DEFAULT
                names = {item.values["p"].s for item in answer.responses["Music"].values}
                assert names
                assert not names & found
                found |= names
                keys = list(answer.unprocessed_keys["Music"].keys)
        assert found == {name_of(number) for number in range(count)}

    tell(story, request_timeout_ms=20_000)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_page_and_item_of_any_content_fit(value: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        await put_items(world, value, 3)
        async with channel_of(world) as channel:
            stub = QuorateServiceStub(channel)
            key = keys_of(1)[0].values
            got = await stub.GetItem(
                api_pb2.GetItemRequest(table_name="Music", key=key, consistent_read=True),
                timeout=20,
            )
            assert got.found
            found: list[str] = []
            request = api_pb2.ScanRequest(table_name="Music", consistent_read=True)
            while True:
                page = await stub.Scan(request, timeout=20)
                found += [item.values["p"].s for item in page.items]
                assert page.count == page.scanned_count == len(page.items)
                if not page.last_evaluated_key:
                    break
                request.ClearField("exclusive_start_key")
                for name, each in page.last_evaluated_key.items():
                    request.exclusive_start_key[name].CopyFrom(each)
        assert sorted(found) == [name_of(number) for number in range(3)]

    tell(story, request_timeout_ms=20_000)


async def put_huge_item(world: World) -> None:
    """Let there be an item of 90,000 numbers of 125 digits, each 3 bytes as DynamoDB counts."""
    await put_items(world, {"S": ""}, 1)
    numbers = [{"N": f"{number}{'0' * 124}"} for number in range(1, 10)] * 10_000
    item: dict[str, object] = {"p": {"S": name_of(0)}, "v": {"L": numbers}}
    size_bytes = measure_item(item)
    assert size_bytes < ITEM_SIZE_BYTES_MAX
    (key,) = world.items
    world.items[key] = encode_image(item, size_bytes)


def test_item_that_alone_is_larger_is_refused_unless_the_client_takes_it() -> None:
    async def story(world: World) -> None:
        await put_huge_item(world)
        (key,) = keys_of(1)
        request = api_pb2.GetItemRequest(table_name="Music", key=key.values, consistent_read=True)
        async with channel_of(world) as channel:
            for call in (
                QuorateServiceStub(channel).GetItem(request, timeout=20),
                QuorateServiceStub(channel).BatchGetItem(wanted([key]), timeout=20),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert reason_of(refused.value) == "LimitExceededException"
                assert TAKES in (refused.value.details() or "")
        more = {"grpc.max_receive_message_length": MESSAGE_BYTES_MAX}
        async with channel_of(world, **more) as channel:
            got = await QuorateServiceStub(channel).GetItem(
                request, timeout=20, metadata=((TAKES, str(MESSAGE_BYTES_MAX)),)
            )
            assert len(got.item["v"].l.values) == 90_000

    tell(story, request_timeout_ms=20_000)


@pytest.mark.parametrize(
    ("text", "bytes_max"),
    [
        ("8388608", 8 << 20),
        (" 8388608 ", 8 << 20),
        ("999999999999999999999", MESSAGE_BYTES_MAX),
        ("9" * 5_000, MESSAGE_BYTES_MAX),
        ("0" * 5_000 + "8388608", 8 << 20),
        ("\u0661" * 8, MESSAGE_BYTES_DEFAULT),
        ("0", 2 * ENVELOPE_BYTES),
        ("", MESSAGE_BYTES_DEFAULT),
        ("-1", MESSAGE_BYTES_DEFAULT),
        ("many", MESSAGE_BYTES_DEFAULT),
    ],
)
def test_client_says_what_it_takes_in_metadata(text: str, bytes_max: int) -> None:
    assert message_bytes_max([("other", "1"), (TAKES, text)]) == bytes_max
    assert message_bytes_max([]) == MESSAGE_BYTES_DEFAULT


def test_write_batch_whose_unprocessed_items_would_not_fit_has_an_unknown_outcome() -> None:
    """Some were written, and the client could not be told which: so it sends all of it again."""

    async def story(world: World) -> None:
        puts = [
            api_pb2.WriteRequest(
                put_request=api_pb2.PutRequest(
                    item={
                        "p": api_pb2.AttributeValue(s=name_of(number)),
                        "v": api_pb2.AttributeValue(s="x" * 150_000),
                    }
                )
            )
            for number in range(25)
        ]
        puts[0].put_request.item["v"].s = "x"
        request = api_pb2.BatchWriteItemRequest(
            request_items={"Music": api_pb2.WriteRequests(values=puts)}
        )
        async with channel_of(world) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await QuorateServiceStub(channel).BatchWriteItem(
                    request, timeout=20, metadata=[("x-quorate-answer-bytes", str(1 << 20))]
                )
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert reason_of(refused.value) == "InternalServerError"
        assert 0 < len(world.items) < 25

    tell(story, definition=SCANT, request_timeout_ms=5_000)


def test_request_larger_than_a_message_may_be_is_refused_when_it_is_announced() -> None:
    async def story(world: World) -> None:
        request = api_pb2.PutItemRequest(table_name="x" * REQUEST_BYTES_MAX)
        async with channel_of(world) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await QuorateServiceStub(channel).PutItem(request, timeout=20)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    tell(story)


def test_messages_of_a_stream_hold_as_many_answers_as_the_client_takes() -> None:
    count = 30

    async def story(world: World) -> None:
        await put_items(world, VALUES["a text"], count)
        bodies = [
            orjson.dumps({"TableName": "Music", "Key": {"p": {"S": name_of(number)}}})
            for number in range(count)
        ]
        every = {"Keys": [{"p": {"S": name_of(number)}} for number in range(count)]}
        bodies.append(orjson.dumps({"RequestItems": {"Music": every}}))
        request = api_pb2.PipelineRequest(
            id=range(count + 1),
            operation=["GetItem"] * count + ["BatchGetItem"],
            body=bodies,
            request_id=[b""] * (count + 1),
            deadline_ms=[20_000] * (count + 1),
        )
        for takes, messages_max in ((MESSAGE_BYTES_DEFAULT, 14), (16 << 20, 4)):
            options = {"grpc.max_receive_message_length": takes}
            async with channel_of(world, **options) as channel:
                metadata = ((TAKES, str(takes)),) if takes != MESSAGE_BYTES_DEFAULT else ()
                call = QuorateServiceStub(channel).Pipeline(timeout=30, metadata=metadata)
                await call.write(request)
                await call.done_writing()
                answered = [message async for message in call]
            statuses = [status for message in answered for status in message.http_status]
            assert statuses == [200] * (count + 1)
            assert all(message.ByteSize() <= takes for message in answered)
            assert len(answered) <= messages_max + count

    tell(story, request_timeout_ms=20_000)


def test_our_client_takes_more_and_says_so() -> None:
    async def story(world: World) -> None:
        await put_huge_item(world)
        async with Client(f"127.0.0.1:{world.router.grpc_port}") as client:
            item = await client.get_item("Music", {"p": name_of(0)}, consistent_read=True)
        assert item is not None
        assert len(item["v"]) == 90_000

    tell(story, request_timeout_ms=20_000)


@pytest.mark.parametrize("character", ["x", "\u00e9", "\u4e2d", "\U0001f600", "%", "\n"])
def test_error_that_quotes_much_of_the_request_arrives(character: str) -> None:
    """In trailers, percent-encoded and in base64; clients take 8 KiB of those."""

    async def story(world: World) -> None:
        async with channel_of(world) as channel:
            for name in (character * 3_000, (character + " ") * 1_500):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await QuorateServiceStub(channel).GetItem(
                        api_pb2.GetItemRequest(table_name=name), timeout=5
                    )
                assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert reason_of(refused.value) == "ValidationException"
                assert "validation error" in (refused.value.details() or "")

    tell(story)
