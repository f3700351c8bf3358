"""Row 24 of docs/SECURITY.md over real sockets: what a user may not do, on every face.

What grants mean is in tests/security/test_permissions.py.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import orjson
import pytest

from quorate.client import Client, Credentials, RequestRefused
from quorate.cluster.catalog import Catalog, TableRecord, UserRecord
from quorate.security.permissions import parse_grant
from quorate.v1 import api_pb2
from quorate.v1.api_pb2_grpc import QuorateServiceStub
from router.operations import OPERATIONS
from router.operations.not_served import NOT_SERVED
from tests.router.cluster import CLUSTER_ID, DEFINITION
from tests.router.signed import KEY_ID, SECRET, ada, sign
from tests.router.test_bad_inputs import exchange
from tests.router.world import World, tell

ADA = Credentials(KEY_ID, SECRET)
KEY = {"p": {"S": "a"}}
PUT = [{"PutRequest": {"Item": KEY}}]
GET = {"Keys": [KEY]}
SCHEMA = {
    "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
}
REST: dict[str, dict[str, Any]] = {
    "CreateTable": SCHEMA,
    "DeleteItem": {"Key": KEY},
    "GetItem": {"Key": KEY},
    "PutItem": {"Item": KEY},
    "Query": {
        "KeyConditionExpression": "p = :p",
        "ExpressionAttributeValues": {":p": {"S": "a"}},
    },
    "UpdateItem": {"Key": KEY},
}
ARN = "arn:aws:dynamodb:local:000000000000:table/"


def who(*grants: str) -> tuple[UserRecord, ...]:
    return (ada(CLUSTER_ID, *map(parse_grant, grants)),)


def sentence(operation: str, table: str) -> str:
    """Return AWS's sentence for ada's refusal."""
    resource = table if table == "*" else ARN + table
    return (
        "User: arn:aws:iam::000000000000:user/ada is not authorized to perform: "
        f"dynamodb:{operation} on resource: {resource} "
        f"because no identity-based policy allows the dynamodb:{operation} action"
    )


async def call(world: World, operation: str, body: object) -> tuple[int, dict[str, Any]]:
    """Make a call as ada over HTTP; return its status and document."""
    signed = sign(time.time(), operation=operation, body=orjson.dumps(body))
    return await exchange(world, signed.raw)


async def refused(world: World, operation: str, body: object) -> str:
    """Return the sentence that a call is refused with."""
    status, document = await call(world, operation, body)
    assert (status, document.pop("__type")) == (
        400,
        "com.amazon.coral.service#AccessDeniedException",
    ), document
    assert list(document) == ["Message"]
    return str(document["Message"])


def body_of(operation: str, table: str) -> dict[str, Any]:
    """Return a good request about a table."""
    if operation == "BatchGetItem":
        return {"RequestItems": {table: GET}}
    if operation == "BatchWriteItem":
        return {"RequestItems": {table: PUT}}
    return {"TableName": table, **REST.get(operation, {})}


ABOUT_A_TABLE = sorted(
    set(OPERATIONS) - NOT_SERVED - {"ListTables", "DescribeLimits", "DescribeEndpoints"}
)


def test_row_24_another_table_is_refused_in_the_same_words_whether_it_exists(
    key_file: Path,
) -> None:
    async def story(world: World) -> None:
        for operation in ABOUT_A_TABLE:
            for table in ("Music", "NoSuchTable"):
                assert await refused(world, operation, body_of(operation, table)) == sentence(
                    operation, table
                )
        assert not world.items
        assert not any(node.commands for node in world.nodes)

    tell(story, users=who("*:Orders"), key_file=key_file)


@pytest.mark.parametrize("operation", ["ListTables", "DescribeLimits", "DescribeEndpoints"])
def test_row_24_what_is_about_no_table_takes_a_grant_for_all(
    key_file: Path, operation: str
) -> None:
    async def story(world: World) -> None:
        for body in ({}, {"TableName": "Music"}):
            assert await refused(world, operation, body) == sentence(operation, "*")
        await world.publish_users(*who(f"{operation}:*"))
        assert (await call(world, operation, {}))[0] == 200

    tell(story, users=who("*:Mus*"), key_file=key_file)


def test_user_does_what_it_may_and_nothing_else(key_file: Path) -> None:
    async def story(world: World) -> None:
        put = {"TableName": "Music", "Item": KEY}
        assert (await call(world, "PutItem", put))[0] == 200
        assert (await call(world, "GetItem", {"TableName": "Music", "Key": KEY}))[0] == 200
        assert await refused(world, "DeleteItem", {"TableName": "Music", "Key": KEY}) == sentence(
            "DeleteItem", "Music"
        )
        assert await refused(world, "CreateTable", {"TableName": "Music2", **SCHEMA}) == sentence(
            "CreateTable", "Music2"
        )
        assert len(world.items) == 1

    tell(story, users=who("read:Mu*", "PutItem:Music"), key_file=key_file)


def test_table_given_by_its_arn_is_the_table(key_file: Path) -> None:
    async def story(world: World) -> None:
        put = {"TableName": f"{ARN}Music", "Item": KEY}
        assert (await call(world, "PutItem", put))[0] == 200
        assert await refused(world, "PutItem", {**put, "TableName": f"{ARN}Other"}) == sentence(
            "PutItem", "Other"
        )

    tell(story, users=who("write:Music"), key_file=key_file)


@pytest.mark.parametrize(("operation", "part"), [("BatchWriteItem", PUT), ("BatchGetItem", GET)])
def test_batch_is_refused_for_the_first_table_that_is_not_allowed(
    key_file: Path, operation: str, part: object
) -> None:
    async def story(world: World) -> None:
        tables = ("Music", f"{ARN}Secrets", "Others")
        body = {"TableName": "Music", "RequestItems": dict.fromkeys(tables, part)}

        assert await refused(world, operation, body) == sentence(operation, "Secrets")
        assert not world.items, "nothing of it was done"
        assert (await call(world, operation, {"RequestItems": {"Music": part}}))[0] == 200

    tell(story, users=who("read,write:Music"), key_file=key_file)


@pytest.mark.parametrize("name", [None, 7, "", "a b", "x" * 300, f"{ARN}a b"])
def test_request_that_names_no_table_is_taken_as_about_all(key_file: Path, name: object) -> None:
    """A user who may see all tables is told what is wrong; to others it says nothing."""
    body = {"TableName": name, "Key": KEY}

    async def story(world: World) -> None:
        assert await refused(world, "GetItem", body) == sentence("GetItem", "*")
        await world.publish_users(*who("GetItem:*"))
        status, document = await call(world, "GetItem", body)
        assert status == 400
        assert "AccessDenied" not in document["__type"]

    tell(story, users=who("GetItem:Music"), key_file=key_file)


def test_unary_grpc_call_is_refused_with_permission_denied(key_file: Path) -> None:
    method = "/quorate.v1.QuorateService/DescribeTable"

    async def story(world: World) -> None:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{world.router.grpc_port}") as channel:
            describe = QuorateServiceStub(channel).DescribeTable
            for table in ("Secrets", "Music"):
                request = api_pb2.DescribeTableRequest(table_name=table)
                signed = ADA.metadata(method, time.time(), request.SerializeToString())
                with pytest.raises(grpc.aio.AioRpcError) as refusal:
                    await describe(request, metadata=signed, timeout=3)
                assert refusal.value.code() is grpc.StatusCode.PERMISSION_DENIED
                assert refusal.value.details() == sentence("DescribeTable", table)

    tell(story, users=who("write:Music"), key_file=key_file)


def test_stream_goes_by_the_grants_of_the_moment(key_file: Path) -> None:
    async def story(world: World) -> None:
        async with Client(f"127.0.0.1:{world.router.grpc_port}", credentials=ADA) as client:
            await client.put_item("Music", {"p": "a"})

            await world.publish_users(*who("read:Music"))
            with pytest.raises(RequestRefused) as refusal:
                await client.put_item("Music", {"p": "b"})
            assert refusal.value.code == "AccessDeniedException"
            assert sentence("PutItem", "Music") in str(refusal.value)
            assert await client.get_item("Music", {"p": "a"}) == {"p": "a"}

            await world.publish_users(*who())
            await client.put_item("Music", {"p": "b"})
        assert len(world.items) == 2

    tell(story, users=who("write:Music"), key_file=key_file)


def test_table_that_is_made_meanwhile_does_not_change_who_may_see_it(key_file: Path) -> None:
    """A call that waits for a newer catalog is checked as any other."""

    async def story(world: World) -> None:
        get = {"TableName": "Secrets", "Key": KEY}
        before = await refused(world, "GetItem", get)
        table = TableRecord(id=9, name="Secrets", definition=DEFINITION)
        catalog: Catalog = world.nodes[0].catalog
        for node in world.nodes:
            node.publish(replace(catalog, tables=(*catalog.tables, table)))
        await world.publish_users(*who("read:Music"))

        assert await refused(world, "GetItem", get) == before

    tell(story, users=who("read:Music"), key_file=key_file)


def test_call_that_came_before_the_first_user_is_not_served_after(key_file: Path) -> None:
    """It asks for a table that this router does not know, and waits for a newer catalog."""

    async def story(world: World) -> None:
        table = TableRecord(id=9, name="Secrets", definition=DEFINITION)
        catalog: Catalog = world.nodes[0].catalog
        newer = replace(
            catalog,
            epoch=catalog.epoch + 1,
            tables=(*catalog.tables, table),
            users=who("read:Music"),
        )
        for node in world.nodes:
            node.catalog = newer  # to be asked for: watchers are not told
        _, _, document = await world.http("GetItem", {"TableName": "Secrets", "Key": KEY})

        assert str(document["__type"]).endswith("#MissingAuthenticationTokenException")

    tell(story, key_file=key_file)


def test_every_refusal_is_logged_with_who_what_and_where(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(world: World) -> None:
        await refused(world, "PutItem", {"TableName": "Secrets", "Item": {"p": {"S": "value"}}})

    with caplog.at_level("WARNING"):
        tell(story, users=who("read:Music"), key_file=key_file, log_level="warning")

    (line,) = [text for text in caplog.messages if text.startswith("refused")]
    assert line.startswith("refused what=PutItem who=\"user 'ada'\" request=")
    assert f"AccessDeniedException: {sentence('PutItem', 'Secrets')}" in line.replace("\\", "")
    assert "value" not in line
    assert SECRET not in line
