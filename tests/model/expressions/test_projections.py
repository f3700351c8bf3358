"""Projections: which part of an item a set of paths names (Developer Guide, "Projections")."""

from typing import Any

import pytest

from model.errors import ValidationError
from model.expressions import compile_projection

ITEM = {
    "a": {"N": "1"},
    "b": {"S": "x"},
    "l": {"L": [{"N": "0"}, {"M": {"k": {"N": "1"}, "j": {"N": "2"}}}, {"N": "3"}]},
    "m": {"M": {"x": {"N": "1"}, "y": {"M": {"z": {"N": "2"}}}, "e": {"L": []}}},
}


@pytest.mark.parametrize("length", [256, 300, 4_096])
def test_plain_name_may_be_as_long_as_an_expression(length: int) -> None:
    name = "n" * length
    assert compile_projection(name).project({name: {"N": "1"}}) == {name: {"N": "1"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", {"a": {"N": "1"}}),
        ("b, a, gone", {"b": {"S": "x"}, "a": {"N": "1"}}),
        ("m.x", {"m": {"M": {"x": {"N": "1"}}}}),
        ("m.y.z, m.x", {"m": {"M": {"y": {"M": {"z": {"N": "2"}}}, "x": {"N": "1"}}}}),
        ("m.e", {"m": {"M": {"e": {"L": []}}}}),
        ("l[2], l[0]", {"l": {"L": [{"N": "0"}, {"N": "3"}]}}),
        ("l[1].k", {"l": {"L": [{"M": {"k": {"N": "1"}}}]}}),
        ("l[9], a", {"a": {"N": "1"}}),
        ("m.gone, m.e[0], a.x, a[0], l.x, m[0].q", {}),
        ("gone", {}),
    ],
)
def test_projection_keeps_the_nesting_and_closes_gaps_in_lists(
    text: str, expected: dict[str, Any]
) -> None:
    # Paths into one attribute as both map and list would conflict: they are projected singly.
    parts = text.split(", ") if expected == {} else [text]
    for part in parts:
        assert compile_projection(part).project(ITEM) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The expression can not be empty;"),
        ("a,", 'Syntax error; token: "<EOF>", near: ","'),
        ("a b", 'Syntax error; token: "b", near: "a b"'),
        (":v", 'Syntax error; token: ":v", near: ":v"'),
        ("size(a)", 'Syntax error; token: "(", near: "size(a"'),
        ("a, name", "Attribute name is a reserved keyword; reserved keyword: name"),
        (
            "a, a",
            "Two document paths overlap with each other; must remove or rewrite one of these "
            "paths; path one: [a], path two: [a]",
        ),
        (
            "a.b, a[0]",
            "Two document paths conflict with each other; must remove or rewrite one of these "
            "paths; path one: [a, b], path two: [a, [0]]",
        ),
        (
            "#q",
            "An expression attribute name used in the document path is not defined; "
            "attribute name: #q",
        ),
    ],
)
def test_meaningless_projection_is_refused_with_its_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        compile_projection(text)

    assert str(caught.value) == f"Invalid ProjectionExpression: {sentence}"


def test_projection_reports_the_names_it_used() -> None:
    projection = compile_projection("#a.#b, c", {"#a": "m", "#b": "x"})

    assert projection.used_names == ("#a", "#b")
    assert projection.value_names == ()
    assert projection.project(ITEM) == {"m": {"M": {"x": {"N": "1"}}}}
