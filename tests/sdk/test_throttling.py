"""boto3 and gRPC stubs, unchanged, on tables that are out of capacity: DynamoDB's refusals.

Every table here is its own: nobody else spends of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import grpc
import pytest
from botocore.exceptions import ClientError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from quorate.local.background import BackgroundCluster
from quorate.v1 import api_pb2, api_pb2_grpc

UNITS = 10

SMALL = [(f"small-{number}", 100) for number in range(20)]

MakeTable = Callable[..., str]


@pytest.fixture
def make_table(dynamodb: Any) -> Iterator[MakeTable]:
    """Makes tables with a partition key `id`, with so many units, or on demand up to as many.

    A provisioned one has nothing saved up, unless it is `fresh`: it was on demand before.
    """
    names: list[str] = []

    def make(units: int = UNITS, *, on_demand: bool = False, fresh: bool = False) -> str:
        name = f"throttled-{uuid4().hex[:12]}"
        most = {"MaxReadRequestUnits": units, "MaxWriteRequestUnits": units}
        each = {"ReadCapacityUnits": units, "WriteCapacityUnits": units}
        capacity: dict[str, Any] = {"BillingMode": "PAY_PER_REQUEST"}
        if on_demand:
            capacity["OnDemandThroughput"] = most
        elif fresh:
            capacity = {"ProvisionedThroughput": each}
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            **capacity,
        )
        names.append(name)
        dynamodb.get_waiter("table_exists").wait(
            TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
        )
        if not on_demand and not fresh:
            dynamodb.update_table(
                TableName=name, BillingMode="PROVISIONED", ProvisionedThroughput=each
            )
        return name

    yield make
    for name in names:
        dynamodb.delete_table(TableName=name)


def refusal_of(call: Callable[[int], object]) -> Any:
    """Call with one number after the other until that is refused; return the error."""
    for number in range(1_000):
        try:
            call(number)
        except (ClientError, grpc.RpcError) as error:
            return error
    raise AssertionError("nothing was refused")


def put_until_refused(dynamodb: Any, table: str) -> tuple[ClientError, str]:
    """Put items until one is refused; return the error and that item's key."""
    key = ""

    def put(number: int) -> None:
        nonlocal key
        key = f"item-{number}"
        dynamodb.put_item(TableName=table, Item={"id": {"S": key}})

    return refusal_of(put), key


def puts(count: int) -> list[dict[str, Any]]:
    return [{"PutRequest": {"Item": {"id": {"S": f"item-{number}"}}}} for number in range(count)]


def test_provisioned_table_refuses_with_its_reason_and_without_effect(
    dynamodb: Any, make_table: MakeTable
) -> None:
    table = make_table()
    error, key = put_until_refused(dynamodb, table)

    assert error.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    (reason,) = error.response["ThrottlingReasons"]
    assert reason["reason"] == "TableWriteProvisionedThroughputExceeded"
    assert reason["resource"].endswith(f":table/{table}")
    found = dynamodb.get_item(TableName=table, Key={"id": {"S": key}}, ConsistentRead=True)
    assert "Item" not in found


def test_new_table_has_its_burst_at_once(dynamodb: Any, make_table: MakeTable) -> None:
    """1,500 units of a table of 5. What tutorials do with one never meets a refusal."""
    table = make_table(5, fresh=True)
    spent = 0.0
    for name, size_bytes in (("a", 390_000), ("b", 350_000), ("c", 100_000), *SMALL):
        item = {"id": {"S": name}, "v": {"S": "v" * (size_bytes - 20)}}
        answer = dynamodb.put_item(TableName=table, Item=item, ReturnConsumedCapacity="TOTAL")
        spent += answer["ConsumedCapacity"]["CapacityUnits"]
    assert spent > 840
    for _ in range(5 + 3):
        key = {"id": {"S": "small-1"}}
        assert dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]


def test_many_requests_at_once_for_a_new_table_are_all_served(
    dynamodb: Any, make_table: MakeTable
) -> None:
    table = make_table(5, fresh=True)

    def put(number: int) -> None:
        dynamodb.put_item(TableName=table, Item={"id": {"S": f"item-{number}"}})

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(put, range(100)))
    answer = dynamodb.batch_write_item(RequestItems={table: puts(25)})
    assert not answer["UnprocessedItems"]


def test_large_item_is_taken_by_whoever_has_anything_and_paid_back(
    dynamodb: Any, make_table: MakeTable
) -> None:
    """300 units saved up, and 382 spent: the rest of them comes in later."""
    table = make_table(1, fresh=True)
    large = {"id": {"S": "large"}, "v": {"S": "v" * 390_000}}
    dynamodb.put_item(TableName=table, Item=large)

    error, _ = put_until_refused(dynamodb, table)
    assert error.response["Error"]["Code"] == "ProvisionedThroughputExceededException"


def test_table_in_debt_tells_what_is_wrong_with_a_request(
    dynamodb: Any, make_table: MakeTable
) -> None:
    table = make_table(1)
    put_until_refused(dynamodb, table)
    key = {"id": {"S": "a"}}
    for call, members in (
        (dynamodb.put_item, {"Item": {**key, "v": {"S": "v" * (400 << 10)}}}),
        (dynamodb.put_item, {"Item": {"v": {"S": "a"}}}),
        (dynamodb.put_item, {"Item": {"id": {"N": "1"}}}),
        (dynamodb.put_item, {"Item": {"id": {"S": ""}}}),
        (dynamodb.put_item, {"Item": key, "ConditionExpression": "foo("}),
        (dynamodb.update_item, {"Key": key, "UpdateExpression": "REMOVE id"}),
    ):
        with pytest.raises(ClientError) as refused:
            call(TableName=table, **members)
        assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_table_on_demand_refuses_above_its_maximum(dynamodb: Any, make_table: MakeTable) -> None:
    error, _ = put_until_refused(dynamodb, make_table(1, on_demand=True))

    assert error.response["Error"]["Code"] == "ThrottlingException"
    (reason,) = error.response["throttlingReasons"]
    assert reason["reason"] == "TableWriteMaxOnDemandThroughputExceeded"


def test_reads_are_refused_by_their_own_units(dynamodb: Any, make_table: MakeTable) -> None:
    table = make_table()
    key = {"id": {"S": "a"}}
    error = refusal_of(lambda _: dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True))

    (reason,) = error.response["ThrottlingReasons"]
    assert reason["reason"] == "TableReadProvisionedThroughputExceeded"
    assert dynamodb.put_item(TableName=table, Item={"id": {"S": "a"}})


def test_batch_waits_for_capacity(dynamodb: Any, make_table: MakeTable) -> None:
    """25 units of a table that has 10 a second."""
    table = make_table()

    answer = dynamodb.batch_write_item(
        RequestItems={table: puts(25)}, ReturnConsumedCapacity="TOTAL"
    )

    assert answer["UnprocessedItems"] == {}
    (consumed,) = answer["ConsumedCapacity"]
    assert consumed["CapacityUnits"] == 25


def test_client_that_looks_at_no_unprocessed_items_loses_none(
    dynamodb: Any, make_table: MakeTable
) -> None:
    """A dozen client libraries are known not to. Three seconds at twice what the table has."""
    table = make_table()
    batches = [
        [{"PutRequest": {"Item": {"id": {"S": f"item-{batch}-{at}"}}}} for at in range(5)]
        for batch in range(12)
    ]
    with ThreadPoolExecutor(len(batches)) as pool:
        begun = time.monotonic()
        for number, batch in enumerate(batches):
            time.sleep(max(0.0, begun + number * 0.25 - time.monotonic()))  # the load's pace
            pool.submit(dynamodb.batch_write_item, RequestItems={table: batch})

    found = dynamodb.scan(TableName=table, ConsistentRead=True, Select="COUNT")
    assert found["Count"] == 60


def test_batch_gives_back_what_it_had_no_time_for(dynamodb: Any, make_table: MakeTable) -> None:
    """What comes back was not written; sent again and again, as an SDK does, all of it is."""
    table = make_table(2)
    left: dict[str, Any] = {table: puts(25)}
    answers = 0
    units = 0.0
    while left:
        answer = dynamodb.batch_write_item(RequestItems=left, ReturnConsumedCapacity="TOTAL")
        answers += 1
        (consumed,) = answer["ConsumedCapacity"]
        units += consumed["CapacityUnits"]
        left = answer["UnprocessedItems"]

    assert answers > 1, "it took several rounds"
    assert units == 25, "each item was written once"


def test_batch_without_any_capacity_is_refused_as_a_whole(
    dynamodb: Any, make_table: MakeTable
) -> None:
    """A table of one unit that owes a minute's."""
    table = make_table(1)
    dynamodb.put_item(TableName=table, Item={"id": {"S": "large"}, "v": {"S": "v" * 60_000}})
    error = refusal_of(lambda _: dynamodb.batch_write_item(RequestItems={table: puts(25)}))

    assert error.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert error.response["ThrottlingReasons"]


def test_batch_of_gets_gives_back_keys(dynamodb: Any, make_table: MakeTable) -> None:
    table = make_table()
    keys = [{"id": {"S": f"item-{number}"}} for number in range(100)]

    answer = dynamodb.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})

    unprocessed = answer["UnprocessedKeys"][table]
    assert unprocessed["ConsistentRead"] is True
    assert 0 < len(unprocessed["Keys"]) < 100
    assert all(key in keys for key in unprocessed["Keys"])


def test_batch_writer_of_the_resource_gets_everything_written(
    resource: Any, make_table: MakeTable
) -> None:
    table = resource.Table(make_table())
    with table.batch_writer() as batch:
        for number in range(40):
            batch.put_item(Item={"id": f"item-{number}"})

    assert table.scan(ConsistentRead=True)["Count"] == 40


def test_grpc_client_is_told_why_and_when_to_try_again(
    cluster: BackgroundCluster, make_table: MakeTable
) -> None:
    table = make_table()
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        stub = api_pb2_grpc.QuorateServiceStub(channel)
        item = {"id": api_pb2.AttributeValue(s="a")}
        request = api_pb2.PutItemRequest(table_name=table, item=item)
        error = refusal_of(lambda _: stub.PutItem(request, timeout=10))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    status: Any = rpc_status.from_call(error)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert info.reason == "ProvisionedThroughputExceededException"
    assert info.metadata["TableWriteProvisionedThroughputExceeded"].endswith(f":table/{table}")
    assert 0 < retry.retry_delay.ToMilliseconds() <= 1_000
