"""Legacy parameters mean what their expressions mean (Developer Guide, "Legacy parameters")."""

import pytest

from model.errors import SerializationFailed, ValidationError
from model.expressions import (
    check_unused,
    compile_condition,
    compile_key_condition,
    compile_projection,
    compile_update,
)
from model.keys import KeySchema
from model.requests.legacy import (
    Translation,
    check_attribute_updates,
    check_conditions,
    legacy_condition,
    legacy_filter,
    legacy_key_condition,
    legacy_projection,
    legacy_update,
)

ITEM = {
    "status": {"S": "open door"},
    "n": {"N": "5"},
    "tags": {"SS": ["x", "y"]},
    "list": {"L": [{"N": "1"}, {"S": "two"}]},
    "flag": {"BOOL": True},
}
ONE = {"N": "1"}
FIVE = {"N": "5"}


def holds(expected: dict[str, object], joiner: str | None = None) -> bool:
    check_conditions(expected)
    translation = legacy_condition(expected, joiner)
    assert translation is not None
    names, values = translation.names, translation.values
    condition = compile_condition(translation.text, names, values, "Expected")
    check_unused(names, values, (condition,))
    return condition.holds(ITEM, values)


def compared(name: str, operator: str, *values: object) -> bool:
    condition: dict[str, object] = {"ComparisonOperator": operator}
    if values:
        condition["AttributeValueList"] = list(values)
    return holds({name: condition})


def refusal(expected: dict[str, object], joiner: str | None = None) -> str:
    with pytest.raises(ValidationError) as caught:
        legacy_condition(expected, joiner)
    return str(caught.value).removeprefix("One or more parameter values were invalid: ")


@pytest.mark.parametrize(
    ("name", "operator", "values", "expected"),
    [
        ("n", "EQ", [{"N": "5.0"}], True),
        ("n", "EQ", [{"S": "5"}], False),
        ("tags", "EQ", [{"SS": ["y", "x"]}], True),
        ("gone", "EQ", [ONE], False),
        ("n", "NE", [ONE], True),
        ("n", "NE", [FIVE], False),
        ("gone", "NE", [ONE], True),
        ("n", "LT", [{"N": "6"}], True),
        ("n", "LE", [FIVE], True),
        ("n", "GT", [FIVE], False),
        ("n", "GE", [FIVE], True),
        ("gone", "GE", [FIVE], False),
        ("n", "NOT_NULL", [], True),
        ("gone", "NOT_NULL", [], False),
        ("n", "NULL", [], False),
        ("gone", "NULL", [], True),
        ("status", "CONTAINS", [{"S": "door"}], True),
        ("tags", "CONTAINS", [{"S": "x"}], True),
        ("list", "CONTAINS", [{"S": "two"}], True),
        ("gone", "CONTAINS", [{"S": "x"}], False),
        ("status", "NOT_CONTAINS", [{"S": "door"}], False),
        ("status", "NOT_CONTAINS", [{"S": "window"}], True),
        ("n", "NOT_CONTAINS", [{"S": "x"}], True),
        ("gone", "NOT_CONTAINS", [{"S": "x"}], False),
        ("status", "BEGINS_WITH", [{"S": "open"}], True),
        ("status", "BEGINS_WITH", [{"S": "door"}], False),
        ("n", "IN", [ONE, FIVE], True),
        ("n", "IN", [ONE], False),
        ("n", "BETWEEN", [ONE, {"N": "9"}], True),
        ("n", "BETWEEN", [{"N": "6"}, {"N": "9"}], False),
    ],
)
def test_operator_answers_as_its_expression(
    name: str, operator: str, values: list[object], *, expected: bool
) -> None:
    assert compared(name, operator, *values) is expected


def test_value_and_exists_are_the_oldest_form() -> None:
    assert holds({"n": {"Value": FIVE}})
    assert holds({"n": {"Value": FIVE, "Exists": True}})
    assert not holds({"n": {"Value": ONE}})
    assert holds({"gone": {"Exists": False}})
    assert not holds({"n": {"Exists": False}})
    assert holds({"n": {"Value": FIVE, "ComparisonOperator": "EQ"}})


def test_conditions_are_joined_with_and_unless_or_is_asked_for() -> None:
    both = {"n": {"Value": ONE}, "status": {"ComparisonOperator": "NOT_NULL"}}

    assert not holds(both)
    assert not holds(both, "AND")
    assert holds(both, "OR")
    assert holds(
        {
            "n": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [ONE, FIVE]},
            "gone": {"ComparisonOperator": "NOT_CONTAINS", "AttributeValueList": [{"S": "x"}]},
        },
        "OR",
    )


def test_nothing_expected_is_no_condition() -> None:
    assert legacy_condition(None) is None
    assert legacy_condition({}) is None


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        ({"a": None}, "Value must be provided when Exists is null for Attribute: a"),
        ({"a": {}}, "Value must be provided when Exists is null for Attribute: a"),
        ({"a": {"Exists": True}}, "Value must be provided when Exists is true for Attribute: a"),
        (
            {"a": {"Exists": False, "Value": ONE}},
            "Value cannot be used when Exists is false for Attribute: a",
        ),
        (
            {"a": {"Exists": False, "ComparisonOperator": "NULL"}},
            "Exists and ComparisonOperator cannot be used together for Attribute: a",
        ),
        (
            {"a": {"Value": ONE, "ComparisonOperator": "EQ", "AttributeValueList": [ONE]}},
            "Value and AttributeValueList cannot be used together for Attribute: a",
        ),
        (
            {"a": {"AttributeValueList": [ONE]}},
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: a",
        ),
        (
            {"a": {"ComparisonOperator": "EQ"}},
            "Value or AttributeValueList must be used with ComparisonOperator: EQ for Attribute: a",
        ),
        (
            {"a": {"ComparisonOperator": "EQ", "AttributeValueList": [ONE, ONE]}},
            "Invalid number of argument(s) for the EQ ComparisonOperator",
        ),
        (
            {"a": {"ComparisonOperator": "NULL", "AttributeValueList": [ONE]}},
            "Invalid number of argument(s) for the NULL ComparisonOperator",
        ),
        (
            {"a": {"ComparisonOperator": "IN", "AttributeValueList": []}},
            "Invalid number of argument(s) for the IN ComparisonOperator",
        ),
        (
            {"a": {"ComparisonOperator": "LT", "AttributeValueList": [{"SS": ["x"]}]}},
            "ComparisonOperator LT is not valid for SS AttributeValue type",
        ),
        (
            {"a": {"ComparisonOperator": "BEGINS_WITH", "AttributeValueList": [ONE]}},
            "ComparisonOperator BEGINS_WITH is not valid for N AttributeValue type",
        ),
        (
            {"a": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [ONE, {"S": "x"}]}},
            "AttributeValues inside AttributeValueList must be of same type",
        ),
        (
            {"a": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [FIVE, ONE]}},
            "The BETWEEN condition was provided a range where the lower bound "
            "is greater than the upper bound",
        ),
        (
            {"a": {"ComparisonOperator": "LIKE", "AttributeValueList": [ONE]}},
            "1 validation error detected: Value 'LIKE' at 'expected.a.member.comparisonOperator' "
            "failed to satisfy constraint: Member must satisfy enum value set: [IN, NULL, BETWEEN, "
            "LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]",
        ),
        (
            {"a": {"Value": {"N": "x"}}},
            "The parameter cannot be converted to a numeric value: x",
        ),
        ({"": {"Value": ONE}}, "Attribute name may not be empty"),
    ],
)
def test_meaningless_condition_is_refused_with_its_sentence(
    expected: dict[str, object], sentence: str
) -> None:
    assert refusal(expected) == sentence


def test_conditional_operator_needs_something_to_join() -> None:
    one = {"a": {"Value": ONE}}

    assert refusal({}, "OR") == "ConditionalOperator cannot be used without Filter or Expected"
    assert refusal(one, "OR") == (
        "ConditionalOperator can only be used when Filter or Expected has two or more elements"
    )
    assert "Member must satisfy enum value set: [OR, AND]" in refusal(one, "XOR")


def test_filters_translate_as_conditions_do() -> None:
    translation = legacy_filter({"n": {"ComparisonOperator": "EQ", "AttributeValueList": [FIVE]}})

    assert translation == Translation("#f0 = :f0", {"#f0": "n"}, {":f0": FIVE})
    assert legacy_filter(None) is None


def updated(updates: dict[str, object]) -> dict[str, object]:
    """Apply to ITEM and return what differs; None stands for a removed attribute."""
    check_attribute_updates(updates)
    translation = legacy_update(updates)
    assert translation is not None
    update = compile_update(translation.text, translation.names, translation.values)
    check_unused(translation.names, translation.values, (update,))
    after = update.apply(ITEM, {}, translation.values)
    return {
        name: after.get(name)
        for name in ITEM.keys() | after.keys()
        if ITEM.get(name) != after.get(name)
    }


def test_updates_put_add_and_delete() -> None:
    assert updated({"n": {"Value": ONE}, "new": {"Action": "PUT", "Value": {"S": "v"}}}) == {
        "n": ONE,
        "new": {"S": "v"},
    }
    assert updated({"n": {"Action": "ADD", "Value": ONE}}) == {"n": {"N": "6"}}
    assert updated({"count": {"Action": "ADD", "Value": ONE}}) == {"count": ONE}
    assert updated({"tags": {"Action": "ADD", "Value": {"SS": ["z"]}}}) == {
        "tags": {"SS": ["x", "y", "z"]}
    }
    assert updated({"list": {"Action": "ADD", "Value": {"L": [ONE]}}}) == {
        "list": {"L": [ONE, {"S": "two"}, ONE]}
    }
    assert updated({"more": {"Action": "ADD", "Value": {"L": [ONE]}}}) == {"more": {"L": [ONE]}}
    assert updated({"n": {"Action": "DELETE"}, "gone": {"Action": "DELETE"}}) == {"n": None}
    assert updated({"tags": {"Action": "DELETE", "Value": {"SS": ["x"]}}}) == {
        "tags": {"SS": ["y"]}
    }


def test_no_updates_are_no_expression() -> None:
    assert legacy_update(None) is None
    assert legacy_update({}) is None


@pytest.mark.parametrize(
    ("update", "sentence"),
    [
        (None, "Only DELETE action is allowed when no attribute value is specified"),
        ({"Action": "ADD"}, "Only DELETE action is allowed when no attribute value is specified"),
        (
            {"Action": "ADD", "Value": {"S": "x"}},
            "ADD action is not supported for the type S",
        ),
        (
            {"Action": "DELETE", "Value": {"S": "x"}},
            "DELETE action with value is not supported for the type S",
        ),
        (
            {"Action": "SET", "Value": ONE},
            "1 validation error detected: Value 'SET' at 'attributeUpdates.a.member.action' failed "
            "to satisfy constraint: Member must satisfy enum value set: [ADD, DELETE, PUT]",
        ),
    ],
)
def test_meaningless_update_is_refused_with_its_sentence(update: object, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        legacy_update({"a": update})

    assert str(caught.value).removeprefix("One or more parameter values were invalid: ") == sentence


SCHEMA = KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="N")


def test_key_conditions_select_a_partition_and_a_range() -> None:
    translation = legacy_key_condition(
        {
            "sk": {"ComparisonOperator": "BETWEEN", "AttributeValueList": [ONE, FIVE]},
            "pk": {"ComparisonOperator": "EQ", "AttributeValueList": [{"S": "p"}]},
        }
    )
    condition = compile_key_condition(
        translation.text, translation.names, translation.values, SCHEMA
    )

    assert condition.partition_value == {"S": "p"}
    assert condition.sort is not None
    assert condition.sort.operator == "BETWEEN"
    assert condition.sort.values == (ONE, FIVE)


def test_key_condition_must_be_indexable() -> None:
    with pytest.raises(ValidationError, match="is not an indexable operation"):
        legacy_key_condition({"pk": {"ComparisonOperator": "NE", "AttributeValueList": [ONE]}})
    with pytest.raises(ValidationError, match="Member must not be null"):
        legacy_key_condition({"pk": {"AttributeValueList": [ONE]}})


def test_attributes_to_get_are_names_and_never_paths() -> None:
    translation = legacy_projection(["n", "a.b", "status"])
    projection = compile_projection(translation.text, translation.names)

    assert projection.project({**ITEM, "a.b": ONE}) == {
        "n": FIVE,
        "a.b": ONE,
        "status": {"S": "open door"},
    }
    with pytest.raises(ValidationError, match="Duplicate value in attribute name: n"):
        legacy_projection(["n", "n"])


@pytest.mark.parametrize(
    "expected",
    [
        [],
        {"a": "x"},
        {"a": {"ComparisonOperator": 1}},
        {"a": {"Exists": "true"}},
        {"a": {"Value": "x"}},
        {"a": {"AttributeValueList": {}}},
        {"a": {"AttributeValueList": [{"S": 1}]}},
    ],
)
def test_wrong_json_type_is_a_serialization_error(expected: object) -> None:
    with pytest.raises(SerializationFailed):
        check_conditions(expected)


@pytest.mark.parametrize(
    "updates", [[], {"a": 1}, {"a": {"Action": 1}}, {"a": {"Value": {"S": 1}}}]
)
def test_wrong_json_type_in_updates_is_a_serialization_error(updates: object) -> None:
    with pytest.raises(SerializationFailed):
        check_attribute_updates(updates)
