"""GetItem, and what Query and Scan check before any row is read."""

import json
from collections.abc import Callable

import pytest

from model.errors import ModelError, SerializationFailed, ValidationError
from model.image import encode_image
from model.keys import KeySchema, collection_prefix, storage_key, token_of
from model.requests.reads import parse_get_item, parse_query, parse_scan
from model.sentences import Sentence
from model.tables import Table
from model.values import measure_item

TABLE = Table(
    id=5,
    name="orders",
    schema=KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="N"),
    definition={},
)
ITEM: dict[str, object] = {"pk": {"S": "a"}, "sk": {"N": "1"}, "x": {"M": {"y": {"S": "z"}}}}
KEY = {"pk": {"S": "a"}, "sk": {"N": "1"}}
IMAGE = encode_image(ITEM, measure_item(ITEM))


def get(**members: object) -> dict[str, object]:
    return {"TableName": "orders", "Key": {"pk": {"S": "a"}, "sk": {"N": "01"}}, **members}


def query(**members: object) -> dict[str, object]:
    return {
        "TableName": "orders",
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "a"}},
        **members,
    }


def scan(**members: object) -> dict[str, object]:
    return {"TableName": "orders", **members}


def refusal(parse: Callable[[object], object], body: object) -> str:
    with pytest.raises(ModelError) as caught:
        parse(body)
    return str(caught.value)


def test_get_passes_the_stored_json_through() -> None:
    request = parse_get_item(get())

    assert request.bind(TABLE) == storage_key(5, TABLE.schema, KEY)
    assert not request.consistent
    assert json.loads(request.response(TABLE, IMAGE)) == {"Item": ITEM}


def test_get_of_no_item_answers_nothing_and_costs_half_a_unit() -> None:
    request = parse_get_item(get(ReturnConsumedCapacity="TOTAL"))

    assert json.loads(request.response(TABLE, b"")) == {
        "ConsumedCapacity": {"TableName": "orders", "CapacityUnits": 0.5}
    }


def test_strong_get_costs_a_whole_unit_and_is_projected() -> None:
    request = parse_get_item(
        get(ConsistentRead=True, ProjectionExpression="x.y", ReturnConsumedCapacity="INDEXES")
    )

    assert request.consistent
    assert json.loads(request.response(TABLE, IMAGE)) == {
        "Item": {"x": {"M": {"y": {"S": "z"}}}},
        "ConsumedCapacity": {
            "TableName": "orders",
            "CapacityUnits": 1.0,
            "Table": {"CapacityUnits": 1.0},
        },
    }


def test_projection_of_nothing_still_says_that_there_is_an_item() -> None:
    request = parse_get_item(get(ProjectionExpression="nothing"))

    assert json.loads(request.response(TABLE, IMAGE)) == {"Item": {}}


def test_query_stays_in_the_partition_of_its_token() -> None:
    request = parse_query(query(ConsistentRead=True, ScanIndexForward=False))
    plan = request.bind(TABLE)

    assert (request.table_name, request.consistent, plan.backwards) == ("orders", True, True)
    assert plan.token == token_of(collection_prefix(5, TABLE.schema, {"S": "a"}))


def test_segments_cut_the_ring_without_gaps() -> None:
    plans = [parse_scan(scan(Segment=segment, TotalSegments=7)).bind(TABLE) for segment in range(7)]

    assert [plan.high for plan in plans[:-1]] == [plan.low for plan in plans[1:]]
    assert plans[0].low == parse_scan(scan()).bind(TABLE).low
    assert plans[-1].high == parse_scan(scan(ConsistentRead=True)).bind(TABLE).high


@pytest.mark.parametrize(
    ("parse", "body", "message"),
    [
        (parse_get_item, get(ProjectionExpression=""), "Invalid ProjectionExpression"),
        (
            parse_get_item,
            get(ExpressionAttributeNames={"#a": "b"}),
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (
            parse_get_item,
            get(ProjectionExpression="a", ExpressionAttributeNames={"#a": None}),
            "Empty attribute name for key #a",
        ),
        (parse_get_item, get(Key={"pk": {"N": "x"}}), "cannot be converted to a numeric value"),
        (
            parse_query,
            query(KeyConditionExpression=None),
            "FilterExpression and KeyConditionExpression are null",
        ),
        (parse_query, {"TableName": "orders"}, Sentence.NO_KEY_CONDITION),
        (
            parse_query,
            query(IndexName="a!"),
            "2 validation errors detected: Value 'a!' at 'indexName' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; "
            "Value at 'IndexName' failed to satisfy constraint: "
            "Member must have length greater than or equal to 3",
        ),
        (
            parse_query,
            query(Limit=0),
            "1 validation error detected: Value at 'Limit' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1",
        ),
        (parse_scan, scan(Limit=0), "Value at 'Limit' failed to satisfy constraint: "),
        (parse_query, query(Limit=-1), "Member must have value greater than or equal to 1"),
        (parse_query, query(Select="ALL"), "Member must satisfy enum value set"),
        (parse_query, query(Select="ALL_PROJECTED_ATTRIBUTES"), Sentence.SELECT_NEEDS_INDEX),
        (parse_query, query(Select="SPECIFIC_ATTRIBUTES"), Sentence.SELECT_NEEDS_PROJECTION),
        (
            parse_query,
            query(Select="COUNT", ProjectionExpression="a"),
            "Cannot specify the ProjectionExpression when choosing to get only the Count",
        ),
        (
            parse_scan,
            scan(Select="ALL_PROJECTED_ATTRIBUTES", AttributesToGet=["a"]),
            "Cannot specify the AttributesToGet when choosing to get ALL_PROJECTED_ATTRIBUTES",
        ),
        (
            parse_query,
            query(ExclusiveStartKey={"pk": {"N": "x"}}),
            "The parameter cannot be converted",
        ),
        (
            parse_query,
            query(ExclusiveStartKey={"pk": {}}),
            "The provided starting key is invalid: Supplied AttributeValue is empty",
        ),
        (parse_query, query(KeyConditionExpression="pk = "), "Invalid KeyConditionExpression: S"),
        (
            parse_query,
            query(ExpressionAttributeValues={":pk": {"S": "a"}, ":z": {"S": "a"}}),
            "unused in expressions: keys: {:z}",
        ),
        (
            parse_scan,
            scan(ExpressionAttributeValues={":a": {"S": "x"}}),
            "using expressions: FilterExpression is null",
        ),
        (
            parse_scan,
            scan(
                FilterExpression="a = :a",
                ExpressionAttributeValues={":a": {"S": "x" * (2 << 20)}},
            ),
            "Size of expression attribute values",
        ),
        (parse_scan, scan(Segment=1), Sentence.SEGMENT_WITHOUT_TOTAL),
        (parse_scan, scan(TotalSegments=1), Sentence.TOTAL_WITHOUT_SEGMENT),
        (
            parse_scan,
            scan(Segment=2, TotalSegments=2),
            "Segment: 2 is not less than TotalSegments: 2",
        ),
        (
            parse_scan,
            scan(Segment=-1, TotalSegments=1_000_001),
            "2 validation errors detected",
        ),
        (
            parse_scan,
            scan(
                FilterExpression="a = :a",
                ExpressionAttributeValues={":a": {"S": "x"}, ":b": {"S": "y"}},
            ),
            "unused in expressions: keys: {:b}",
        ),
    ],
)
def test_rules_have_their_sentences(
    parse: Callable[[object], object], body: object, message: str
) -> None:
    assert message in refusal(parse, body)


@pytest.mark.parametrize(
    "members", [{"Limit": "1"}, {"Limit": 1.5}, {"Limit": True}, {"ConsistentRead": "true"},
                {"ExclusiveStartKey": {"pk": {"S": 1}}}, {"ExclusiveStartKey": []}]
)  # fmt: skip
def test_wrong_json_types_are_serialization_errors(members: dict[str, object]) -> None:
    with pytest.raises(SerializationFailed):
        parse_scan(scan(**members))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"KeyConditionExpression": "x = :pk"}, "missed key schema element: pk"),
        ({"ExpressionAttributeValues": {":pk": {"N": "1"}}}, "type does not match schema type"),
        ({"ExpressionAttributeValues": {":pk": {"S": ""}}}, "empty string value. Key: pk"),
    ],
)
def test_key_condition_is_checked_when_the_table_is_known(
    members: dict[str, object], message: str
) -> None:
    request = parse_query(query(**members))

    with pytest.raises(ValidationError, match=message):
        request.bind(TABLE)
