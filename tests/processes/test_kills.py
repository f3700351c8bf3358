"""Write, kill, read: no acknowledged write is lost, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from uuid import uuid4

import pytest

from quorate import Client
from quorate.local.background import BackgroundCluster
from tests.processes.conftest import TABLE
from tests.processes.raw_client import RawClient
from tests.processes.writing import lost, writing

GROUPS = [f"group-{number}" for number in range(24)]
"""Partition keys all over the ring."""


def victims(cluster: BackgroundCluster, what: str) -> list[str]:
    leader = cluster.leader_of(TABLE, {"S": GROUPS[0]})
    match what:
        case "leader":
            return [leader]
        case "router":
            return ["r1"]
        case "az":
            return ["az-b"]
    raise AssertionError(what)


async def settle(seconds: float) -> None:
    """Let traffic flow for a while: a story's length, not a wait for something."""
    await asyncio.sleep(seconds)


@pytest.mark.parametrize("what", ["leader", "router", "az"])
def test_acknowledged_writes_are_found_after_the_kill_of(
    cluster: BackgroundCluster, what: str
) -> None:
    """S41: clients of the second router go on writing all over the ring, without any retries."""

    async def story() -> None:
        http = cluster.processes()["r2"].ports["http"]
        grpc = cluster.processes()["r2"].ports["grpc"]
        names = await asyncio.to_thread(victims, cluster, what)
        async with RawClient(http) as raw, Client(f"127.0.0.1:{grpc}") as client:
            async with writing(raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS) as account:
                await settle(1.0)
                before = len(account.acknowledged)
                for name in names:
                    await asyncio.to_thread(cluster.kill, name)
                await settle(2.5)
                after = len(account.acknowledged)
                for name in names:
                    for process in cluster.processes().values():
                        if name in (process.name, process.az) and process.pid is None:
                            await asyncio.to_thread(cluster.restart, process.name)
                await settle(0.5)

            assert before > 50, "thin: too little was written before the kill"
            assert after - before > 50, "thin: too little was written after the kill"
            assert await lost(client, TABLE, account) == []
            assert not account.refused, "routers hold writes until there is a leader"
            if what == "router":
                assert not account.failures, "another router's death is none of r2's business"

    asyncio.run(story())


def test_death_of_a_follower_fails_no_request(cluster: BackgroundCluster) -> None:
    """Neither writes nor strong reads of the partitions that it did not lead, without retries."""
    leaders = {group: cluster.leader_of(TABLE, {"S": group}) for group in GROUPS}
    victim = leaders[GROUPS[0]]
    followed = [group for group, leader in leaders.items() if leader != victim]
    assert followed

    async def story() -> None:
        async with (
            RawClient(cluster.public.http) as raw,
            Client(cluster.grpc_address) as client,
        ):
            async with writing(raw, TABLE, prefix=uuid4().hex, partition_keys=followed) as account:
                await settle(0.7)
                await asyncio.to_thread(cluster.kill, victim)
                await settle(1.5)
                key = {"group": {"S": followed[0]}, "id": {"S": "any"}}
                read = await raw.call(
                    "GetItem", {"TableName": TABLE, "Key": key, "ConsistentRead": True}
                )
                await asyncio.to_thread(cluster.restart, victim)
                await settle(0.7)

            assert len(account.acknowledged) > 100, "thin"
            assert account.failures == []
            assert read.ok
            assert await lost(client, TABLE, account) == []

    asyncio.run(story())


def test_clients_of_a_killed_router_go_on_through_another_address(
    cluster: BackgroundCluster,
) -> None:
    """A Client that knows two routers sees no error when one of them dies."""
    second = cluster.processes()["r2"].ports["grpc"]

    async def story() -> None:
        written: list[str] = []
        prefix = uuid4().hex
        async with Client([cluster.grpc_address, f"127.0.0.1:{second}"]) as client:

            async def write(writer: int) -> None:
                for number in range(60):
                    key = f"{prefix}-{writer}-{number}"
                    await client.put_item(TABLE, {"group": GROUPS[writer], "id": key, "value": 1})
                    written.append(key)
                    await asyncio.sleep(0.02)

            async with asyncio.TaskGroup() as tasks:
                for writer in range(8):
                    tasks.create_task(write(writer))
                await settle(0.4)
                await asyncio.to_thread(cluster.kill, "r1")
            found = 0
            for group in GROUPS[:8]:
                async for _ in client.query_items(
                    TABLE,
                    key_condition_expression="#g = :g AND begins_with(id, :p)",
                    expression_attribute_names={"#g": "group"},
                    expression_attribute_values={":g": group, ":p": prefix},
                    consistent_read=True,
                ):
                    found += 1

        assert found == len(written) == 8 * 60

    asyncio.run(story())


def test_all_nodes_killed_at_once_come_back_with_every_acknowledged_write(
    cluster: BackgroundCluster,
) -> None:
    """S43: nothing that was acknowledged was only in memory, not even on a quorum of memories."""

    async def story() -> None:
        names = [name for name, one in cluster.processes().items() if one.kind == "node"]
        async with (
            RawClient(cluster.public.http) as raw,
            Client(cluster.grpc_address, deadline_seconds=20.0) as client,
        ):
            async with writing(raw, TABLE, prefix=uuid4().hex, partition_keys=GROUPS) as account:
                await settle(1.0)
                for pid in [cluster.pid_of(name) for name in names]:
                    os.kill(pid, signal.SIGKILL)
                for name in names:
                    await asyncio.to_thread(cluster.wait_ended, name)
                acknowledged = len(account.acknowledged)
                started = time.monotonic()
                for name in names:
                    await asyncio.to_thread(cluster.restart, name)
                await asyncio.to_thread(cluster.wait_ready)
                seconds = time.monotonic() - started
                await settle(0.5)

            assert acknowledged > 50, "thin"
            assert len(account.acknowledged) > acknowledged, "service did not come back"
            assert await lost(client, TABLE, account) == []
            assert seconds < 10

    asyncio.run(story())
