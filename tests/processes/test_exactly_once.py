"""An increment that was retried across the death of a leader counts once."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from quorate import Client, OutcomeUnknown, QuorateError
from quorate.local.background import BackgroundCluster
from tests.processes.conftest import TABLE, dynamodb

COUNTERS = 4
ADD = "ADD #n :one"


def add_with_boto3(url: str, group: str, counter: str, times: int) -> tuple[int, int]:
    """Add 1 so often; return how many were acknowledged, and how many are unknown."""
    acknowledged = unknown = 0
    client = dynamodb(url, attempts_max=12)
    try:
        for _ in range(times):
            try:
                client.update_item(
                    TableName=TABLE,
                    Key={"group": {"S": group}, "id": {"S": counter}},
                    UpdateExpression=ADD,
                    ExpressionAttributeNames={"#n": "n"},
                    ExpressionAttributeValues={":one": {"N": "1"}},
                )
                acknowledged += 1
            except (ClientError, BotoCoreError):
                unknown += 1
    finally:
        client.close()
    return acknowledged, unknown


async def add_with_client(
    client: Client, group: str, counter: str, times: int, pause_seconds: float
) -> tuple[int, int]:
    acknowledged = unknown = 0
    for _ in range(times):
        try:
            await client.update_item(
                TABLE,
                {"group": group, "id": counter},
                update_expression=ADD,
                expression_attribute_names={"#n": "n"},
                expression_attribute_values={":one": 1},
            )
            acknowledged += 1
        except OutcomeUnknown:
            unknown += 1
        await asyncio.sleep(pause_seconds)
    return acknowledged, unknown


def test_increments_through_boto3_and_client_count_once_while_leaders_are_killed(
    cluster: BackgroundCluster,
) -> None:
    """Retries by the SDK, by the client and by the router all carry the first attempt's id."""
    run = uuid4().hex
    groups = [f"{run}-{number}" for number in range(COUNTERS)]

    async def story() -> None:
        executor = ThreadPoolExecutor(max_workers=COUNTERS)
        loop = asyncio.get_running_loop()
        async with Client(cluster.grpc_address, deadline_seconds=20.0) as client:
            through_boto3 = [
                loop.run_in_executor(executor, add_with_boto3, cluster.http_url, group, "n", 150)
                for group in groups
            ]
            async with asyncio.TaskGroup() as tasks:
                through_client = [
                    tasks.create_task(add_with_client(client, group, "n", 150, 0.02))
                    for group in groups
                    for _ in range(3)
                ]
                for group in groups[:2]:
                    await asyncio.sleep(0.5)
                    leader = await asyncio.to_thread(cluster.leader_of, TABLE, {"S": group})
                    await asyncio.to_thread(cluster.kill, leader)
                    await asyncio.sleep(0.8)
                    await asyncio.to_thread(cluster.restart, leader)
                    await asyncio.to_thread(cluster.wait_healthy)
            of_boto3 = await asyncio.gather(*through_boto3)
            executor.shutdown()
            finals = []
            for group in groups:
                item = await client.get_item(
                    TABLE, {"group": group, "id": "n"}, consistent_read=True
                )
                assert item is not None
                finals.append(int(item["n"]))

        results = [*of_boto3, *(task.result() for task in through_client)]
        acknowledged = sum(count for count, _ in results)
        unknown = sum(count for _, count in results)
        if unknown == 0:
            assert sum(finals) == acknowledged == COUNTERS * 150 * 4
        else:
            assert acknowledged <= sum(finals) <= acknowledged + unknown

    asyncio.run(story())


def test_sigterm_of_a_node_hands_leadership_over_and_fails_no_request(
    cluster: BackgroundCluster,
) -> None:
    """A rolling restart of all nodes, one after the other, under writes that may not fail."""
    run = uuid4().hex

    async def story() -> None:
        stop = False
        acknowledged = 0
        errors: list[QuorateError] = []
        names = [name for name, one in cluster.processes().items() if one.kind == "node"]
        async with Client(cluster.grpc_address) as client:

            async def write(writer: int) -> None:
                nonlocal acknowledged
                number = 0
                while not stop:
                    number += 1
                    key = {"group": f"{run}-{writer}", "id": str(number)}
                    try:
                        await client.put_item(TABLE, {**key, "value": 1})
                        acknowledged += 1
                    except QuorateError as error:
                        errors.append(error)

            ends = []
            async with asyncio.TaskGroup() as tasks:
                for writer in range(12):
                    tasks.create_task(write(writer))
                for name in names:
                    await asyncio.to_thread(cluster.signal, name, signal.SIGTERM)
                    ends.append(await asyncio.to_thread(cluster.wait_ended, name))
                    await asyncio.to_thread(cluster.restart, name)
                    await asyncio.to_thread(cluster.wait_healthy)
                stop = True
            items = 0
            for writer in range(12):
                page = None
                while page is None or page.last_evaluated_key is not None:
                    page = await client.query(
                        TABLE,
                        key_condition_expression="#g = :g",
                        expression_attribute_names={"#g": "group"},
                        expression_attribute_values={":g": f"{run}-{writer}"},
                        select="COUNT",
                        consistent_read=True,
                        exclusive_start_key=page.last_evaluated_key if page else None,
                    )
                    items += page.count

        assert ends == ["ended with exit code 0"] * len(names)
        assert errors == []
        assert acknowledged > 200, "thin"
        assert items == acknowledged

    asyncio.run(story())
