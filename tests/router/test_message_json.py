"""Messages of the public API and DynamoDB's JSON: the same things said in two ways."""

from __future__ import annotations

from base64 import b64encode

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from quorate.v1 import api_pb2
from router.message_json import member_name, to_document, to_message

TEXT = st.text(max_size=5)
BINARY = st.binary(max_size=5).map(lambda value: b64encode(value).decode())
NAMES = st.text(min_size=1, max_size=5)
ATTRIBUTES = st.recursive(
    st.one_of(
        st.builds(lambda value: {"S": value}, TEXT),
        st.builds(lambda value: {"N": str(value)}, st.integers()),
        st.builds(lambda value: {"B": value}, BINARY),
        st.builds(lambda value: {"BOOL": value}, st.booleans()),
        st.just({"NULL": True}),
        st.builds(lambda values: {"SS": values}, st.lists(TEXT, max_size=3)),
        st.builds(lambda values: {"NS": values}, st.lists(st.just("1"), max_size=3)),
        st.builds(lambda values: {"BS": values}, st.lists(BINARY, max_size=3)),
    ),
    lambda inner: st.one_of(
        st.builds(lambda values: {"L": values}, st.lists(inner, max_size=3)),
        st.builds(lambda values: {"M": values}, st.dictionaries(NAMES, inner, max_size=3)),
    ),
    max_leaves=10,
)
ITEMS = st.dictionaries(NAMES, ATTRIBUTES, min_size=1, max_size=4)


@given(ITEMS)
def test_item_survives_the_way_there_and_back(item: dict[str, object]) -> None:
    message = api_pb2.PutItemRequest()

    to_message({"TableName": "Music", "Item": item}, message)
    again = api_pb2.PutItemRequest.FromString(message.SerializeToString())

    assert to_document(again) == {"TableName": "Music", "Item": item}


def test_deepest_item_that_dynamodb_allows_fits_into_a_message() -> None:
    value: dict[str, object] = {"S": "x"}
    for _ in range(31):
        value = {"M": {"a": value}}
    message = api_pb2.PutItemRequest()

    to_message({"Item": {"a": value}}, message)
    again = api_pb2.PutItemRequest.FromString(message.SerializeToString())

    assert to_document(again) == {"Item": {"a": value}}


@pytest.mark.parametrize(
    ("message", "document"),
    [
        (
            api_pb2.CreateTableRequest(
                table_name="Music",
                key_schema=[
                    api_pb2.KeySchemaElement(attribute_name="p", key_type=api_pb2.KEY_TYPE_HASH)
                ],
                attribute_definitions=[
                    api_pb2.AttributeDefinition(
                        attribute_name="p", attribute_type=api_pb2.SCALAR_ATTRIBUTE_TYPE_S
                    )
                ],
                billing_mode=api_pb2.BILLING_MODE_PROVISIONED,
                provisioned_throughput=api_pb2.ProvisionedThroughput(
                    read_capacity_units=5, write_capacity_units=6
                ),
            ),
            {
                "TableName": "Music",
                "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
                "BillingMode": "PROVISIONED",
                "ProvisionedThroughput": {"ReadCapacityUnits": 5, "WriteCapacityUnits": 6},
            },
        ),
        (
            api_pb2.QueryRequest(
                table_name="Music",
                key_condition_expression="p = :p",
                expression_attribute_names={"#a": "a"},
                expression_attribute_values={":p": api_pb2.AttributeValue(s="x")},
                select=api_pb2.SELECT_COUNT,
                limit=3,
                consistent_read=True,
                scan_index_forward=False,
                return_consumed_capacity=api_pb2.RETURN_CONSUMED_CAPACITY_TOTAL,
            ),
            {
                "TableName": "Music",
                "KeyConditionExpression": "p = :p",
                "ExpressionAttributeNames": {"#a": "a"},
                "ExpressionAttributeValues": {":p": {"S": "x"}},
                "Select": "COUNT",
                "Limit": 3,
                "ConsistentRead": True,
                "ScanIndexForward": False,
                "ReturnConsumedCapacity": "TOTAL",
            },
        ),
        (
            api_pb2.ScanRequest(table_name="Music", segment=0, total_segments=2),
            {"TableName": "Music", "Segment": 0, "TotalSegments": 2},
        ),
        (
            api_pb2.BatchWriteItemRequest(
                request_items={
                    "Music": api_pb2.WriteRequests(
                        values=[
                            api_pb2.WriteRequest(
                                put_request=api_pb2.PutRequest(
                                    item={"p": api_pb2.AttributeValue(s="a")}
                                )
                            ),
                            api_pb2.WriteRequest(
                                delete_request=api_pb2.DeleteRequest(
                                    key={"p": api_pb2.AttributeValue(b=b"\x00")}
                                )
                            ),
                        ]
                    )
                }
            ),
            {
                "RequestItems": {
                    "Music": [
                        {"PutRequest": {"Item": {"p": {"S": "a"}}}},
                        {"DeleteRequest": {"Key": {"p": {"B": "AA=="}}}},
                    ]
                }
            },
        ),
        (
            api_pb2.BatchGetItemRequest(
                request_items={
                    "Music": api_pb2.KeysAndAttributes(
                        keys=[api_pb2.AttributeMap(values={"p": api_pb2.AttributeValue(n="1")})],
                        consistent_read=True,
                    )
                }
            ),
            {"RequestItems": {"Music": {"Keys": [{"p": {"N": "1"}}], "ConsistentRead": True}}},
        ),
        (api_pb2.ListTablesRequest(), {}),
    ],
)
def test_request_reads_as_dynamodb_would_write_it(
    message: Message, document: dict[str, object]
) -> None:
    assert to_document(message) == document


def test_unknown_enum_number_reaches_validation_as_no_known_text() -> None:
    message = api_pb2.PutItemRequest.FromString(
        api_pb2.PutItemRequest(return_values=77).SerializeToString()  # type: ignore[arg-type]
    )

    assert to_document(message) == {"ReturnValues": "77"}


def test_answer_keeps_what_the_message_has_fields_for() -> None:
    message = api_pb2.QueryResponse()

    to_message(
        {
            "Items": [{"p": {"S": "a"}}, {}],
            "Count": 2,
            "ScannedCount": 3,
            "LastEvaluatedKey": {"p": {"S": "a"}},
            "ConsumedCapacity": {"TableName": "Music", "CapacityUnits": 0.5},
            "SomethingNew": {"x": 1},
        },
        message,
    )

    assert [sorted(item.values) for item in message.items] == [["p"], []]
    assert (message.count, message.scanned_count) == (2, 3)
    assert message.last_evaluated_key["p"].s == "a"
    assert message.consumed_capacity.capacity_units == 0.5


@pytest.mark.parametrize(("document", "found"), [({"Item": {}}, True), ({}, False)])
def test_item_projected_to_nothing_is_found_all_the_same(
    *, document: dict[str, object], found: bool
) -> None:
    message = api_pb2.GetItemResponse()

    to_message(document, message)

    assert message.found is found


def test_every_field_of_the_public_api_has_a_member_name_of_its_own() -> None:
    for message in api_pb2.DESCRIPTOR.message_types_by_name.values():
        names = [member_name(field.name) for field in message.fields]
        assert len(set(names)) == len(names)
