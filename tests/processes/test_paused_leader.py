"""A leader that was frozen and comes back must not speak for a partition that it lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from model.image import decode_image
from model.keys import KeySchema, storage_key
from quorate import Client
from quorate.local.background import BackgroundCluster, partition_of
from quorate.v1 import node_pb2, node_pb2_grpc
from tests.processes.conftest import TABLE, heal

GROUP = "frozen"
KEY = {"group": {"S": GROUP}, "id": {"S": "k"}}
SCHEMA = KeySchema(partition_name="group", partition_type="S", sort_name="id", sort_type="S")


class DirectReader:
    """Strong reads asked of one node itself, as a router that still believes in it would."""

    def __init__(self, stub: Any, status: dict[str, Any]) -> None:
        (table_id,) = (table["id"] for table in status["tables"] if table["name"] == TABLE)
        self._key = storage_key(table_id, SCHEMA, KEY)
        self._partition = partition_of(status, TABLE, {"S": GROUP})
        self._epoch = status["epoch"]
        self._sequence = 0
        self._call = stub.Route()

    async def ask(self) -> None:
        self._sequence += 1
        await self._call.write(
            node_pb2.RouteBatch(
                sequence=self._sequence,
                catalog_epoch=self._epoch,
                gets=node_pb2.GetColumns(
                    slots=[self._sequence],
                    partitions=[self._partition],
                    deadlines_ms=[4_000],
                    keys=[self._key],
                    consistent=[True],
                ),
            )
        )

    async def answers(self, count: int) -> list[tuple[int, int | None]]:
        """Return (outcome, value) of the next `count` answers; a broken stream ends them."""
        found: list[tuple[int, int | None]] = []
        while len(found) < count:
            try:
                reply = await asyncio.wait_for(self._call.read(), 8)
            except grpc.aio.AioRpcError:
                break
            if reply is grpc.aio.EOF:
                break
            for outcome, payload in zip(
                reply.answers.outcomes, reply.answers.payloads, strict=True
            ):
                value = None
                if outcome == node_pb2.OUTCOME_OK and payload:
                    value = int(decode_image(payload)["value"]["N"])  # type: ignore[index,call-overload]
                found.append((outcome, value))
        return found


@asynccontextmanager
async def direct_reader(address: str, status: dict[str, Any]) -> AsyncIterator[DirectReader]:
    async with grpc.aio.insecure_channel(address) as channel:
        reader = DirectReader(node_pb2_grpc.NodeServiceStub(channel), status)
        try:
            yield reader
        finally:
            reader._call.cancel()


@pytest.fixture
def healed(shared_cluster: BackgroundCluster) -> Iterator[BackgroundCluster]:
    yield shared_cluster
    heal(shared_cluster)


def test_writes_resume_while_a_leader_is_paused_and_it_answers_no_stale_strong_read(
    healed: BackgroundCluster,
) -> None:
    """The reads that waited in its socket are the first thing that a resumed leader sees."""
    cluster = healed

    async def story() -> None:
        status = await asyncio.to_thread(cluster.status)
        leader = await asyncio.to_thread(cluster.leader_of, TABLE, {"S": GROUP})
        address = next(node["address"] for node in status["nodes"] if node["name"] == leader)
        async with (
            Client(cluster.grpc_address) as client,
            direct_reader(address, status) as reader,
        ):
            await client.put_item(TABLE, {"group": GROUP, "id": "k", "value": 1})
            await reader.ask()
            assert await reader.answers(1) == [(node_pb2.OUTCOME_OK, 1)]

            await asyncio.to_thread(cluster.pause, leader)
            paused = time.monotonic()
            await client.put_item(TABLE, {"group": GROUP, "id": "k", "value": 2})
            seconds = time.monotonic() - paused
            for _ in range(20):
                await reader.ask()
            await asyncio.to_thread(cluster.resume, leader)
            answers = await reader.answers(20)
            item = await client.get_item(TABLE, {"group": GROUP, "id": "k"}, consistent_read=True)

        assert seconds < 3, "the others elect a leader without the paused one"
        assert item is not None
        assert item["value"] == 2
        stale = [answer for answer in answers if answer == (node_pb2.OUTCOME_OK, 1)]
        assert stale == []
        assert answers, "thin: the resumed node said nothing at all"

    asyncio.run(story())


def test_short_pause_of_a_leader_changes_nothing(healed: BackgroundCluster) -> None:
    """Shorter than an election's time-out: the same leader goes on, and no write fails."""
    cluster = healed

    async def story() -> None:
        leader = await asyncio.to_thread(cluster.leader_of, TABLE, {"S": GROUP})
        async with Client(cluster.grpc_address) as client:
            await asyncio.to_thread(cluster.pause, leader)
            write = asyncio.ensure_future(  # noqa: TID251 - awaited below
                client.put_item(TABLE, {"group": GROUP, "id": "short", "value": 1})
            )
            await asyncio.sleep(0.15)
            await asyncio.to_thread(cluster.resume, leader)
            await write
        assert await asyncio.to_thread(cluster.leader_of, TABLE, {"S": GROUP}) == leader

    asyncio.run(story())
