"""A table's capacity is changed while it is saturated through two routers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from quorate import Client
from quorate.local.background import BackgroundCluster
from tests.processes.conftest import dynamodb
from tests.processes.raw_client import RawClient
from tests.processes.writing import Account, done_though_refused, lost, writing

TABLE = "changing"
GROUPS = [f"group-{number}" for number in range(50)]

CHANGES: list[tuple[int, dict[str, Any]]] = [
    (150, {"read_capacity_units": 1000, "write_capacity_units": 150}),
    (20, {"read_capacity_units": 1000, "write_capacity_units": 20}),
    (100, {"billing_mode": "PAY_PER_REQUEST", "max_write_request_units": 100}),
    (
        50,
        {"billing_mode": "PROVISIONED", "read_capacity_units": 1000, "write_capacity_units": 50},
    ),
]
"""(units a second, how UpdateTable is told of them)."""

UNITS = 50
"""What the table begins with."""

EFFECTIVE_SECONDS = 2.5
MEASURED_SECONDS = 4.0


@pytest.fixture
def changing(cluster: BackgroundCluster) -> Iterator[str]:
    """Name of a table that was on demand until now, so it has nothing saved up."""
    client = dynamodb(cluster.http_url)
    client.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": "group", "KeyType": "HASH"},
            {"AttributeName": "id", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "group", "AttributeType": "S"},
            {"AttributeName": "id", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.update_table(
        TableName=TABLE,
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 1000, "WriteCapacityUnits": UNITS},
    )
    yield TABLE
    client.delete_table(TableName=TABLE)
    client.close()


async def measure(accounts: list[Account]) -> list[float]:
    """Return each router's acknowledged writes a second, once a change should be effective."""
    await asyncio.sleep(EFFECTIVE_SECONDS)
    began = time.monotonic()
    before = [len(account.acknowledged) for account in accounts]
    await asyncio.sleep(MEASURED_SECONDS)
    seconds = time.monotonic() - began
    return [
        (len(account.acknowledged) - count) / seconds
        for account, count in zip(accounts, before, strict=True)
    ]


def test_changed_capacity_holds_on_every_router_within_seconds_and_nothing_is_lost(
    cluster: BackgroundCluster, changing: str
) -> None:
    ports = [one.ports["http"] for one in cluster.processes().values() if one.kind == "router"]
    assert len(ports) == 2

    async def story() -> None:
        async with (
            Client(cluster.grpc_address) as client,
            RawClient(ports[0]) as first,
            RawClient(ports[1]) as second,
            writing(first, changing, prefix="first", partition_keys=GROUPS, writers=8) as one,
            writing(second, changing, prefix="second", partition_keys=GROUPS, writers=8) as other,
        ):
            accounts = [one, other]
            await measure(accounts)
            for units, change in CHANGES:
                await client.update_table(changing, **change)
                rates = await measure(accounts)
                assert sum(rates) == pytest.approx(units, rel=0.1), (units, rates)
                assert all(rate > units / 10 for rate in rates), (units, rates)
        for account in accounts:
            codes = {answer.code for answer in account.failures}
            assert codes == {"ProvisionedThroughputExceededException", "ThrottlingException"}
            assert not account.unknown
        async with Client(cluster.grpc_address) as client:
            await client.update_table(changing, billing_mode="PAY_PER_REQUEST")
            for account in accounts:
                assert await lost(client, changing, account) == []
                assert await done_though_refused(client, changing, account) == []

    asyncio.run(story())


def test_table_that_nobody_has_used_spends_what_it_saved_since_it_was_limited(
    cluster: BackgroundCluster, changing: str
) -> None:
    """DynamoDB keeps up to 300 s of unused capacity."""

    async def story() -> tuple[int, float]:
        made = time.monotonic()
        await asyncio.sleep(8.0)
        async with (
            RawClient(cluster.public.http) as raw,
            writing(raw, changing, prefix="saved", partition_keys=GROUPS, writers=16) as account,
        ):
            while not account.failures and time.monotonic() < made + 40:
                await asyncio.sleep(0.01)
            spent, seconds = len(account.acknowledged), time.monotonic() - made
        assert {answer.code for answer in account.failures} == {
            "ProvisionedThroughputExceededException"
        }
        return spent, seconds

    spent, seconds = asyncio.run(story())
    assert UNITS * (seconds - 1) < spent < UNITS * (seconds + 4), (spent, seconds)
