"""Stubs generated from the public .proto files, reflection and health, as any language has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import grpc
import orjson
import pytest
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from quorate.local.background import BackgroundCluster
from quorate.v1 import api_pb2, api_pb2_grpc

SERVICE = "quorate.v1.QuorateService"


@pytest.fixture(scope="module")
def channel(cluster: BackgroundCluster) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(cluster.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return api_pb2_grpc.QuorateServiceStub(channel)


def text(value: str) -> api_pb2.AttributeValue:
    return api_pb2.AttributeValue(s=value)


def number(value: str) -> api_pb2.AttributeValue:
    return api_pb2.AttributeValue(n=value)


def key(artist: str, song: str) -> dict[str, api_pb2.AttributeValue]:
    return {"artist": text(artist), "song": text(song)}


def reason(error: grpc.RpcError) -> str:
    """Return the DynamoDB error code in the details of a failed call."""
    status = rpc_status.from_call(error)
    assert status is not None
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            assert info.domain == "quorate"
            return str(info.reason)
    raise AssertionError("no ErrorInfo in the status")


def test_table_rpcs_create_describe_list_and_delete(stub: Any) -> None:
    name = f"grpc-{uuid4().hex[:12]}"
    created = stub.CreateTable(
        api_pb2.CreateTableRequest(
            table_name=name,
            key_schema=[
                api_pb2.KeySchemaElement(attribute_name="id", key_type=api_pb2.KEY_TYPE_HASH)
            ],
            attribute_definitions=[
                api_pb2.AttributeDefinition(
                    attribute_name="id", attribute_type=api_pb2.SCALAR_ATTRIBUTE_TYPE_S
                )
            ],
            billing_mode=api_pb2.BILLING_MODE_PAY_PER_REQUEST,
        ),
        timeout=10,
    ).table_description
    described = stub.DescribeTable(api_pb2.DescribeTableRequest(table_name=name), timeout=5).table
    listed = stub.ListTables(api_pb2.ListTablesRequest(), timeout=5).table_names
    stub.DeleteTable(api_pb2.DeleteTableRequest(table_name=name), timeout=10)
    with pytest.raises(grpc.RpcError) as gone:
        stub.DescribeTable(api_pb2.DescribeTableRequest(table_name=name), timeout=5)

    assert created.table_name == name
    assert described.table_status == api_pb2.TABLE_STATUS_ACTIVE
    assert described.table_id == created.table_id
    assert name in listed
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND
    assert reason(gone.value) == "ResourceNotFoundException"


def test_item_rpcs_put_get_update_and_delete(stub: Any, table: str) -> None:
    item = {
        **key("grpc", "one"),
        "n": number("41"),
        "raw": api_pb2.AttributeValue(b=b"\x00\xff"),
        "yes": api_pb2.AttributeValue(bool=False),
        "none": api_pb2.AttributeValue(null=True),
        "map": api_pb2.AttributeValue(
            m=api_pb2.AttributeMap(
                values={
                    "list": api_pb2.AttributeValue(
                        l=api_pb2.AttributeList(values=[number("1"), text("")])
                    )
                }
            )
        ),
    }
    stub.PutItem(api_pb2.PutItemRequest(table_name=table, item=item), timeout=5)
    got = stub.GetItem(
        api_pb2.GetItemRequest(table_name=table, key=key("grpc", "one"), consistent_read=True),
        timeout=5,
    )
    updated = stub.UpdateItem(
        api_pb2.UpdateItemRequest(
            table_name=table,
            key=key("grpc", "one"),
            update_expression="ADD n :one",
            expression_attribute_values={":one": number("1")},
            return_values=api_pb2.RETURN_VALUES_UPDATED_NEW,
        ),
        timeout=5,
    )
    deleted = stub.DeleteItem(
        api_pb2.DeleteItemRequest(
            table_name=table,
            key=key("grpc", "one"),
            return_values=api_pb2.RETURN_VALUES_ALL_OLD,
        ),
        timeout=5,
    )
    absent = stub.GetItem(
        api_pb2.GetItemRequest(table_name=table, key=key("grpc", "one"), consistent_read=True),
        timeout=5,
    )

    assert got.found
    assert dict(got.item) == item
    assert dict(updated.attributes) == {"n": number("42")}
    assert deleted.attributes["n"] == number("42")
    assert not absent.found


def test_failed_condition_is_an_error_with_dynamodbs_code(stub: Any, table: str) -> None:
    request = api_pb2.PutItemRequest(
        table_name=table,
        item=key("grpc", "once"),
        condition_expression="attribute_not_exists(artist)",
    )
    stub.PutItem(request, timeout=5)
    with pytest.raises(grpc.RpcError) as failed:
        stub.PutItem(request, timeout=5)

    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason(failed.value) == "ConditionalCheckFailedException"


def test_wrong_request_is_an_invalid_argument(stub: Any, table: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stub.PutItem(api_pb2.PutItemRequest(table_name=table, item={"x": text("y")}), timeout=5)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(refused.value) == "ValidationException"


def test_same_request_id_takes_effect_once(stub: Any, table: str) -> None:
    """What a client does that retries after UNAVAILABLE."""
    request = api_pb2.UpdateItemRequest(
        table_name=table,
        key=key("grpc", "counted"),
        update_expression="ADD n :one",
        expression_attribute_values={":one": number("1")},
        return_values=api_pb2.RETURN_VALUES_UPDATED_NEW,
    )
    metadata = (("x-quorate-request-id", uuid4().hex),)
    answers = [stub.UpdateItem(request, timeout=5, metadata=metadata) for _ in range(3)]

    assert [answer.attributes["n"].n for answer in answers] == ["1", "1", "1"]


def test_batch_query_and_scan_rpcs(stub: Any, table: str) -> None:
    puts = [
        api_pb2.WriteRequest(
            put_request=api_pb2.PutRequest(item={**key("b", f"s{n:02}"), "n": number(str(n))})
        )
        for n in range(20)
    ]
    written = stub.BatchWriteItem(
        api_pb2.BatchWriteItemRequest(request_items={table: api_pb2.WriteRequests(values=puts)}),
        timeout=5,
    )
    got = stub.BatchGetItem(
        api_pb2.BatchGetItemRequest(
            request_items={
                table: api_pb2.KeysAndAttributes(
                    keys=[api_pb2.AttributeMap(values=key("b", f"s{n:02}")) for n in range(25)],
                    consistent_read=True,
                )
            }
        ),
        timeout=5,
    )
    request = api_pb2.QueryRequest(
        table_name=table,
        key_condition_expression="artist = :a AND song >= :s",
        expression_attribute_values={":a": text("b"), ":s": text("s05")},
        consistent_read=True,
        limit=6,
        scan_index_forward=False,
    )
    songs: list[str] = []
    while True:
        page = stub.Query(request, timeout=5)
        songs += [found.values["song"].s for found in page.items]
        if not page.last_evaluated_key:
            break
        request.ClearField("exclusive_start_key")
        for name, value in page.last_evaluated_key.items():
            request.exclusive_start_key[name].CopyFrom(value)
    scanned = stub.Scan(api_pb2.ScanRequest(table_name=table, consistent_read=True), timeout=5)

    assert not written.unprocessed_items
    assert len(got.responses[table].values) == 20
    assert songs == [f"s{n:02}" for n in range(19, 4, -1)]
    assert scanned.count == 20


def test_pipeline_rpc_answers_many_calls_of_one_message(stub: Any, table: str) -> None:
    """Columns in, columns out, in the order in which calls finish; errors are documents."""
    bodies = [
        orjson.dumps({"TableName": table, "Item": {"artist": {"S": "p"}, "song": {"S": f"s{n}"}}})
        for n in range(10)
    ]
    bodies.append(orjson.dumps({"TableName": "nobody-made-this", "Item": {"id": {"S": "x"}}}))
    request = api_pb2.PipelineRequest(
        id=range(1, 12),
        operation=["PutItem"] * 11,
        body=bodies,
        request_id=[uuid4().bytes for _ in range(11)],
        deadline_ms=[5_000] * 11,
    )
    statuses: dict[int, int] = {}
    errors: dict[int, Any] = {}
    call = stub.Pipeline(iter([request]), timeout=10)
    for response in call:
        for number_, status, body in zip(
            response.id, response.http_status, response.body, strict=True
        ):
            statuses[number_] = status
            if status != 200:
                errors[number_] = orjson.loads(body)

    assert statuses == {**dict.fromkeys(range(1, 11), 200), 11: 400}
    assert errors[11]["__type"].endswith("ResourceNotFoundException")


def test_reflection_lists_the_services_and_describes_the_api(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, described = stub.ServerReflectionInfo(iter(requests), timeout=5)

    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert described.file_descriptor_response.file_descriptor_proto


@pytest.mark.parametrize(
    "detail",
    [
        "google.rpc.ErrorInfo",
        "google.rpc.RetryInfo",
        "google.rpc.Status",
        "quorate.v1.AttributeMap",
    ],
)
def test_reflection_describes_what_errors_carry(channel: grpc.Channel, detail: str) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=detail)
    (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=5)

    package, _, name = detail.rpartition(".")
    files = map(
        descriptor_pb2.FileDescriptorProto.FromString,
        answer.file_descriptor_response.file_descriptor_proto,
    )
    assert any(
        file.package == package and name in {message.name for message in file.message_type}
        for file in files
    )


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_serving(channel: grpc.Channel, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(channel)

    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING
