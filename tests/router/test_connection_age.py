"""Connections that are old go, so that new routers get some: between requests, and none fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import grpc.aio

from quorate.client import Client
from quorate.http.exchange import Exchange
from quorate.http.limits import HttpLimits
from quorate.http.server import HttpServer
from quorate.v1 import api_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from tests.router.loops import run
from tests.router.world import World, tell

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
AGE_SECONDS = 100.0


async def head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a request; return the header of its answer, which has no body."""
    writer.write(REQUEST)
    return await reader.readuntil(b"\r\n\r\n")


def test_http_connection_ends_with_the_first_answer_after_its_time() -> None:
    def handle(exchange: Exchange) -> None:
        exchange.reply(200, b"", b"")

    async def story() -> None:
        server = HttpServer(handle, HttpLimits(), age_seconds_max=AGE_SECONDS)
        await server.start("127.0.0.1", 0)
        born = server.now
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

        server.now = born + 0.89 * AGE_SECONDS
        assert b"Connection: close" not in await head(reader, writer)
        server.now = born + 1.11 * AGE_SECONDS
        assert b"Connection: close" in await head(reader, writer)
        assert await reader.read() == b""

        server.stop_accepting()
        writer.close()

    run(story())


def test_connections_that_came_together_do_not_all_go_together() -> None:
    server = HttpServer(lambda exchange: None, HttpLimits(), age_seconds_max=AGE_SECONDS)

    ages = sorted(server._age_of_next() for _ in range(100))

    assert 0.9 * AGE_SECONDS <= ages[0] < ages[-1] <= 1.1 * AGE_SECONDS
    assert max(later - sooner for sooner, later in pairwise(ages)) < 1.0


def test_grpc_stream_ends_in_order_and_calls_go_on_over_new_connections() -> None:
    """A stream is told to end once all is answered; a unary call never sees the change."""

    async def story(world: World) -> None:
        address = f"127.0.0.1:{world.router.grpc_port}"
        async with grpc.aio.insecure_channel(address) as channel:
            stub = QuorateServiceStub(channel)  # type: ignore[no-untyped-call]
            asked = asyncio.Event()

            async def requests() -> AsyncIterator[api_pb2.PipelineRequest]:
                yield api_pb2.PipelineRequest(
                    id=[7],
                    operation=["ListTables"],
                    body=[b"{}"],
                    request_id=[b""],
                    deadline_ms=[0],
                )
                await asked.wait()  # the client would go on

            stream = stub.Pipeline(requests())
            answers = [answer async for answer in stream]  # until the router ends it
            asked.set()

            assert [(list(each.id), list(each.http_status)) for each in answers] == [([7], [200])]
            assert await stream.code() == grpc.StatusCode.OK
            until = asyncio.get_running_loop().time() + 1.5  # more than a connection's age
            while asyncio.get_running_loop().time() < until:
                assert (await stub.ListTables(api_pb2.ListTablesRequest())).table_names == ["Music"]

    tell(story, connection_age_seconds=1)


def test_our_client_sees_nothing_of_it() -> None:
    """Its stream ends every second, and it opens others: no call fails, none is done twice."""

    async def story(world: World) -> None:
        done = 0
        until = asyncio.get_running_loop().time() + 2.5

        async def put_on() -> None:
            nonlocal done
            while asyncio.get_running_loop().time() < until:
                await client.put_item("Music", {"p": f"item-{done}"})
                done += 1

        async with Client(f"127.0.0.1:{world.router.grpc_port}") as client:
            await asyncio.gather(*(put_on() for _ in range(8)))

        assert done > 8
        assert sum(node.applied for node in world.nodes) == done

    tell(story, connection_age_seconds=1)
