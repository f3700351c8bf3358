"""Bytes over gRPC that are no message: the client's fault, said in our words by every method.

UNKNOWN would tell a client that a write may have been done; and nobody's bytes write a traceback.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from quorate.client.credentials import Credentials
from quorate.security.sealing import OPERATOR_ID
from quorate.v1 import api_pb2, cluster_pb2, users_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from router.grpc_errors import DETAILS_KEY
from tests.router.signed import KEY_FILE
from tests.router.world import World, tell

API = api_pb2.DESCRIPTOR.services_by_name["QuorateService"]
UNARY = [method.name for method in API.methods if method.name != "Pipeline"]
OPERATORS = [
    f"{service.full_name}/{method.name}"
    for service in (
        users_pb2.DESCRIPTOR.services_by_name["UserService"],
        cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"],
    )
    for method in service.methods
]
NO_MESSAGE = {
    "a text that is not UTF-8": b"\x0a\x03\xff\xfe\xfd",
    "half a surrogate pair": b"\x0a\x03\xed\xa0\x80",
    "cut short": b"\x0a\x50abc",
    "cut in a tag": b"\x80",
    "no such wire type": b"\x0f",
    "an endless number": b"\xff" * 20,
}


def wrapped(content: bytes, *tags: int) -> bytes:
    """Return a field's bytes in messages around each other, the innermost tag first."""
    for tag in tags:
        length, varint = len(content), bytearray([tag])
        while length > 127:
            varint.append(length & 127 | 128)
            length >>= 7
        content = bytes([*varint, length]) + content
    return content


def nested_item(levels: int) -> bytes:
    """Return a PutItemRequest with an attribute of so many lists in each other."""
    value = wrapped(b"x", 0x0A)
    for _ in range(levels):
        value = wrapped(value, 0x0A, 0x42)  # AttributeList.values, AttributeValue.l
    return wrapped(b"Music", 0x0A) + wrapped(wrapped(b"p", 0x0A) + wrapped(value, 0x12), 0x12)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the DynamoDB error code that a failed call's details carry."""
    metadata: Any = error.trailing_metadata()
    (raw,) = [value for key, value in metadata if key == DETAILS_KEY]
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(raw).details[0].Unpack(info)
    assert info.domain == "quorate"
    return str(info.reason)


async def unary(
    world: World, method: str, raw: bytes, metadata: Any = ()
) -> grpc.aio.AioRpcError | None:
    """Call a method with raw bytes; return how it failed."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
        call: Any = channel.unary_unary(f"/{method}")
        try:
            await call(raw, timeout=5, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return error
        return None


def check(error: grpc.aio.AioRpcError | None, reason: str = "SerializationException") -> None:
    """Check that a call failed by the client's fault, and that nothing of Python is told."""
    assert error is not None
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    assert reason_of(error) == reason
    details = error.details() or ""
    assert details
    assert not any(word in details for word in ("Error", "class", "google", "upb"))


@pytest.fixture
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.usefixtures("nothing_is_logged")
def test_every_unary_method_refuses_them() -> None:
    async def story(world: World) -> None:
        for operation in UNARY:
            for raw in NO_MESSAGE.values():
                has_text = getattr(api_pb2, f"{operation}Request").DESCRIPTOR.fields
                if not has_text and raw[:1] == b"\x0a" and b"abc" not in raw:
                    continue  # a field that it does not know, of any bytes
                check(await unary(world, f"{API.full_name}/{operation}", raw))

    tell(story)


@pytest.mark.usefixtures("nothing_is_logged")
@pytest.mark.parametrize("levels", [32, 49, 50, 100, 1_000, 10_000])
def test_item_nested_too_deeply_is_a_validation_error_however_deep(levels: int) -> None:
    async def story(world: World) -> None:
        error = await unary(world, f"{API.full_name}/PutItem", nested_item(levels))

        check(error, "ValidationException")
        assert error is not None
        assert (error.details() or "").startswith("Nesting Levels have exceeded supported limits")

    tell(story)


def test_item_nested_as_deeply_as_it_may_be_is_written_and_read_by_every_method() -> None:
    """31 maps around a text: each is three messages, and protobuf takes a hundred."""

    async def story(world: World) -> None:
        value = api_pb2.AttributeValue(s="deep")
        for _ in range(31):
            outer = api_pb2.AttributeValue()
            outer.m.values["k"].CopyFrom(value)
            value = outer
        item = {"p": api_pb2.AttributeValue(s="k"), "v": value}
        key = {"p": item["p"]}
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            stub = QuorateServiceStub(channel)
            await stub.PutItem(api_pb2.PutItemRequest(table_name="Music", item=item))
            put = api_pb2.WriteRequest(put_request=api_pb2.PutRequest(item=item))
            await stub.BatchWriteItem(
                api_pb2.BatchWriteItemRequest(
                    request_items={"Music": api_pb2.WriteRequests(values=[put])}
                )
            )
            got = await stub.GetItem(
                api_pb2.GetItemRequest(table_name="Music", key=key, consistent_read=True)
            )
            wanted = api_pb2.KeysAndAttributes(
                keys=[api_pb2.AttributeMap(values=key)], consistent_read=True
            )
            batch = await stub.BatchGetItem(
                api_pb2.BatchGetItemRequest(request_items={"Music": wanted})
            )
            page = await stub.Scan(api_pb2.ScanRequest(table_name="Music", consistent_read=True))
        assert dict(got.item) == item
        assert dict(batch.responses["Music"].values[0].values) == item
        assert dict(page.items[0].values) == item

    tell(story)


@pytest.mark.usefixtures("nothing_is_logged")
@pytest.mark.parametrize("raw", NO_MESSAGE.values(), ids=NO_MESSAGE)
def test_stream_ends_with_why(raw: bytes) -> None:
    async def story(world: World) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            call: Any = channel.stream_stream(f"/{API.full_name}/Pipeline")

            async def requests() -> AsyncIterator[bytes]:
                yield raw

            with pytest.raises(grpc.aio.AioRpcError) as ended:
                async for _ in call(requests(), timeout=5):
                    pass
            check(ended.value)

    tell(story)


@pytest.mark.usefixtures("nothing_is_logged")
def test_stream_with_columns_that_do_not_fit_together_ends_with_why() -> None:
    async def story(world: World) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            call = QuorateServiceStub(channel).Pipeline(timeout=5)
            await call.write(api_pb2.PipelineRequest(id=[1, 2], operation=["PutItem"]))
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await call.read()
            check(ended.value)

    tell(story)


@pytest.mark.usefixtures("nothing_is_logged")
@pytest.mark.parametrize("method", OPERATORS)
def test_operators_methods_refuse_them(key_file: Path, method: str) -> None:
    operator = Credentials(OPERATOR_ID, KEY_FILE.operator_secret)

    async def story(world: World) -> None:
        for raw in (NO_MESSAGE["cut short"], NO_MESSAGE["an endless number"]):
            signed = operator.metadata(f"/{method}", time.time(), raw)
            check(await unary(world, method, raw, signed))

    tell(story, key_file=key_file)


@pytest.mark.usefixtures("nothing_is_logged")
def test_health_and_reflection_refuse_them() -> None:
    async def story(world: World) -> None:
        raw = NO_MESSAGE["cut short"]
        check(await unary(world, "grpc.health.v1.Health/Check", raw))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            watch: Any = channel.unary_stream("/grpc.health.v1.Health/Watch")
            reflect: Any = channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
            )

            async def requests() -> AsyncIterator[bytes]:
                yield raw

            for answers in (watch(raw, timeout=5), reflect(requests(), timeout=5)):
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    async for _ in answers:
                        pass
                check(ended.value)

    tell(story, reflection=True)
