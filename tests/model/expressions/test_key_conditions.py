"""Key conditions: one partition, and perhaps a range of sort keys."""

from typing import Any

import pytest

from model.errors import ValidationError
from model.expressions import KeyCondition, SortCondition, compile_key_condition
from model.keys import KeySchema

SIMPLE = KeySchema(partition_name="pk", partition_type="S")
COMPOSITE = KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="N")
TEXTUAL = KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="S")
VALUES: dict[str, dict[str, Any]] = {
    ":p": {"S": "p"}, ":n": {"N": "1"}, ":m": {"N": "2"}, ":s": {"S": "s"}, ":yes": {"BOOL": True},
}  # fmt: skip


def bind(text: str, schema: KeySchema, names: dict[str, str] | None = None) -> KeyCondition:
    return compile_key_condition(text, names, VALUES).bind(schema, VALUES)


def test_partition_alone_selects_all_of_it() -> None:
    condition = bind("pk = :p", COMPOSITE)

    assert condition.partition_value == {"S": "p"}
    assert condition.sort is None
    assert compile_key_condition("pk = :p", None, VALUES).value_names == (":p",)


@pytest.mark.parametrize(
    ("text", "operator", "values"),
    [
        ("pk = :p AND sk = :n", "=", (":n",)),
        ("pk = :p AND sk < :n", "<", (":n",)),
        ("sk <= :n AND pk = :p", "<=", (":n",)),
        ("(pk = :p) AND (sk > :n)", ">", (":n",)),
        ("(pk = :p AND sk >= :n)", ">=", (":n",)),
        ("pk = :p AND sk BETWEEN :n AND :m", "BETWEEN", (":n", ":m")),
        (":p = pk AND :n < sk", ">", (":n",)),
        ("#p = :p AND #s = :n", "=", (":n",)),
    ],
)
def test_sort_condition_says_operator_and_values(
    text: str, operator: str, values: tuple[str, ...]
) -> None:
    names = {"#p": "pk", "#s": "sk"}
    condition = bind(text, COMPOSITE, names)

    assert condition.partition_value == {"S": "p"}
    assert condition.sort == SortCondition(operator, tuple(VALUES[name] for name in values))


def test_begins_with_is_a_sort_condition() -> None:
    condition = bind("pk = :p AND begins_with(sk, :s)", TEXTUAL)

    assert condition.sort == SortCondition("begins_with", ({"S": "s"},))


INVALID = "Invalid KeyConditionExpression: "
ONE_CONDITION = INVALID + "Invalid condition in KeyConditionExpression: "


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", INVALID + "The expression can not be empty;"),
        ("pk", INVALID + 'Syntax error; token: "<EOF>", near: "pk"'),
        ("pk = :q", INVALID + "An expression attribute value used in expression is not defined; "
         "attribute value: :q"),
        ("pk = :p OR sk = :n", INVALID + "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT pk = :p", INVALID + "Invalid operator used in KeyConditionExpression: NOT"),
        ("pk <> :p", INVALID + "Invalid operator used in KeyConditionExpression: <>"),
        ("pk IN (:p)", INVALID + "Invalid operator used in KeyConditionExpression: IN"),
        ("size(pk) = :n", INVALID + "KeyConditionExpressions cannot contain nested operations"),
        ("contains(pk, :p)", INVALID + "Invalid operator used in KeyConditionExpression: contains"),
        ("pk = size(sk)", INVALID + "KeyConditionExpressions cannot contain nested operations"),
        ("pk.a = :p", INVALID + "KeyConditionExpressions cannot have conditions on nested "
         "attributes"),
        ("pk = :p AND pk = :p",
         INVALID + "KeyConditionExpressions must only contain one condition per key"),
        ("pk = sk", ONE_CONDITION + "Multiple attribute names used in one condition"),
        (":p = :p", ONE_CONDITION + "No key attribute specified"),
        ("begins_with(:p, pk)", ONE_CONDITION + "begins_with operator must have the key attribute "
         "as its first operand"),
        ("sk = :n", "Query condition missed key schema element: pk"),
        ("pk = :p AND q = :n", "Query condition missed key schema element: sk"),
        ("pk < :p", "Query key condition not supported"),
        ("pk = :p AND sk = :n AND a = :n", "Conditions can be of length 1 or 2 only"),
        ("pk = :n", "One or more parameter values were invalid: "
         "Condition parameter type does not match schema type"),
        ("pk = :p AND sk BETWEEN :n AND :s", INVALID + "The BETWEEN operator requires same data "
         "type for lower and upper bounds; lower bound operand: AttributeValue: {N:1}, "
         "upper bound operand: AttributeValue: {S:s}"),
        ("pk = :p AND sk = :s", "One or more parameter values were invalid: "
         "Condition parameter type does not match schema type"),
        ("pk = :p AND sk = :yes", "One or more parameter values were invalid: "
         "Condition parameter type does not match schema type"),
    ],
)  # fmt: skip
def test_meaningless_key_condition_is_refused_with_its_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        bind(text, COMPOSITE)

    assert str(caught.value) == sentence


def test_sort_condition_needs_a_sort_key() -> None:
    with pytest.raises(ValidationError, match="Query key condition not supported"):
        bind("pk = :p AND a = :n", SIMPLE)
