"""boto3, unchanged: the twelve operations, waiters, paginators, the resource, error codes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

from quorate.local.background import wait_until


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


def item(artist: str, song: str, **attributes: Any) -> dict[str, Any]:
    return {"artist": {"S": artist}, "song": {"S": song}, **attributes}


def test_tables_are_created_described_listed_and_deleted(dynamodb: Any) -> None:
    name = f"life-{uuid4().hex[:12]}"
    created = dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
    )["TableDescription"]
    dynamodb.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
    )
    described = dynamodb.describe_table(TableName=name)["Table"]
    with pytest.raises(ClientError) as again:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
        )
    listed = dynamodb.list_tables()["TableNames"]
    dynamodb.delete_table(TableName=name)
    dynamodb.get_waiter("table_not_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
    )
    with pytest.raises(ClientError) as gone:
        dynamodb.describe_table(TableName=name)

    assert created["TableName"] == name
    assert described["TableStatus"] == "ACTIVE"
    assert described["TableId"] == created["TableId"]
    assert described["ProvisionedThroughput"]["WriteCapacityUnits"] == 6
    assert described["CreationDateTime"] == created["CreationDateTime"]
    assert code(again) == "ResourceInUseException"
    assert name in listed
    assert name not in dynamodb.list_tables()["TableNames"]
    assert code(gone) == "ResourceNotFoundException"


def test_list_tables_paginator_goes_through_all_names(dynamodb: Any) -> None:
    names = [f"page-{uuid4().hex[:8]}" for _ in range(5)]
    for name in names:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    try:
        pages = list(
            dynamodb.get_paginator("list_tables").paginate(PaginationConfig={"PageSize": 2})
        )
    finally:
        for name in names:
            dynamodb.delete_table(TableName=name)
    found = [name for page in pages for name in page["TableNames"]]

    assert len(pages) >= 3
    assert found == sorted(found)
    assert set(names) <= set(found)


def test_every_type_of_value_comes_back_as_it_went(dynamodb: Any, table: str) -> None:
    everything = item(
        "types",
        "all",
        text={"S": "grüße \N{SNOWMAN} \0 end"},
        number={"N": "-12345678901234567890.123456789012345678"},
        tiny={"N": "1E-130"},
        raw={"B": bytes(range(256))},
        yes={"BOOL": True},
        nothing={"NULL": True},
        empty={"S": ""},
        nested={"M": {"list": {"L": [{"N": "1"}, {"M": {"deep": {"L": []}}}]}}},
        words={"SS": ["b", "a"]},
        numbers={"NS": ["1", "2.5"]},
        blobs={"BS": [b"x", b"\x00"]},
    )
    dynamodb.put_item(TableName=table, Item=everything)

    read = {"TableName": table, "Key": item("types", "all")}
    strong = dynamodb.get_item(**read, ConsistentRead=True)["Item"]
    wait_until(
        lambda: "Item" in dynamodb.get_item(**read),
        what="an eventual read finds the item",
        timeout_seconds=2,
    )

    assert dynamodb.get_item(**read)["Item"] == strong
    assert Decimal(strong.pop("tiny")["N"]) == Decimal("1E-130")
    for attribute, kind in (("words", "SS"), ("numbers", "NS"), ("blobs", "BS")):
        assert set(strong.pop(attribute)[kind]) == set(everything[attribute][kind])
    for name, value in strong.items():
        assert value == everything[name]


def test_absent_item_has_no_item_in_the_answer(dynamodb: Any, table: str) -> None:
    answer = dynamodb.get_item(TableName=table, Key=item("no", "one"), ConsistentRead=True)

    assert "Item" not in answer


def test_conditional_writes_hold_and_show_the_item_they_failed_on(
    dynamodb: Any, table: str
) -> None:
    key = item("condition", "x")
    dynamodb.put_item(
        TableName=table,
        Item=key | {"version": {"N": "1"}},
        ConditionExpression="attribute_not_exists(artist)",
    )
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException) as failed:
        dynamodb.put_item(
            TableName=table,
            Item=key | {"version": {"N": "9"}},
            ConditionExpression="attribute_not_exists(artist)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    updated = dynamodb.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="SET version = version + :one, #n = :n",
        ConditionExpression="version = :expected AND NOT contains(artist, :z)",
        ExpressionAttributeNames={"#n": "note"},
        ExpressionAttributeValues={
            ":one": {"N": "1"},
            ":expected": {"N": "1"},
            ":z": {"S": "zzz"},
            ":n": {"S": "second"},
        },
        ReturnValues="ALL_NEW",
    )["Attributes"]
    with pytest.raises(ClientError) as not_deleted:
        dynamodb.delete_item(
            TableName=table,
            Key=key,
            ConditionExpression="version = :v",
            ExpressionAttributeValues={":v": {"N": "1"}},
        )
    deleted = dynamodb.delete_item(
        TableName=table,
        Key=key,
        ConditionExpression="version = :v",
        ExpressionAttributeValues={":v": {"N": "2"}},
        ReturnValues="ALL_OLD",
    )["Attributes"]

    assert failed.value.response["Item"]["version"] == {"N": "1"}
    assert updated == key | {"version": {"N": "2"}, "note": {"S": "second"}}
    assert code(not_deleted) == "ConditionalCheckFailedException"
    assert deleted == updated
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)


def test_concurrent_atomic_counters_lose_nothing(dynamodb: Any, table: str) -> None:
    key = item("counter", "n")

    def add(_: int) -> int:
        answer = dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="ADD hits :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["hits"]["N"])

    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(add, range(100)))

    assert sorted(results) == list(range(1, 101))


def test_of_concurrent_creations_exactly_one_succeeds(dynamodb: Any, table: str) -> None:
    def create(number: int) -> bool:
        try:
            dynamodb.put_item(
                TableName=table,
                Item=item("race", "x", winner={"N": str(number)}),
                ConditionExpression="attribute_not_exists(song)",
            )
        except dynamodb.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(create, range(24)))

    found = dynamodb.get_item(TableName=table, Key=item("race", "x"), ConsistentRead=True)["Item"]
    assert results.count(True) == 1
    assert found["winner"] == {"N": str(results.index(True))}


def test_query_pages_through_a_sort_key_range_both_ways(dynamodb: Any, table: str) -> None:
    for number in range(25):
        dynamodb.put_item(
            TableName=table, Item=item("q", f"s{number:03}", number={"N": str(number)})
        )
    dynamodb.put_item(TableName=table, Item=item("other", "s010"))
    arguments = {
        "TableName": table,
        "KeyConditionExpression": "artist = :a AND song BETWEEN :low AND :high",
        "ExpressionAttributeValues": {
            ":a": {"S": "q"},
            ":low": {"S": "s005"},
            ":high": {"S": "s019"},
        },
        "ConsistentRead": True,
    }
    paginator = dynamodb.get_paginator("query")

    pages = list(paginator.paginate(**arguments, PaginationConfig={"PageSize": 4}))
    forwards = [found["song"]["S"] for page in pages for found in page["Items"]]
    backwards = [
        found["song"]["S"]
        for page in paginator.paginate(
            **arguments, ScanIndexForward=False, PaginationConfig={"PageSize": 7}
        )
        for found in page["Items"]
    ]
    counted = dynamodb.query(**arguments, Select="COUNT")

    assert forwards == [f"s{number:03}" for number in range(5, 20)]
    assert backwards == forwards[::-1]
    assert [len(page["Items"]) for page in pages[:3]] == [4, 4, 4]
    assert counted["Count"] == counted["ScannedCount"] == 15
    assert "Items" not in counted


def test_scan_finds_everything_in_pages_and_in_segments(dynamodb: Any, table: str) -> None:
    """Items of many partitions; a filter counts what it looked at."""
    expected = {f"artist-{number}" for number in range(60)}
    for artist in expected:
        dynamodb.put_item(TableName=table, Item=item(artist, "x", number={"N": artist[7:]}))
    paginator = dynamodb.get_paginator("scan")

    paged = [
        found["artist"]["S"]
        for page in paginator.paginate(
            TableName=table, ConsistentRead=True, PaginationConfig={"PageSize": 7}
        )
        for found in page["Items"]
    ]
    segmented = [
        found["artist"]["S"]
        for segment in range(4)
        for page in paginator.paginate(
            TableName=table, ConsistentRead=True, Segment=segment, TotalSegments=4
        )
        for found in page["Items"]
    ]
    filtered = list(
        paginator.paginate(
            TableName=table,
            FilterExpression="#n < :ten",
            ExpressionAttributeNames={"#n": "number"},
            ExpressionAttributeValues={":ten": {"N": "10"}},
            ConsistentRead=True,
        )
    )

    assert sorted(paged) == sorted(expected)
    assert sorted(segmented) == sorted(expected)
    assert sum(page["Count"] for page in filtered) == 10
    assert sum(page["ScannedCount"] for page in filtered) == 60


def test_batches_write_and_get_many_items(dynamodb: Any, table: str) -> None:
    puts = [{"PutRequest": {"Item": item("batch", f"s{n:02}", n={"N": str(n)})}} for n in range(25)]
    written = dynamodb.batch_write_item(RequestItems={table: puts}, ReturnConsumedCapacity="TOTAL")
    got = dynamodb.batch_get_item(
        RequestItems={
            table: {
                "Keys": [item("batch", f"s{number:02}") for number in range(30)],
                "ConsistentRead": True,
                "ProjectionExpression": "song, n",
            }
        }
    )
    dynamodb.batch_write_item(
        RequestItems={table: [{"DeleteRequest": {"Key": item("batch", "s00")}}]}
    )

    assert written["UnprocessedItems"] == {}
    assert written["ConsumedCapacity"][0]["CapacityUnits"] == 25
    assert got["UnprocessedKeys"] == {}
    assert sorted(found["n"]["N"] for found in got["Responses"][table]) == sorted(
        str(number) for number in range(25)
    )
    assert all(set(found) == {"song", "n"} for found in got["Responses"][table])
    assert "Item" not in dynamodb.get_item(
        TableName=table, Key=item("batch", "s00"), ConsistentRead=True
    )


def test_resource_works_with_python_values_and_its_batch_writer(
    dynamodb: Any, resource: Any, table: str
) -> None:
    songs = resource.Table(table)
    with songs.batch_writer(overwrite_by_pkeys=["artist", "song"]) as batch:
        for number in range(60):
            batch.put_item(
                Item={"artist": "res", "song": f"s{number:02}", "rating": Decimal(number) / 2}
            )
    songs.update_item(
        Key={"artist": "res", "song": "s01"},
        UpdateExpression="SET tags = :t REMOVE rating",
        ExpressionAttributeValues={":t": {"red", "blue"}},
    )
    queried = songs.query(
        KeyConditionExpression=Key("artist").eq("res") & Key("song").begins_with("s0"),
        FilterExpression=Attr("rating").gt(Decimal("1.5")) | Attr("tags").contains("red"),
        ConsistentRead=True,
    )
    scanned = songs.scan(ProjectionExpression="song", ConsistentRead=True)

    assert songs.table_status == "ACTIVE"
    assert [found["song"] for found in queried["Items"]] == [
        "s01", "s04", "s05", "s06", "s07", "s08", "s09",
    ]  # fmt: skip
    assert queried["Items"][0]["tags"] == {"red", "blue"}
    assert queried["ScannedCount"] == 10
    assert scanned["Count"] == 60
    assert songs.get_item(Key={"artist": "res", "song": "s03"}, ConsistentRead=True)["Item"][
        "rating"
    ] == Decimal("1.5")


def test_consumed_capacity_is_what_dynamodb_would_meter(dynamodb: Any, table: str) -> None:
    """1 WCU for each started KiB; half an RCU for each started 4 KiB of an eventual read."""
    big = item("capacity", "x", data={"B": b"x" * 2_500})
    written = dynamodb.put_item(TableName=table, Item=big, ReturnConsumedCapacity="TOTAL")
    read = dynamodb.get_item(
        TableName=table,
        Key=item("capacity", "x"),
        ConsistentRead=True,
        ReturnConsumedCapacity="TOTAL",
    )

    assert written["ConsumedCapacity"] == {"TableName": table, "CapacityUnits": 3.0}
    assert read["ConsumedCapacity"] == {"TableName": table, "CapacityUnits": 1.0}


@pytest.mark.parametrize(
    ("operation", "arguments", "expected"),
    [
        ("put_item", {"Item": {"artist": {"S": "a"}}}, "ValidationException"),
        ("put_item", {"Item": {"artist": {"N": "1"}, "song": {"S": "s"}}}, "ValidationException"),
        ("put_item", {"Item": item("", "s")}, "ValidationException"),
        ("get_item", {"Key": {"artist": {"S": "a"}}}, "ValidationException"),
        (
            "update_item",
            {
                "Key": item("a", "s"),
                "UpdateExpression": "SET x = :unused",
                "ExpressionAttributeValues": {":y": {"N": "1"}},
            },
            "ValidationException",
        ),
        (
            "query",
            {
                "KeyConditionExpression": "song = :s",
                "ExpressionAttributeValues": {":s": {"S": "x"}},
            },
            "ValidationException",
        ),
        (
            "put_item",
            {"Item": item("a", "s", big={"B": b"x" * 410_000})},
            "ValidationException",
        ),
    ],
)
def test_wrong_request_is_refused_with_dynamodbs_code(
    dynamodb: Any, table: str, operation: str, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(dynamodb, operation)(TableName=table, **arguments)

    assert code(refused) == expected
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_unsupported_parameter_is_refused_by_name(dynamodb: Any, table: str) -> None:
    """Ignoring what a caller asked for would be a lie."""
    with pytest.raises(ClientError) as refused:
        dynamodb.query(
            TableName=table,
            IndexName="by-year",
            KeyConditionExpression="artist = :a",
            ExpressionAttributeValues={":a": {"S": "x"}},
        )

    assert code(refused) == "ValidationException"
    assert "IndexName" in refused.value.response["Error"]["Message"] or (
        "index" in refused.value.response["Error"]["Message"]
    )


def test_operation_that_is_not_there_is_refused(dynamodb: Any) -> None:
    with pytest.raises(ClientError) as refused:
        dynamodb.list_backups()

    assert code(refused) == "UnknownOperationException"


def test_every_operation_on_a_missing_table_says_so(dynamodb: Any) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("put_item", {"Item": item("a", "b")}),
        ("get_item", {"Key": item("a", "b")}),
        ("delete_item", {"Key": item("a", "b")}),
        ("update_item", {"Key": item("a", "b")}),
        ("scan", {}),
        ("delete_table", {}),
        ("describe_table", {}),
    ]
    for operation, arguments in calls:
        with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
            getattr(dynamodb, operation)(TableName="nobody-made-this", **arguments)
