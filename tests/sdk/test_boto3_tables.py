"""boto3, unchanged, against a real cluster: UpdateTable, legacy parameters, long sort keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def provisioned(dynamodb: Any) -> Iterator[str]:
    """Name of a table with 5 read and 5 write units."""
    name = f"units-{uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 5},
    )
    yield name
    dynamodb.delete_table(TableName=name)


def message(refused: pytest.ExceptionInfo[ClientError]) -> str:
    error = refused.value.response["Error"]
    return f"{error['Code']}: {error['Message']}"


def active(dynamodb: Any, name: str) -> dict[str, Any]:
    dynamodb.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
    )
    table: dict[str, Any] = dynamodb.describe_table(TableName=name)["Table"]
    return table


def test_table_goes_through_its_billing_modes(dynamodb: Any, provisioned: str) -> None:
    dynamodb.put_item(TableName=provisioned, Item={"id": {"S": "kept"}})
    more = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 9}

    updated = dynamodb.update_table(TableName=provisioned, ProvisionedThroughput=more)
    increased = active(dynamodb, provisioned)
    with pytest.raises(ClientError) as same:
        dynamodb.update_table(TableName=provisioned, ProvisionedThroughput=more)
    dynamodb.update_table(TableName=provisioned, BillingMode="PAY_PER_REQUEST")
    on_demand = active(dynamodb, provisioned)

    assert updated["TableDescription"]["TableStatus"] == "UPDATING"
    assert increased["ProvisionedThroughput"]["WriteCapacityUnits"] == 9
    assert "LastIncreaseDateTime" in increased["ProvisionedThroughput"]
    assert message(same).startswith(
        "ValidationException: The provisioned throughput for the table will not change."
    )
    assert on_demand["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert on_demand["TableId"] == increased["TableId"]
    found = dynamodb.get_item(TableName=provisioned, Key={"id": {"S": "kept"}})
    assert found["Item"] == {"id": {"S": "kept"}}


def test_protected_table_stays(dynamodb: Any, provisioned: str) -> None:
    dynamodb.update_table(TableName=provisioned, DeletionProtectionEnabled=True)
    with pytest.raises(ClientError) as refused:
        dynamodb.delete_table(TableName=provisioned)
    dynamodb.update_table(TableName=provisioned, DeletionProtectionEnabled=False)

    assert message(refused).startswith("ValidationException: Resource cannot be deleted")
    assert not active(dynamodb, provisioned)["DeletionProtectionEnabled"]


def test_server_tells_its_limits_and_endpoints(dynamodb: Any) -> None:
    assert dynamodb.describe_limits()["TableMaxWriteCapacityUnits"] > 0
    (endpoint,) = dynamodb.describe_endpoints()["Endpoints"]
    assert dynamodb.meta.endpoint_url.endswith(endpoint["Address"])


def test_legacy_update_says_what_legacy_updates_say(dynamodb: Any, table: str) -> None:
    key = {"artist": {"S": "a"}, "song": {"S": "b"}}
    dynamodb.put_item(TableName=table, Item={**key, "n": {"S": "no number"}})

    with pytest.raises(ClientError) as refused:
        dynamodb.update_item(
            TableName=table,
            Key=key,
            AttributeUpdates={"n": {"Action": "ADD", "Value": {"N": "1"}}},
        )

    assert message(refused) == "ValidationException: Type mismatch for attribute to update"


def test_long_sort_keys_with_one_beginning_are_read_in_order_page_by_page(
    dynamodb: Any, table: str
) -> None:
    """Such a run is larger than one read of a node."""
    songs = [f"{'s' * 600}{number:03}" for number in range(40)]
    for song in reversed(songs):
        dynamodb.put_item(
            TableName=table,
            Item={"artist": {"S": "a"}, "song": {"S": song}, "x": {"S": "x" * 100_000}},
        )

    for forward in (True, False):
        pages = dynamodb.get_paginator("query").paginate(
            TableName=table,
            KeyConditionExpression="artist = :a",
            ExpressionAttributeValues={":a": {"S": "a"}},
            ProjectionExpression="song",
            ScanIndexForward=forward,
            PaginationConfig={"PageSize": 7},
        )
        found = [item["song"]["S"] for page in pages for item in page["Items"]]
        assert found == (songs if forward else songs[::-1])
