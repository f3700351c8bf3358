"""PutItem, DeleteItem, UpdateItem: order of checks, what is sent, what is answered."""

import json
from collections.abc import Callable

import pytest

from model.errors import ModelError, SerializationFailed, ValidationError
from model.image import check_image, decode_image, image_size_bytes
from model.keys import KeySchema, storage_key
from model.program import decode_program
from model.requests.writes import parse_delete_item, parse_put_item, parse_update_item
from model.sentences import Sentence
from model.tables import Table

TABLE = Table(
    id=7,
    name="orders",
    schema=KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="N"),
    definition={},
)
KEY = {"pk": {"S": "a"}, "sk": {"N": "1"}}


def put(**members: object) -> dict[str, object]:
    return {"TableName": "orders", "Item": {**KEY, "x": {"N": "01.0"}}, **members}


def on_key(**members: object) -> dict[str, object]:
    return {"TableName": "orders", "Key": {"pk": {"S": "a"}, "sk": {"N": "1"}}, **members}


def refusal(parse: Callable[[object], object], body: object) -> str:
    with pytest.raises(ModelError) as caught:
        parse(body)
    return str(caught.value)


def test_plain_put_is_key_and_image_without_a_program() -> None:
    request = parse_put_item(put())
    write = request.bind(TABLE)

    check_image(write.image)
    assert request.table_name == "orders"
    assert write.key == storage_key(7, TABLE.schema, KEY)
    assert write.program == b""
    assert decode_image(write.image) == {**KEY, "x": {"N": "1"}}
    assert image_size_bytes(write.image) == 2 + 1 + 2 + 2 + 1 + 2
    assert request.response(TABLE, 1, b"") == b"{}"


def test_plain_delete_is_key_and_empty_image() -> None:
    write = parse_delete_item(on_key(ReturnValues="NONE")).bind(TABLE)

    assert (write.image, write.program) == (b"", b"")
    assert write.key == storage_key(7, TABLE.schema, KEY)


@pytest.mark.parametrize(
    "members",
    [
        {"ReturnValues": "ALL_OLD"},
        {"ConditionExpression": "attribute_not_exists(pk)"},
    ],
)
def test_put_that_asks_for_more_has_a_program(members: dict[str, object]) -> None:
    write = parse_put_item(put(**members)).bind(TABLE)

    assert decode_program(write.program).shape.kind == "put"


def test_update_always_has_a_program_with_its_key() -> None:
    write = parse_update_item(on_key()).bind(TABLE)

    program = decode_program(write.program)
    assert program.shape.kind == "update"
    assert program.key == KEY


def test_values_travel_normalised() -> None:
    body = on_key(
        UpdateExpression="ADD #n :one",
        ExpressionAttributeNames={"#n": "n"},
        ExpressionAttributeValues={":one": {"N": "01.0"}},
    )
    program = decode_program(parse_update_item(body).bind(TABLE).program)

    assert program.values == {":one": {"N": "1"}}


def test_table_may_be_named_by_its_arn() -> None:
    body = put(TableName="arn:aws:dynamodb:eu-west-1:123456789012:table/orders")

    assert parse_put_item(body).table_name == "orders"


COUNTED = "1 validation error detected: "
DUPLICATES = (
    'One or more parameter values were invalid: Input collection ["a", "a"] contains duplicates.'
)


def test_answer_has_attributes_and_capacity_if_asked() -> None:
    request = parse_put_item(put(ReturnValues="ALL_OLD", ReturnConsumedCapacity="INDEXES"))

    assert json.loads(request.response(TABLE, 3, b'{"pk":{"S":"a"}}')) == {
        "Attributes": {"pk": {"S": "a"}},
        "ConsumedCapacity": {
            "TableName": "orders",
            "CapacityUnits": 3.0,
            "Table": {"CapacityUnits": 3.0},
        },
    }


def test_wrong_json_type_anywhere_comes_before_every_other_fault() -> None:
    """Order of checks: types of the whole body, constraints, rules."""
    body = put(ReturnValues="NOPE", Item={"a": {"N": "x"}, "b": {"S": 1}})

    assert refusal(parse_put_item, body) == "NUMBER_VALUE cannot be converted to String"


def test_constraints_come_before_rules_and_all_at_once() -> None:
    body: dict[str, object] = {
        "ReturnValues": "NOPE",
        "ReturnConsumedCapacity": "SOME",
        "Key": {"a": {"N": "x"}},
        "TableName": "a!",
    }

    assert refusal(parse_delete_item, body) == (
        "4 validation errors detected: "
        "Value 'SOME' at 'returnConsumedCapacity' failed to satisfy constraint: Member must "
        "satisfy enum value set: [INDEXES, TOTAL, NONE]; "
        "Value 'a!' at 'tableName' failed to satisfy constraint: Member must satisfy regular "
        "expression pattern: [a-zA-Z0-9_.-]+; "
        "Value at 'TableName' failed to satisfy constraint: Member must have length greater "
        "than or equal to 3; "
        "Failed to satisfy constraint: Member must satisfy enum value set: "
        "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]"
    )


def test_put_and_update_speak_of_the_table_alone() -> None:
    """And an update of its ReturnValues (dynoxide, change log of 0.11.2)."""
    members: dict[str, object] = {"ReturnValues": "NOPE", "ReturnConsumedCapacity": "SOME"}

    for parse, body in ((parse_put_item, put(**members)), (parse_update_item, on_key(**members))):
        assert refusal(parse, {**body, "TableName": ""}) == (
            "1 validation error detected: Value at 'TableName' failed to satisfy constraint: "
            "Member must have length greater than or equal to 1"
        )
    assert refusal(parse_put_item, put(**members)).startswith("2 validation errors detected: ")
    assert refusal(parse_update_item, on_key(**members)).startswith(
        "1 validation error detected: Failed to satisfy constraint: Member must satisfy enum"
    )


def test_absent_members_are_named() -> None:
    assert refusal(parse_delete_item, {}) == (
        "2 validation errors detected: "
        "Value null at 'tableName' failed to satisfy constraint: Member must not be null; "
        "Value null at 'key' failed to satisfy constraint: Member must not be null"
    )


def test_how_parameters_go_together_comes_before_their_values() -> None:
    body = put(
        Item={"pk": {}},
        Expected={"a": {"Exists": False}},
        ConditionExpression="attribute_exists(",
    )

    assert refusal(parse_put_item, body).startswith(COUNTED + "Can not use both expression and ")


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "a", "ab", "a" * 256, "T\n[ERROR]", "t\u0430ble", "", "a" * 5000,
     "arn:aws:dynamodb:x:1:table/a", "arn:aws:s3:::bucket", "abc\n"],
)  # fmt: skip
def test_bad_table_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"'[tT]ableName' failed to satisfy"):
        parse_put_item(put(TableName=name))


@pytest.mark.parametrize("body", [None, [], "x", 1, True])
def test_body_that_is_no_object_is_a_serialization_error(body: object) -> None:
    with pytest.raises(SerializationFailed):
        parse_put_item(body)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ReturnValues": "ALL_NEW"}, Sentence.RETURN_VALUES_OLD_ONLY),
        (
            {"ExpressionAttributeNames": {"#a": "b"}},
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (
            {"ExpressionAttributeValues": {":a": {"S": "b"}}},
            "ExpressionAttributeValues can only be specified when using expressions",
        ),
        (
            {"ConditionExpression": "a = :a", "ExpressionAttributeValues": {}},
            "ExpressionAttributeValues must not be empty",
        ),
        (
            {"ConditionExpression": "a = :a", "ExpressionAttributeValues": {"a": {"S": "b"}}},
            'ExpressionAttributeValues contains invalid key: Syntax error; key: "a"',
        ),
        (
            {"ConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": {"SS": []}}},
            Sentence.STRING_SET_EMPTY,
        ),
        ({"Item": {"pk": {"S": "a"}, "s": {"SS": ["a", "a"]}}}, DUPLICATES),
        ({"Item": {"pk": {"S": "a"}, "m": {"M": {"n": {"NULL": False}}}}}, Sentence.NULL_NOT_TRUE),
        (
            {"Expected": {"a": {"Exists": True}}},
            Sentence.EXPECTED_VALUE_MISSING.format(exists="true", name="a"),
        ),
        (
            {
                "ConditionExpression": "a = :a",
                "ExpressionAttributeValues": {":a": {"S": "b"}, ":z": {"S": "b"}},
            },
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:z}",
        ),
        (
            {
                "ConditionExpression": "#a = #b",
                "ExpressionAttributeNames": {"#a": "x", "#b": "y", "#c": "z"},
            },
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#c}",
        ),
        (
            {"ConditionExpression": "#a = #a", "ExpressionAttributeNames": {"#a": ""}},
            "ExpressionAttributeNames contains invalid value: Empty attribute name for key #a",
        ),
        (
            {"ConditionExpression": ""},
            "Invalid ConditionExpression: The expression can not be empty;",
        ),
    ],
)
def test_rules_have_their_sentences_and_are_counted(
    members: dict[str, object], message: str
) -> None:
    assert refusal(parse_put_item, put(**members)) == COUNTED + message


def test_delete_does_not_count_its_errors() -> None:
    assert refusal(parse_delete_item, on_key(ConditionExpression="")) == (
        "Invalid ConditionExpression: The expression can not be empty;"
    )
    values = {"ExpressionAttributeValues": {":a": {"S": "b"}}}
    assert refusal(parse_delete_item, on_key(**values)) == Sentence.VALUES_WITHOUT_CONDITION


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"UpdateExpression": "SET"}, 'Invalid UpdateExpression: Syntax error; token: "<EOF>", '),
        ({"UpdateExpression": "SET a = foo(b)"}, "Invalid UpdateExpression: Invalid function nam"),
        ({"ConditionExpression": "a ="}, "Invalid ConditionExpression: Syntax error; token: "),
        ({"Key": {"pk": {"S": "a"}, "sk": {"NS": ["1", "1"]}}}, Sentence.NUMBER_SET_DUPLICATES),
        (
            {
                "UpdateExpression": "SET a = :a",
                "ExpressionAttributeValues": {":a": {"SS": ["a", "a"]}},
            },
            DUPLICATES,
        ),
        (
            {"UpdateExpression": "SET a = b", "AttributeUpdates": {"a": {"Action": "DELETE"}}},
            "Can not use both expression and non-expression parameters in the same request: ",
        ),
    ],
)
def test_update_counts_its_errors_too(members: dict[str, object], message: str) -> None:
    assert refusal(parse_update_item, on_key(**members)).startswith(COUNTED + message)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Item": {"pk": {"S": "x" * 409_600}}}, Sentence.ITEM_TOO_LARGE),
        ({"Item": {"pk": {}}}, Sentence.VALUE_EMPTY),
        ({"Item": {"pk": {"S": "a", "N": "1"}}}, Sentence.VALUE_AMBIGUOUS),
        ({"Item": {"pk": {"N": "1E126"}}}, Sentence.NUMBER_OVERFLOW),
        (
            {"ConditionExpression": "a = :a", "ExpressionAttributeValues": {":a": {}}},
            f"ExpressionAttributeValues contains invalid value: {Sentence.VALUE_EMPTY} for key :a",
        ),
    ],
)
def test_what_is_over_a_limit_or_no_value_is_not_counted(
    members: dict[str, object], message: str
) -> None:
    assert refusal(parse_put_item, put(**members)) == message


@pytest.mark.parametrize("name", ["n" * 65_536, "é" * 32_768], ids=["ASCII", "two bytes each"])
def test_name_of_an_attribute_has_fewer_than_65536_bytes(name: str) -> None:
    empty = {"S": ""}
    puts = [put(Item={name: empty}), put(Item={"m": {"M": {name: empty}}})]
    updates = [
        on_key(
            UpdateExpression="SET d = :v", ExpressionAttributeValues={":v": {"M": {name: empty}}}
        ),
        on_key(
            UpdateExpression="SET #n = :v",
            ExpressionAttributeNames={"#n": name},
            ExpressionAttributeValues={":v": empty},
        ),
        on_key(AttributeUpdates={name: {"Value": empty}}),
        on_key(AttributeUpdates={"m": {"Value": {"M": {name: empty}}}}),
    ]
    refusals = {
        *(refusal(parse_put_item, body) for body in puts),
        *(refusal(parse_update_item, body) for body in updates),
    }

    assert refusals == {"Attribute name is too large, must be less than 65536 bytes"}


def test_unknown_and_harmless_parameters_are_ignored() -> None:
    body = put(NoSuchParameter=[1], ReturnItemCollectionMetrics="SIZE", Expected=None)

    assert parse_put_item(body).response(TABLE, 1, b"") == b"{}"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "Missing the key pk in the item"),
        ({"pk": {"S": "a"}, "sk": {"S": "b"}}, "Type mismatch for key sk expected: N actual: S"),
    ],
)
def test_key_schema_is_checked_when_the_table_is_known(
    item: dict[str, object], message: str
) -> None:
    request = parse_put_item(put(Item=item))

    with pytest.raises(ValidationError, match=message):
        request.bind(TABLE)


@pytest.mark.parametrize(
    "members",
    [
        {"ConditionExpression": "attribute_exists(pk[0])"},
        {"UpdateExpression": "SET a = pk.b"},
    ],
)
def test_nothing_is_inside_a_key_attribute(members: dict[str, object]) -> None:
    request = parse_update_item(on_key(**members))

    with pytest.raises(ValidationError, match=r"Key attributes must be scalars.* Key: pk$"):
        request.bind(TABLE)


def test_key_attributes_cannot_be_updated() -> None:
    body = on_key(UpdateExpression="SET sk = :v", ExpressionAttributeValues={":v": {"N": "2"}})
    request = parse_update_item(body)

    with pytest.raises(ValidationError, match="Cannot update attribute sk"):
        request.bind(TABLE)
