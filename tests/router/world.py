"""A whole router in one loop, against three stand-in nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import orjson

from quorate.cluster.catalog import UserRecord
from router.options import RouterOptions
from router.process import RouterProcess
from tests.router.cluster import CLUSTER_ID, DEFINITION, make_catalog
from tests.router.loops import run
from tests.router.stand_in import StandIn

TIMEOUT_MS = 1_000


@dataclass
class World:
    """A running router and its nodes."""

    router: RouterProcess
    nodes: list[StandIn]
    items: dict[bytes, bytes]

    async def http(
        self, operation: str, body: object, headers: bytes = b"", raw: bytes | None = None
    ) -> tuple[int, dict[bytes, bytes], dict[str, object]]:
        """Call an operation; return status, headers in lower case and the answer's JSON."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.router.http_port)
        content = orjson.dumps(body) if raw is None else raw
        writer.write(
            b"POST / HTTP/1.1\r\nX-Amz-Target: DynamoDB_20120810.%b\r\n"
            b"Content-Type: application/x-amz-json-1.0\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n%b\r\n%b" % (operation.encode(), len(content), headers, content)
        )
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        head, _, document = answer.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in lines[1:])
        assert int(fields[b"x-amz-crc32"]) == crc32(document)
        assert len(fields[b"x-amzn-requestid"]) == 52
        return int(lines[0][9:12]), fields, orjson.loads(document)

    async def put(self, name: str, **more: object) -> tuple[int, dict[str, object]]:
        status, _, answer = await self.http(
            "PutItem", {"TableName": "Music", "Item": {"p": {"S": name}}, **more}
        )
        return status, answer

    async def publish_users(self, *users: UserRecord, closed: bool = False) -> None:
        """Let all nodes have a catalog with these users, and no others; the router has seen it."""
        catalog = self.nodes[0].catalog
        for node in self.nodes:
            node.publish(replace(catalog, epoch=catalog.epoch + 1, users=users, closed=closed))
        assert await self.router.view.wait_for(catalog.epoch + 1, self.router.clock() + 3.0)

    def lead(self, node_id: int, *, term: int, partition: int = 1) -> None:
        """Make a node the leader and let all live nodes say so."""
        for node in self.nodes:
            node.hint(partition, term, node_id)


@contextlib.asynccontextmanager
async def world(
    *,
    partitions: int = 1,
    users: tuple[UserRecord, ...] = (),
    definition: bytes = DEFINITION,
    **options: Any,
) -> AsyncIterator[World]:
    items: dict[bytes, bytes] = {}
    seen_ids: set[bytes] = set()
    nodes = [StandIn(number, items, seen_ids) for number in (1, 2, 3)]
    ports = [await node.start() for node in nodes]
    catalog = make_catalog(partitions=partitions, ports=ports, definition=definition)
    catalog = replace(catalog, users=users)
    for node in nodes:
        node.publish(catalog)
        for partition in catalog.partitions:
            node.leaders[partition.id] = (1, partition.replicas[0])
    settings = {
        "name": "r1",
        "az": "az-a",
        "http": "127.0.0.1:0",
        "grpc": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "cluster_id": CLUSTER_ID,
        "nodes": tuple(f"127.0.0.1:{port}" for port in ports),
        "request_timeout_ms": TIMEOUT_MS,
        "log_level": "error",
    }
    router = RouterProcess(RouterOptions(**{**settings, **options}))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(router.run())
        await router.listening.wait()
        while not router.is_ready and not running.done():
            await asyncio.sleep(0.005)
        try:
            yield World(router, nodes, items)
        finally:
            router.stop_wanted.set()
            await running
            for node in nodes:
                await node.stop()


def tell(story: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Run a story; `options` are those of `world`, and of the router."""

    async def within() -> None:
        async with world(**options) as the_world:
            await story(the_world)

    run(within())
