"""What is checked of names and values before any expression is read."""

from typing import Any

import pytest

from model.errors import ValidationError
from model.expressions import check_placeholders

ONE = {"N": "1"}


@pytest.mark.parametrize(
    ("names", "values", "sentence"),
    [
        ({}, None, "ExpressionAttributeNames must not be empty"),
        (None, {}, "ExpressionAttributeValues must not be empty"),
        (
            {"a": "a"}, None,
            'ExpressionAttributeNames contains invalid key: Syntax error; key: "a"',
        ),
        (
            {"#a-b": "a"}, None,
            'ExpressionAttributeNames contains invalid key: Syntax error; key: "#a-b"',
        ),
        (
            None, {":": ONE},
            'ExpressionAttributeValues contains invalid key: Syntax error; key: ":"',
        ),
        (
            None, {":" + "v" * 255: ONE},
            "ExpressionAttributeValues contains invalid key: "
            "The expression attribute map contains a key that is too long; key size: 256",
        ),
        (
            {"#a": ""}, None,
            "ExpressionAttributeNames contains invalid value: Empty attribute name for key #a",
        ),
        (
            {"#a": "é" * 32768}, None,
            "Attribute name is too large, must be less than 65536 bytes",
        ),
    ],
)  # fmt: skip
def test_misspelt_placeholder_is_refused_with_its_sentence(
    names: dict[str, str] | None,
    values: dict[str, Any] | None,
    sentence: str,
) -> None:
    with pytest.raises(ValidationError) as caught:
        check_placeholders(names, values)

    assert str(caught.value) == sentence


def test_well_formed_placeholders_pass() -> None:
    check_placeholders({"#a_1": "a"}, {":V9": ONE})
    check_placeholders(None, None)
