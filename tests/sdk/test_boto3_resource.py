"""boto3's resource, as applications use it: Python values, conditions, pages, waiters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from boto3.dynamodb.conditions import Attr, ConditionBase, Key
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.exceptions import WaiterError

SCHEMA = {
    "KeySchema": [
        {"AttributeName": "sensor", "KeyType": "HASH"},
        {"AttributeName": "minute", "KeyType": "RANGE"},
    ],
    "AttributeDefinitions": [
        {"AttributeName": "sensor", "AttributeType": "S"},
        {"AttributeName": "minute", "AttributeType": "N"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}
EVERYTHING = {
    "text": "grüße \N{SNOWMAN}",
    "empty": "",
    "integer": Decimal(-42),
    "fraction": Decimal("12345678901234567890.1234567890123456"),
    "raw": Binary(bytes(range(256))),
    "yes": True,
    "none": None,
    "words": {"red", "blue"},
    "numbers": {Decimal(1), Decimal("2.5")},
    "blobs": {Binary(b"x"), Binary(b"\x00")},
    "list": [Decimal(1), "two", [None, {"three": False}], {}],
    "map": {"a": {"b": {"c": [Decimal("0.1")]}}},
}


@pytest.fixture(scope="module")
def readings(resource: Any) -> Any:
    """Table of readings: `cellar` has the minutes -10 to 39."""
    table = resource.create_table(TableName=f"resource-{uuid4().hex[:12]}", **SCHEMA)
    table.wait_until_exists()
    with table.batch_writer() as batch:
        for minute in range(-10, 40):
            batch.put_item(
                Item={"sensor": "cellar", "minute": minute, "celsius": Decimal(minute) / 4}
            )
    yield table
    table.delete()
    table.wait_until_not_exists()


def minutes(items: list[dict[str, Any]]) -> list[int]:
    return [int(item["minute"]) for item in items]


def test_a_tables_life_by_its_waiters(resource: Any) -> None:
    table = resource.create_table(TableName=f"life-{uuid4().hex[:12]}", **SCHEMA)
    table.wait_until_exists()
    table.reload()
    listed = [found.name for found in resource.tables.all()]
    key_schema, status = table.key_schema, table.table_status
    table.delete()
    table.wait_until_not_exists()

    assert table.name in listed
    assert key_schema == SCHEMA["KeySchema"]
    assert status == "ACTIVE"
    assert table.name not in [found.name for found in resource.tables.limit(100)]
    with pytest.raises(resource.meta.client.exceptions.ResourceNotFoundException):
        table.reload()


def test_waiter_gives_up_on_a_table_that_nobody_makes(dynamodb: Any) -> None:
    with pytest.raises(WaiterError, match="Max attempts exceeded"):
        dynamodb.get_waiter("table_exists").wait(
            TableName="nobody-makes-this", WaiterConfig={"Delay": 0, "MaxAttempts": 2}
        )


def test_python_values_come_back_as_they_went(readings: Any) -> None:
    key = {"sensor": "types", "minute": 1}
    readings.put_item(Item=key | EVERYTHING)

    got = readings.get_item(Key=key, ConsistentRead=True)["Item"]

    assert got == key | EVERYTHING


def test_serializer_and_client_agree_with_the_resource(dynamodb: Any, readings: Any) -> None:
    """What TypeSerializer writes through the client, the resource and TypeDeserializer read."""
    key = {"sensor": "types", "minute": 2}
    serialize, deserialize = TypeSerializer().serialize, TypeDeserializer().deserialize
    dynamodb.put_item(TableName=readings.name, Item=serialize(key | EVERYTHING)["M"])

    raw = dynamodb.get_item(TableName=readings.name, Key=serialize(key)["M"], ConsistentRead=True)[
        "Item"
    ]

    assert {name: deserialize(value) for name, value in raw.items()} == key | EVERYTHING
    assert readings.get_item(Key=key, ConsistentRead=True)["Item"] == key | EVERYTHING


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Key("minute").eq(7), [7]),
        (Key("minute").lt(-8), [-10, -9]),
        (Key("minute").lte(-8), [-10, -9, -8]),
        (Key("minute").gt(37), [38, 39]),
        (Key("minute").gte(37), [37, 38, 39]),
        (Key("minute").between(-1, 2), [-1, 0, 1, 2]),
    ],
)
def test_query_by_each_condition_of_a_numeric_sort_key(
    readings: Any, condition: ConditionBase, expected: list[int]
) -> None:
    found = readings.query(
        KeyConditionExpression=Key("sensor").eq("cellar") & condition, ConsistentRead=True
    )

    assert minutes(found["Items"]) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Attr("celsius").eq(0), [0]),
        (Attr("celsius").ne(0) & Attr("celsius").between(Decimal("-0.25"), 1), [-1, 1, 2, 3, 4]),
        (Attr("celsius").is_in([1, 2, 100]), [4, 8]),
        (Attr("celsius").attribute_type("S") | Attr("minute").gt(38), [39]),
        (~Attr("celsius").lt(9) & Attr("humidity").not_exists(), [36, 37, 38, 39]),
        (Attr("sensor").begins_with("cel") & Attr("minute").lt(-9), [-10]),
        (Attr("sensor").contains("attic") | Attr("sensor").size().gt(6), []),
    ],
)
def test_filter_by_each_kind_of_condition(
    readings: Any, condition: ConditionBase, expected: list[int]
) -> None:
    """DynamoDB refuses key attributes in a filter of Query, not of Scan."""
    found = readings.scan(
        FilterExpression=Attr("sensor").eq("cellar") & condition, ConsistentRead=True
    )

    assert sorted(minutes(found["Items"])) == expected


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("query", {"KeyConditionExpression": "sensor = :sensor"}),
        ("scan", {"FilterExpression": "sensor = :sensor"}),
    ],
)
def test_paginator_goes_on_from_the_token_where_it_was_stopped(
    dynamodb: Any, readings: Any, operation: str, more: dict[str, Any]
) -> None:
    paginator = dynamodb.get_paginator(operation)
    request = {
        "TableName": readings.name,
        "ExpressionAttributeValues": {":sensor": {"S": "cellar"}},
        "ConsistentRead": True,
        **more,
    }

    first = paginator.paginate(
        **request, PaginationConfig={"MaxItems": 15, "PageSize": 4}
    ).build_full_result()
    rest = paginator.paginate(
        **request, PaginationConfig={"StartingToken": first["NextToken"], "PageSize": 11}
    ).build_full_result()

    found = [int(item["minute"]["N"]) for item in first["Items"] + rest["Items"]]
    assert len(first["Items"]) == 15
    assert found == list(range(-10, 40))
    assert "NextToken" not in rest


def test_loop_over_last_evaluated_key_meets_every_item_once(readings: Any) -> None:
    """The loop that every tutorial shows."""
    request = {"KeyConditionExpression": Key("sensor").eq("cellar"), "ConsistentRead": True}
    found: list[dict[str, Any]] = []
    page = readings.query(Limit=9, ScanIndexForward=False, **request)
    found += page["Items"]
    while "LastEvaluatedKey" in page:
        page = readings.query(
            Limit=9,
            ScanIndexForward=False,
            ExclusiveStartKey=page["LastEvaluatedKey"],
            **request,
        )
        found += page["Items"]

    assert minutes(found) == list(range(39, -11, -1))


def test_batch_writer_keeps_the_last_of_two_puts_and_deletes(readings: Any) -> None:
    with readings.batch_writer(overwrite_by_pkeys=["sensor", "minute"]) as batch:
        for minute in range(30):
            batch.put_item(Item={"sensor": "batch", "minute": minute, "celsius": 1})
            batch.put_item(Item={"sensor": "batch", "minute": minute, "celsius": 2})
        for minute in range(20):
            batch.delete_item(Key={"sensor": "batch", "minute": minute})

    found = readings.query(KeyConditionExpression=Key("sensor").eq("batch"), ConsistentRead=True)

    assert minutes(found["Items"]) == list(range(20, 30))
    assert {item["celsius"] for item in found["Items"]} == {2}


def test_batch_get_through_the_resource(resource: Any, readings: Any) -> None:
    answer = resource.batch_get_item(
        RequestItems={
            readings.name: {
                "Keys": [{"sensor": "cellar", "minute": minute} for minute in range(35, 45)],
                "ConsistentRead": True,
            }
        }
    )

    assert sorted(minutes(answer["Responses"][readings.name])) == [35, 36, 37, 38, 39]
    assert answer["UnprocessedKeys"] == {}


def test_optimistic_lock_lets_one_of_two_writers_through(readings: Any) -> None:
    """Both read version 1; the second to write is told, and shown what is there."""
    key = {"sensor": "lock", "minute": 0}
    readings.put_item(
        Item=key | {"version": 1, "owner": "nobody"},
        ConditionExpression=Attr("sensor").not_exists(),
    )

    def take(owner: str) -> dict[str, Any]:
        answer: dict[str, Any] = readings.update_item(
            Key=key,
            UpdateExpression="SET #o = :owner, version = version + :one",
            ConditionExpression=Attr("version").eq(1),
            ExpressionAttributeNames={"#o": "owner"},
            ExpressionAttributeValues={":owner": owner, ":one": 1},
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )["Attributes"]
        return answer

    taken = take("ada")
    with pytest.raises(readings.meta.client.exceptions.ConditionalCheckFailedException) as refused:
        take("bob")

    assert taken == key | {"version": 2, "owner": "ada"}
    assert refused.value.response["Item"]["owner"] == {"S": "ada"}


def test_counters_lists_and_sets_change_in_place(readings: Any) -> None:
    key = {"sensor": "counter", "minute": 0}
    update = {
        "Key": key,
        "UpdateExpression": (
            "SET hits = if_not_exists(hits, :zero) + :one,"
            " notes = list_append(if_not_exists(notes, :none), :note)"
            " ADD celsius :half, tags :tag"
        ),
        "ExpressionAttributeValues": {
            ":zero": 0,
            ":one": 1,
            ":none": [],
            ":note": ["hit"],
            ":half": Decimal("0.5"),
            ":tag": {"warm"},
        },
        "ReturnValues": "ALL_NEW",
    }

    with ThreadPoolExecutor(4) as executor:
        answers = list(executor.map(lambda _: readings.update_item(**update), range(40)))

    last = max((answer["Attributes"] for answer in answers), key=lambda found: found["hits"])
    assert last == key | {
        "hits": 40,
        "notes": ["hit"] * 40,
        "celsius": Decimal("20.0"),
        "tags": {"warm"},
    }
