"""What is checked of names and values before any expression is read."""

import pytest

from model.errors import ValidationError
from model.expressions import check_placeholders

ONE = {"N": "1"}


@pytest.mark.parametrize(
    ("names", "values", "expressions", "sentence"),
    [
        (
            {"#a": "a"}, None, {"ConditionExpression": None},
            "ExpressionAttributeNames can only be specified when using expressions",
        ),
        (
            None, {":v": ONE}, {"ConditionExpression": None},
            "ExpressionAttributeValues can only be specified when using expressions: "
            "ConditionExpression is null",
        ),
        (
            None, {":v": ONE}, {"UpdateExpression": None, "ConditionExpression": None},
            "ExpressionAttributeValues can only be specified when using expressions: "
            "UpdateExpression and ConditionExpression are null",
        ),
        (
            None, {":v": ONE}, {"FilterExpression": None, "ProjectionExpression": "a"},
            "ExpressionAttributeValues can only be specified when using expressions: "
            "FilterExpression is null",
        ),
        ({}, None, {"X": "a"}, "ExpressionAttributeNames must not be empty"),
        (None, {}, {"X": "a"}, "ExpressionAttributeValues must not be empty"),
        (
            {"a": "a"}, None, {"X": "a"},
            'ExpressionAttributeNames contains invalid key: Syntax error; key: "a"',
        ),
        (
            {"#a-b": "a"}, None, {"X": "a"},
            'ExpressionAttributeNames contains invalid key: Syntax error; key: "#a-b"',
        ),
        (
            None, {":": ONE}, {"X": "a"},
            'ExpressionAttributeValues contains invalid key: Syntax error; key: ":"',
        ),
        (
            None, {":" + "v" * 255: ONE}, {"X": "a"},
            "ExpressionAttributeValues contains invalid key: "
            "The expression attribute map contains a key that is too long; key size: 256",
        ),
        (
            {"#a": ""}, None, {"X": "a"},
            "ExpressionAttributeNames contains invalid value: Empty attribute name for key #a",
        ),
        (
            {"#a": "é" * 32768}, None, {"X": "a"},
            "ExpressionAttributeNames contains invalid value: "
            "Attribute name is too long for key #a",
        ),
    ],
)  # fmt: skip
def test_misplaced_or_misspelt_placeholder_is_refused_with_its_sentence(
    names: dict[str, str] | None,
    values: dict[str, object] | None,
    expressions: dict[str, str | None],
    sentence: str,
) -> None:
    with pytest.raises(ValidationError) as caught:
        check_placeholders(names, values, expressions)

    assert str(caught.value) == sentence


def test_well_formed_placeholders_pass() -> None:
    check_placeholders({"#a_1": "a"}, {":V9": ONE}, {"A": None, "B": "x"})
    check_placeholders(None, None, {"A": None})
