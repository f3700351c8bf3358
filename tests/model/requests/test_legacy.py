"""Legacy parameters mean what the expressions they are translated to mean."""

import json

import pytest

from model.errors import ConditionFailed, ModelError, SerializationFailed, ValidationError
from model.image import decode_image, encode_image
from model.keys import KeySchema
from model.program import decode_program, evaluate
from model.requests.batches import parse_batch_get_item
from model.requests.reads import parse_get_item, parse_query, parse_scan
from model.requests.writes import parse_delete_item, parse_put_item, parse_update_item
from model.tables import Table
from model.values import measure_item

TABLE = Table(
    id=2,
    name="orders",
    schema=KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="S"),
    definition={},
)
KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}
OLD: dict[str, object] = {
    **KEY,
    "n": {"N": "5"},
    "s": {"S": "hello"},
    "tags": {"SS": ["x", "y"]},
    "dotted.name": {"S": "d"},
}
OLD_IMAGE = encode_image(OLD, measure_item(OLD))


def holds(expected: dict[str, object], **members: object) -> bool:
    """Whether a delete with this Expected would go through on the old item."""
    body = {"TableName": "orders", "Key": dict(KEY), "Expected": expected, **members}
    program = decode_program(parse_delete_item(body).bind(TABLE).program)
    try:
        evaluate(program, OLD_IMAGE, b"")
    except ConditionFailed:
        return False
    return True


def compare(operator: str, *operands: object) -> dict[str, object]:
    if not operands:
        return {"ComparisonOperator": operator}
    return {"ComparisonOperator": operator, "AttributeValueList": list(operands)}


@pytest.mark.parametrize(
    ("expected", "outcome"),
    [
        ({"n": {"Value": {"N": "5.0"}}}, True),
        ({"n": {"Value": {"N": "6"}, "Exists": True}}, False),
        ({"n": {"Exists": False}}, False),
        ({"missing": {"Exists": False}}, True),
        ({"n": compare("EQ", {"N": "5"})}, True),
        ({"n": {"ComparisonOperator": "EQ", "Value": {"N": "5"}}}, True),
        ({"n": compare("NE", {"N": "5"})}, False),
        ({"missing": compare("NE", {"N": "5"})}, True),
        ({"n": compare("LT", {"N": "10"})}, True),
        ({"n": compare("LE", {"N": "5"})}, True),
        ({"n": compare("GT", {"N": "5"})}, False),
        ({"n": compare("GE", {"N": "5"})}, True),
        ({"n": compare("BETWEEN", {"N": "4"}, {"N": "6"})}, True),
        ({"n": compare("IN", {"N": "4"}, {"N": "5"})}, True),
        ({"n": compare("NULL")}, False),
        ({"n": compare("NOT_NULL")}, True),
        ({"s": compare("BEGINS_WITH", {"S": "he"})}, True),
        ({"s": compare("CONTAINS", {"S": "ell"})}, True),
        ({"tags": compare("CONTAINS", {"S": "x"})}, True),
        ({"tags": compare("NOT_CONTAINS", {"S": "x"})}, False),
        ({"tags": compare("NOT_CONTAINS", {"S": "z"})}, True),
        ({"missing": compare("NOT_CONTAINS", {"S": "z"})}, False),
        ({"dotted.name": compare("EQ", {"S": "d"})}, True),
        ({"n": compare("EQ", {"N": "5"}), "s": compare("EQ", {"S": "no"})}, False),
    ],
)
def test_expected_decides_as_documented(expected: dict[str, object], outcome: bool) -> None:  # noqa: FBT001
    """Developer Guide, "Legacy conditional parameters": Expected."""
    assert holds(expected) is outcome


def test_conditional_operator_joins_with_or() -> None:
    expected: dict[str, object] = {
        "n": compare("EQ", {"N": "9"}),
        "tags": compare("NOT_CONTAINS", {"S": "z"}),
        "s": compare("EQ", {"S": "no"}),
    }

    assert holds(expected, ConditionalOperator="OR")
    assert not holds(expected, ConditionalOperator="AND")


def test_attribute_updates_change_the_item() -> None:
    """Developer Guide, "Legacy conditional parameters": AttributeUpdates."""
    body = {
        "TableName": "orders",
        "Key": dict(KEY),
        "AttributeUpdates": {
            "new": {"Value": {"S": "v"}},
            "s": {"Action": "PUT", "Value": {"S": "bye"}},
            "n": {"Action": "ADD", "Value": {"N": "01"}},
            "tags": {"Action": "DELETE", "Value": {"SS": ["x"]}},
            "dotted.name": {"Action": "DELETE"},
        },
        "ReturnValues": "ALL_NEW",
    }
    program = decode_program(parse_update_item(body).bind(TABLE).program)

    assert decode_image(evaluate(program, OLD_IMAGE, b"").image) == {
        **KEY,
        "new": {"S": "v"},
        "s": {"S": "bye"},
        "n": {"N": "6"},
        "tags": {"SS": ["y"]},
    }


def test_key_attributes_cannot_be_updated_this_way_either() -> None:
    body = {
        "TableName": "orders",
        "Key": dict(KEY),
        "AttributeUpdates": {"sk": {"Value": {"S": "c"}}},
    }
    request = parse_update_item(body)

    with pytest.raises(ValidationError, match="Cannot update attribute sk"):
        request.bind(TABLE)


def test_key_conditions_and_query_filter_read_what_they_say() -> None:
    body: dict[str, object] = {
        "TableName": "orders",
        "KeyConditions": {
            "sk": compare("BEGINS_WITH", {"S": "b"}),
            "pk": compare("EQ", {"S": "a"}),
        },
        "QueryFilter": {"n": compare("GT", {"N": "4"}), "s": compare("NOT_NULL")},
        "AttributesToGet": ["dotted.name", "n"],
    }
    same: dict[str, object] = {
        "TableName": "orders",
        "KeyConditionExpression": "pk = :p AND begins_with(sk, :s)",
        "ExpressionAttributeValues": {":p": {"S": "a"}, ":s": {"S": "b"}},
    }
    plan = parse_query(body).bind(TABLE)
    expected = parse_query(same).bind(TABLE)
    page = plan.start()
    page.add([plan.low], [OLD_IMAGE], more=False)

    assert (plan.low, plan.high) == (expected.low, expected.high)
    assert json.loads(page.response())["Items"] == [{"dotted.name": {"S": "d"}, "n": {"N": "5"}}]


def test_scan_filter_and_attributes_to_get_work_on_every_read() -> None:
    scan = parse_scan({"TableName": "orders", "ScanFilter": {"n": compare("EQ", {"N": "6"})}})
    page = scan.bind(TABLE).start()
    page.add([page.low], [OLD_IMAGE], more=False)
    get = parse_get_item({"TableName": "orders", "Key": dict(KEY), "AttributesToGet": ["n"]})
    options: dict[str, object] = {"Keys": [dict(KEY)], "AttributesToGet": ["n"]}
    batch = parse_batch_get_item({"RequestItems": {"orders": options}})
    gets = batch.bind({"orders": TABLE})

    assert json.loads(page.response()) == {"Count": 0, "ScannedCount": 1, "Items": []}
    assert json.loads(get.response(TABLE, OLD_IMAGE)) == {"Item": {"n": {"N": "5"}}}
    assert json.loads(batch.response(gets, [OLD_IMAGE]))["Responses"] == {
        "orders": [{"n": {"N": "5"}}]
    }
    assert json.loads(batch.response(gets, [None]))["UnprocessedKeys"] == {"orders": options}


def test_empty_legacy_parameters_ask_for_nothing() -> None:
    body = {"TableName": "orders", "Item": dict(KEY), "Expected": {}}

    assert parse_put_item(body).bind(TABLE).program == b""


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"Expected": {"n": {"Exists": False}}, "ConditionExpression": "attribute_exists(n)"},
            "Can not use both expression and non-expression parameters in the same request: "
            "Non-expression parameters: {Expected} Expression parameters: {ConditionExpression}",
        ),
        (
            {"Expected": {"n": {"Exists": False}}, "ExpressionAttributeNames": {"#n": "n"}},
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        ({"ConditionalOperator": "OR"}, "without Filter or Expected"),
        (
            {"Expected": {"n": {"Exists": False}}, "ConditionalOperator": "OR"},
            "two or more elements",
        ),
        ({"Expected": {"n": {}}}, "Value must be provided when Exists is null for Attribute: n"),
        ({"Expected": {"n": {"Exists": True}}}, "when Exists is true for Attribute: n"),
        (
            {"Expected": {"n": {"Exists": False, "Value": {"N": "1"}}}},
            "Value cannot be used when Exists is false for Attribute: n",
        ),
        ({"Expected": {"n": {"AttributeValueList": []}}}, "only be used with a ComparisonOp"),
        ({"Expected": {"n": {**compare("NULL"), "Exists": True}}}, "cannot be used together"),
        (
            {"Expected": {"n": {**compare("EQ", {"N": "1"}), "Value": {"N": "1"}}}},
            "cannot be used together",
        ),
        (
            {"Expected": {"n": compare("LIKE", {"S": "a"})}},
            "1 validation error detected: Value 'LIKE' at 'expected.n.member.comparisonOperator' "
            "failed to satisfy constraint: Member must satisfy enum value set: [IN, NULL, ",
        ),
        (
            {"Expected": {"n": compare("EQ")}},
            "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: n",
        ),
        (
            {"Expected": {"n": {"ComparisonOperator": "IN", "AttributeValueList": []}}},
            "Invalid number of argument(s) for the IN",
        ),
        (
            {"Expected": {"n": compare("EQ", {"S": "a"}, {"S": "b"})}},
            "Invalid number of argument(s) for the EQ",
        ),
        (
            {"Expected": {"n": compare("IN", {"S": "a"}, {"N": "1"})}},
            "AttributeValues inside AttributeValueList must be of same type",
        ),
        (
            {"Expected": {"n": compare("BETWEEN", {"N": "10"}, {"N": "9"})}},
            "The BETWEEN condition was provided a range where the lower bound is greater",
        ),
        ({"Expected": {"n": compare("NULL", {"S": "a"})}}, "argument(s) for the NULL"),
        ({"Expected": {"n": compare("LT", {"L": []})}}, "LT is not valid for L AttributeValue"),
        ({"Expected": {"": compare("NULL")}}, "Attribute name may not be empty"),
        (
            {"Expected": {"n": {"Value": {"N": "x"}}}},
            "The parameter cannot be converted to a numeric value: x",
        ),
    ],
)
def test_bad_conditions_are_refused(members: dict[str, object], message: str) -> None:
    body = {"TableName": "orders", "Key": dict(KEY), **members}

    with pytest.raises(ModelError) as caught:
        parse_delete_item(body)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("updates", "message"),
    [
        ({"n": {"Action": "PUT"}}, "Only DELETE action is allowed"),
        (
            {"n": {"Action": "MERGE", "Value": {"N": "1"}}},
            "at 'attributeUpdates.n.member.action' failed to satisfy constraint: "
            r"Member must satisfy enum value set: \[ADD, DELETE, PUT\]",
        ),
        (
            {"n": {"Action": "DELETE", "Value": {"S": "a"}}},
            "DELETE action with value is not supported for the type S",
        ),
        (
            {"n": {"Action": "ADD", "Value": {"M": {}}}},
            "ADD action is not supported for the type M",
        ),
    ],
)
def test_bad_updates_are_refused(updates: dict[str, object], message: str) -> None:
    body = {"TableName": "orders", "Key": dict(KEY), "AttributeUpdates": updates}

    with pytest.raises(ValidationError, match=message):
        parse_update_item(body)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"KeyConditions": None}, "Either the KeyConditions or KeyConditionExpression"),
        ({"KeyConditions": {}}, "Conditions can be of length 1 or 2 only"),
        (
            {"KeyConditions": {name: compare("EQ", {"S": "a"}) for name in ("pk", "sk", "n")}},
            "Conditions can be of length 1 or 2 only",
        ),
        (
            {"KeyConditions": {"pk": {"AttributeValueList": []}}},
            "Value null at 'keyConditions.pk.member.comparisonOperator' failed to satisfy",
        ),
        (
            {"KeyConditions": {"sk": compare("BETWEEN", {"S": "b"}, {"S": "a"})}},
            "The BETWEEN condition was provided a range where the lower bound is greater",
        ),
        ({"AttributesToGet": []}, "Member must have length greater than or equal to 1"),
    ],
)
def test_bad_queries_are_refused(members: dict[str, object], message: str) -> None:
    body: dict[str, object] = {
        "TableName": "orders",
        "KeyConditions": {"pk": compare("EQ", {"S": "a"})},
        **members,
    }

    with pytest.raises(ValidationError, match=message):
        parse_query(body)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"pk": compare("NE", {"S": "a"})}, "not an indexable operation"),
        ({"pk": compare("LT", {"S": "a"})}, "Query key condition not supported"),
        ({"sk": compare("EQ", {"S": "a"})}, "missed key schema element: pk"),
        (
            {"pk": compare("EQ", {"S": "a"}), "sk": compare("CONTAINS", {"S": "a"})},
            "not an indexable operation",
        ),
        ({"pk": compare("EQ", {"N": "1"})}, "type does not match schema type"),
    ],
)
def test_key_conditions_are_fitted_when_the_table_is_known(
    conditions: dict[str, object], message: str
) -> None:
    request = parse_query({"TableName": "orders", "KeyConditions": conditions})

    with pytest.raises(ValidationError, match=message):
        request.bind(TABLE)


def test_key_conditions_go_with_the_expressions_of_a_query() -> None:
    """A filter's placeholders are its own, whatever they are called."""
    body: dict[str, object] = {
        "TableName": "orders",
        "KeyConditions": {"pk": compare("EQ", {"S": "a"})},
        "FilterExpression": "n > :0",
        "ExpressionAttributeValues": {":0": {"N": "4"}},
        "ProjectionExpression": "n",
    }
    plan = parse_query(body).bind(TABLE)
    page = plan.start()
    page.add([plan.low], [OLD_IMAGE], more=False)

    assert json.loads(page.response())["Items"] == [{"n": {"N": "5"}}]


def test_filter_on_a_key_is_refused_under_its_own_name() -> None:
    body: dict[str, object] = {
        "TableName": "orders",
        "KeyConditions": {"pk": compare("EQ", {"S": "a"})},
        "QueryFilter": {"sk": compare("NOT_NULL")},
    }

    with pytest.raises(ValidationError, match=r"^QueryFilter can only contain non-primary key"):
        parse_query(body).bind(TABLE)


def test_list_can_be_added_to_a_list() -> None:
    """Which only AttributeUpdates can: ADD of an expression takes numbers and sets."""
    added: dict[str, object] = {"Action": "ADD", "Value": {"L": [{"S": "z"}]}}
    body = {"TableName": "orders", "Key": dict(KEY), "AttributeUpdates": {"list": added}}
    first = evaluate(decode_program(parse_update_item(body).bind(TABLE).program), OLD_IMAGE, b"")
    second = evaluate(decode_program(parse_update_item(body).bind(TABLE).program), first.image, b"")

    assert decode_image(second.image)["list"] == {"L": [{"S": "z"}, {"S": "z"}]}


@pytest.mark.parametrize("value", [{"N": "1"}, {"SS": ["a"]}, {"L": []}])
def test_type_that_does_not_fit_has_a_sentence_of_its_own(value: dict[str, object]) -> None:
    added: dict[str, object] = {"Action": "ADD", "Value": value}
    request = parse_update_item(
        {"TableName": "orders", "Key": dict(KEY), "AttributeUpdates": {"s": added}}
    )

    with pytest.raises(ValidationError) as caught:
        evaluate(decode_program(request.bind(TABLE).program), OLD_IMAGE, b"")
    assert str(request.explain(caught.value)) == "Type mismatch for attribute to update"


@pytest.mark.parametrize(
    "expected",
    [{"n": 1}, {"n": {"Exists": "no"}}, {"n": {"Value": {"S": 1}}}, {"n": compare("EQ", 1)}, []],
)
def test_wrong_json_types_are_serialization_errors(expected: object) -> None:
    with pytest.raises(SerializationFailed):
        parse_put_item({"TableName": "orders", "Item": dict(KEY), "Expected": expected})
