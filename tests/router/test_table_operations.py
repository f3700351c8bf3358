"""Tables through a whole router, with the catalog's own rules behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc.aio
import pytest

from node.machine.catalog_changes import Refused, change
from quorate.cluster.commands import decode_catalog_command
from quorate.v1 import api_pb2, catalog_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from tests.router.world import World, tell

MUSIC = {"TableName": "Music"}


def with_catalog(world: World) -> None:
    """Let every node take changes of the one catalog, and tell all routers of them."""

    def take(wire: catalog_pb2.CatalogCommand) -> str:
        command = decode_catalog_command(wire)
        assert command is not None
        try:
            catalog = change(world.nodes[0].catalog, command)
        except Refused as refused:
            return refused.reason
        for node in world.nodes:
            node.publish(catalog)
        return ""

    for node in world.nodes:
        node.change = take


def refuse_with(world: World, reason: str) -> None:
    for node in world.nodes:
        node.change = lambda _: reason


def units(read: int, write: int) -> dict[str, int]:
    return {"ReadCapacityUnits": read, "WriteCapacityUnits": write}


async def description_of(world: World) -> dict[str, object]:
    status, _, answer = await world.http("DescribeTable", MUSIC)
    assert status == 200
    table = answer["Table"]
    assert isinstance(table, dict)
    return table


async def updated(world: World, **members: object) -> dict[str, object]:
    status, _, answer = await world.http("UpdateTable", {**MUSIC, **members})
    assert status == 200, answer
    table = answer["TableDescription"]
    assert isinstance(table, dict)
    return table


def test_update_answers_updating_and_the_table_is_as_wanted() -> None:
    """What waiters poll for: UPDATING from UpdateTable, ACTIVE from DescribeTable."""

    async def story(world: World) -> None:
        with_catalog(world)
        await updated(world, BillingMode="PROVISIONED", ProvisionedThroughput=units(5, 6))

        answer = await updated(world, ProvisionedThroughput=units(7, 8))
        table = await description_of(world)

        assert answer["TableStatus"] == "UPDATING"
        assert answer["ProvisionedThroughput"] | units(5, 6) == answer["ProvisionedThroughput"]  # type: ignore[operator]
        assert table["TableStatus"] == "ACTIVE"
        assert table["ProvisionedThroughput"] | units(7, 8) == table["ProvisionedThroughput"]  # type: ignore[operator]
        assert table["BillingModeSummary"]["BillingMode"] == "PROVISIONED"  # type: ignore[index]

    tell(story)


def test_update_that_changes_nothing_is_no_command() -> None:
    async def story(world: World) -> None:
        answer = await updated(world, BillingMode="PAY_PER_REQUEST")

        assert answer["TableStatus"] == "ACTIVE"
        assert not any(node.commands for node in world.nodes)

    tell(story)


def test_protected_table_is_not_deleted_until_it_is_no_more() -> None:
    async def story(world: World) -> None:
        with_catalog(world)
        await updated(world, DeletionProtectionEnabled=True)
        status, _, answer = await world.http("DeleteTable", MUSIC)
        assert (status, answer["__type"]) == (400, "com.amazon.coral.validate#ValidationException")
        assert str(answer["message"]).startswith("Resource cannot be deleted as it is currently")

        await updated(world, DeletionProtectionEnabled=False)
        status, _, answer = await world.http("DeleteTable", MUSIC)
        assert (status, answer["TableDescription"]["TableStatus"]) == (200, "DELETING")  # type: ignore[index]

    tell(story)


DYNAMODB = "com.amazonaws.dynamodb.v20120810#"


@pytest.mark.parametrize(
    ("reason", "code", "message"),
    [
        (
            "changed",
            "ResourceInUseException",
            "Attempt to change a resource which is still in use: Table is being updated: Music",
        ),
        (
            "missing",
            "ResourceNotFoundException",
            "Requested resource not found: Table: Music not found",
        ),
    ],
)
def test_update_that_comes_too_late_is_refused(reason: str, code: str, message: str) -> None:
    async def story(world: World) -> None:
        refuse_with(world, reason)

        status, _, answer = await world.http(
            "UpdateTable", {**MUSIC, "DeletionProtectionEnabled": True}
        )

        assert status == 400
        assert answer == {"__type": DYNAMODB + code, "message": message}

    tell(story)


def test_one_table_too_many_is_a_limit_not_a_fault() -> None:
    async def story(world: World) -> None:
        refuse_with(world, "limit")

        status, _, answer = await world.http(
            "CreateTable",
            {
                "TableName": "Films",
                "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )

        assert status == 400
        assert answer == {
            "__type": DYNAMODB + "LimitExceededException",
            "message": "Subscriber limit exceeded: There is a limit of 2500 tables per subscriber",
        }

    tell(story)


@pytest.mark.parametrize(
    ("operation", "members", "message"),
    [
        ("DescribeTable", {}, "Requested resource not found: Table: Nothing not found"),
        ("DeleteTable", {}, "Requested resource not found: Table: Nothing not found"),
        (
            "UpdateTable",
            {"DeletionProtectionEnabled": True},
            "Requested resource not found: Table: Nothing not found",
        ),
        ("Scan", {}, "Requested resource not found"),
        ("GetItem", {"Key": {"p": {"S": "a"}}}, "Requested resource not found"),
    ],
)
def test_only_operations_on_tables_say_which_is_missing(
    operation: str, members: dict[str, object], message: str
) -> None:
    async def story(world: World) -> None:
        status, _, answer = await world.http(operation, {"TableName": "Nothing", **members})

        assert (status, answer["message"]) == (400, message)

    tell(story)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("PutItem", {"Item": {"p": {}}}),
        ("UpdateItem", {"Key": {"p": {"S": "a"}}, "UpdateExpression": "SET"}),
        ("GetItem", {"Key": {"p": {"S": "a"}}, "ProjectionExpression": "a, a"}),
        ("Query", {"KeyConditionExpression": "p ="}),
        ("Query", {"KeyConditions": {}}),
        ("Scan", {"FilterExpression": "a ="}),
    ],
)
def test_what_is_wrong_by_itself_comes_before_the_table(
    operation: str, members: dict[str, object]
) -> None:
    async def story(world: World) -> None:
        _, _, answer = await world.http(operation, {"TableName": "Nothing", **members})

        assert answer["__type"] == "com.amazon.coral.validate#ValidationException"

    tell(story)


def test_server_tells_its_limits_and_its_address() -> None:
    async def story(world: World) -> None:
        _, _, limits = await world.http("DescribeLimits", {})
        _, _, endpoints = await world.http("DescribeEndpoints", {}, b"Host: db.localhost:8000\r\n")

        assert set(limits.values()) == {1_000_000_000_000}
        assert endpoints == {
            "Endpoints": [{"Address": "db.localhost:8000", "CachePeriodInMinutes": 1440}]
        }

    tell(story)


def over_grpc(story: Callable[[World, QuorateServiceStub], object]) -> None:
    async def within(world: World) -> None:
        with_catalog(world)
        address = f"127.0.0.1:{world.router.grpc_port}"
        async with grpc.aio.insecure_channel(address) as channel:
            done = story(world, QuorateServiceStub(channel))
            assert asyncio.iscoroutine(done)
            await done

    tell(within)


def test_typed_messages_offer_the_same() -> None:
    async def story(_: World, stub: QuorateServiceStub) -> None:
        request = api_pb2.UpdateTableRequest(
            table_name="Music",
            billing_mode=api_pb2.BILLING_MODE_PROVISIONED,
            provisioned_throughput=api_pb2.ProvisionedThroughput(
                read_capacity_units=3, write_capacity_units=4
            ),
            deletion_protection_enabled=True,
            table_class=api_pb2.TABLE_CLASS_STANDARD_INFREQUENT_ACCESS,
        )
        await stub.UpdateTable(request)
        answer = await stub.UpdateTable(
            api_pb2.UpdateTableRequest(table_name="Music", deletion_protection_enabled=False)
        )
        limits = await stub.DescribeLimits(api_pb2.DescribeLimitsRequest())
        endpoints = await stub.DescribeEndpoints(api_pb2.DescribeEndpointsRequest())

        table = answer.table_description
        assert table.table_status == api_pb2.TABLE_STATUS_UPDATING
        assert table.provisioned_throughput.write_capacity_units == 4
        assert not table.deletion_protection_enabled
        assert table.table_class_summary.table_class == (
            api_pb2.TABLE_CLASS_STANDARD_INFREQUENT_ACCESS
        )
        assert limits.table_max_read_capacity_units == 10**12
        assert endpoints.endpoints[0].cache_period_in_minutes == 1440

    over_grpc(story)
