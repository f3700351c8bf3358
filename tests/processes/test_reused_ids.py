"""A request id that comes again proves nothing by itself: what is asked must be the same, too.

Clients owe nobody unique ids: a generator restored from a snapshot, a replayed capture and a copy
"as curl" send one id for different writes, and each of these is a write.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import grpc
import pytest

from quorate import Client, ConditionalCheckFailed
from quorate.local.background import BackgroundCluster
from quorate.v1 import api_pb2, api_pb2_grpc
from tests.processes.conftest import TABLE

Call = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]


@pytest.fixture
def call(cluster: BackgroundCluster) -> Call:
    """Call an operation over HTTP, each time under one and the same id."""
    reused = str(uuid4())

    def post(operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(cluster.http_url.removeprefix("http://"))
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "amz-sdk-invocation-id": reused,
        }
        connection.request("POST", "/", json.dumps(body), headers)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
        return answer.status, document

    return post


def new_key() -> dict[str, dict[str, str]]:
    return {"group": {"S": uuid4().hex}, "id": {"S": "x"}}


def item_of(call: Call, key: dict[str, dict[str, str]]) -> dict[str, Any] | None:
    _, document = call("GetItem", {"TableName": TABLE, "Key": key, "ConsistentRead": True})
    return document.get("Item")


def test_each_different_write_under_one_id_takes_effect(call: Call) -> None:
    key = new_key()
    for number in ("1", "2"):
        item = {**key, "v": {"N": number}}
        assert call("PutItem", {"TableName": TABLE, "Item": item}) == (200, {})
        assert item_of(call, key) == item

    assert call("DeleteItem", {"TableName": TABLE, "Key": key}) == (200, {})
    assert item_of(call, key) is None


def test_each_is_answered_with_its_own_attributes_and_condition(call: Call) -> None:
    key = new_key()
    add = {"TableName": TABLE, "Key": key, "ReturnValues": "UPDATED_NEW"}

    def added(amount: str) -> Any:
        return call(
            "UpdateItem",
            {
                **add,
                "UpdateExpression": "ADD n :a",
                "ExpressionAttributeValues": {":a": {"N": amount}},
            },
        )

    assert added("1") == (200, {"Attributes": {"n": {"N": "1"}}})
    assert added("10") == (200, {"Attributes": {"n": {"N": "11"}}})
    assert added("1") == (200, {"Attributes": {"n": {"N": "1"}}}), "this one is a retry"
    put = {"TableName": TABLE, "Item": {**key, "v": {"N": "1"}}}
    refused, _ = call("PutItem", {**put, "ConditionExpression": "attribute_not_exists(id)"})
    assert refused == 400
    assert call(
        "PutItem",
        {**put, "ConditionExpression": "n = :n", "ExpressionAttributeValues": {":n": {"N": "11"}}},
    ) == (200, {})
    status, document = call("PutItem", {**put, "ReturnValues": "ALL_OLD"})
    assert (status, document) == (200, {"Attributes": put["Item"]})


def test_parts_of_batches_under_one_id_take_effect_each(call: Call) -> None:
    first, second = new_key(), new_key()

    def batch(*requests: dict[str, Any]) -> None:
        assert call("BatchWriteItem", {"RequestItems": {TABLE: list(requests)}}) == (
            200,
            {"UnprocessedItems": {}},
        )

    def put(key: dict[str, Any], number: str) -> dict[str, Any]:
        return {"PutRequest": {"Item": {**key, "v": {"N": number}}}}

    batch(put(first, "1"), put(second, "1"))
    batch(put(first, "2"), put(second, "1"))
    assert [item_of(call, key)["v"]["N"] for key in (first, second)] == ["2", "1"]  # type: ignore[index]
    batch({"DeleteRequest": {"Key": first}}, put(second, "3"))
    assert item_of(call, first) is None
    assert item_of(call, second) == {**second, "v": {"N": "3"}}


def test_tables_are_made_and_dropped_under_one_id(call: Call) -> None:
    names = [f"reused-{uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        status, document = call(
            "CreateTable",
            {
                "TableName": name,
                "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )
        assert status == 200, document
    for name in names:
        assert call("DescribeTable", {"TableName": name})[0] == 200
        assert call("DeleteTable", {"TableName": name})[0] == 200
        assert call("DescribeTable", {"TableName": name})[0] == 400


def test_typed_grpc_calls_under_one_id_take_effect_each(cluster: BackgroundCluster) -> None:
    metadata = (("x-quorate-request-id", uuid4().hex),)
    key = {name: api_pb2.AttributeValue(s=value["S"]) for name, value in new_key().items()}
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        stub = api_pb2_grpc.QuorateServiceStub(channel)
        get = api_pb2.GetItemRequest(table_name=TABLE, key=key, consistent_read=True)
        for number in ("1", "2"):
            item = {**key, "v": api_pb2.AttributeValue(n=number)}
            put = api_pb2.PutItemRequest(table_name=TABLE, item=item)
            stub.PutItem(put, metadata=metadata, timeout=5)
            assert stub.GetItem(get, timeout=5).item["v"].n == number
        delete = api_pb2.DeleteItemRequest(table_name=TABLE, key=key)
        stub.DeleteItem(delete, metadata=metadata, timeout=5)
        assert not stub.GetItem(get, timeout=5).found


def test_calls_of_one_stream_under_one_id_take_effect_each(cluster: BackgroundCluster) -> None:
    reused = uuid4().bytes
    key = {"group": uuid4().hex, "id": "x"}

    async def story() -> None:
        async with Client(cluster.grpc_address) as client:
            for number in (1, 2):
                await client.put_item(TABLE, {**key, "v": number}, request_id=reused)
                got = await client.get_item(TABLE, key, consistent_read=True)
                assert got == {**key, "v": number}
            with pytest.raises(ConditionalCheckFailed):
                await client.delete_item(
                    TABLE, key, condition_expression="attribute_not_exists(v)", request_id=reused
                )
            await client.delete_item(TABLE, key, request_id=reused)
            assert await client.get_item(TABLE, key, consistent_read=True) is None

    asyncio.run(story())


def test_equal_writes_under_one_id_count_once(call: Call) -> None:
    """What remains: nobody can tell a retry from a second, equal write under the same id."""
    key = new_key()
    blob = b64encode(b"\x00\xff").decode()
    add = {
        "TableName": TABLE,
        "Key": key,
        "UpdateExpression": "ADD n :one SET b = :b",
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":b": {"B": blob}},
    }
    for _ in range(3):
        assert call("UpdateItem", add) == (200, {})
    assert item_of(call, key) == {**key, "n": {"N": "1"}, "b": {"B": blob}}
