"""Whoever fills the gRPC server leaves room for others; who may not call does not stay."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from quorate.shares import Shares, network_of_peer
from quorate.v1 import api_pb2
from router import grpc_gate, pipeline
from tests.router.cluster import CLUSTER_ID
from tests.router.signed import ada
from tests.router.world import World, tell

PIPELINE = "/quorate.v1.QuorateService/Pipeline"
WATCH = "/grpc.health.v1.Health/Watch"


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("ipv4:192.0.2.7:50000", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:50000", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2::9]:50000", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:1", "192.0.2.7"),
        ("ipv6:%5Bfe80::1%25eth0%5D:1", "fe80::/64"),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_network_of_a_peer(peer: str, network: str) -> None:
    assert network_of_peer(peer) == network


def test_shares_are_bounded_for_each_network_and_in_all() -> None:
    shares = Shares(per_network_max=2, all_max=3)
    assert [shares.take("a") for _ in range(3)] == [True, True, False]
    assert [shares.take("b") for _ in range(2)] == [True, False]
    assert not shares.take("c")
    shares.give_back("a")
    assert shares.take("c")


def channel_of(world: World) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}")


async def put(channel: grpc.aio.Channel) -> None:
    item = {"p": api_pb2.AttributeValue(s="k")}
    request = api_pb2.PutItemRequest(table_name="Music", item=item)
    call: Any = channel.unary_unary("/quorate.v1.QuorateService/PutItem")
    await call(request.SerializeToString(), timeout=10)


def test_streams_of_a_network_have_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_gate, "STREAMS_PER_NETWORK_MAX", 2)

    async def story(world: World) -> None:
        async with channel_of(world) as channel:
            watch: Any = channel.unary_stream(WATCH)
            watches = [watch(b"") for _ in range(2)]
            for each in watches:
                await each.read()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await watch(b"").read()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "streams" in str(refused.value.details())
            await put(channel)  # calls are not streams

            watches[0].cancel()
            while True:  # until the router has noticed
                try:
                    await watch(b"").read()
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0)

    tell(story)


def test_calls_of_a_network_have_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_gate, "CALLS_PER_NETWORK_MAX", 1)

    async def story(world: World) -> None:
        async with channel_of(world) as channel:
            held: Any = channel.stream_unary("/quorate.v1.QuorateService/PutItem")()
            await held.wait_for_connection()
            while True:
                try:
                    await put(channel)
                except grpc.aio.AioRpcError as refused:
                    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
                    break
            held.cancel()

    tell(story)


def test_stream_without_a_signature_does_not_stay(key_file: Path) -> None:
    async def story(world: World) -> None:
        async with channel_of(world) as channel:
            stream: Any = channel.stream_stream(PIPELINE)()
            assert await stream.code() is grpc.StatusCode.UNAUTHENTICATED

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_idle_stream_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "IDLE_SECONDS_MAX", 0.0)

    async def story(world: World) -> None:
        async with channel_of(world) as channel:
            stream: Any = channel.stream_stream(PIPELINE)()
            assert await stream.code() is grpc.StatusCode.OK

    tell(story)


def test_stream_whose_answers_nobody_reads_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "UNREAD_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(grpc_gate, "STREAMS_PER_NETWORK_MAX", 1)

    async def story(world: World) -> None:
        await world.put("k", Item={"p": {"S": "k"}, "v": {"S": "x" * 300_000}})
        body = b'{"TableName":"Music","Key":{"p":{"S":"k"}},"ConsistentRead":true}'
        count = 40
        one = api_pb2.PipelineRequest(
            id=[7], operation=["GetItem"], body=[body], request_id=[b""], deadline_ms=[5_000]
        )
        request = api_pb2.PipelineRequest(
            id=range(count),
            operation=["GetItem"] * count,
            body=[body] * count,
            request_id=[b""] * count,
            deadline_ms=[5_000] * count,
        )
        async with channel_of(world) as channel:
            open_stream: Any = channel.stream_stream(PIPELINE)
            unread = open_stream()
            await unread.write(request.SerializeToString())
            answer = None
            while answer is None:  # refused until the first one's place is free
                other = open_stream()
                try:
                    await other.write(one.SerializeToString())
                    answer = await other.read()
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    answer = None
            assert api_pb2.PipelineResponse.FromString(answer).id == [7]
            unread.cancel()

    tell(story)
