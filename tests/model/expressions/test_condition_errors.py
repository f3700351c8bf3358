"""The sentence for everything that can be wrong with a condition."""

from typing import Any

import pytest

from model.errors import ValidationError
from model.expressions import check_unused, compile_condition

VALUES: dict[str, dict[str, Any]] = {
    ":n": {"N": "1"},
    ":five": {"N": "5"},
    ":s": {"S": "a"},
    ":m": {"M": {}},
    ":ss": {"SS": ["a"]},
    ":yes": {"BOOL": True},
}
FIRST_DISTINCT = (
    "The first operand must be distinct from the remaining operands for this operator or function; "
)


def refusal(text: str, names: dict[str, str] | None = None, label: str = "") -> str:
    with pytest.raises(ValidationError) as caught:
        compile_condition(text, names, VALUES, label or "ConditionExpression")
    assert caught.value.code == "ValidationException"
    return str(caught.value).removeprefix("Invalid ConditionExpression: ")


@pytest.mark.parametrize(
    ("text", "token", "near"),
    [
        ("_type = :n", "_", "_type"),
        ("__typename <> :n", "_", "__"),
        ("GI-1-PK = :n", "-", "GI-1"),
        ("tenant:abc-", ":abc", "tenant:abc-"),
        ("contains(x, :s", "<EOF>", ":s"),
        ("#x attribute_not_exists :n", "attribute_not_exists", "#x attribute_not_exists :n"),
        ("a = 5", "5", "= 5"),
        ("a =  'x'", "'", "=  'x"),
        ("a", "<EOF>", "a"),
        (":n", "<EOF>", ":n"),
        ("a = :n AND", "<EOF>", "AND"),
        ("AND a = :n", "AND", "AND a"),
        ("a = :n)", ")", ":n)"),
        ("(a = :n", "<EOF>", ":n"),
        ("a = :n b", "b", ":n b"),
        ("a == :n", "=", "== :n"),
        ("a = b = :n", "=", "b = :n"),
        ("a = (b = :n)", "=", "b = :n"),
        ("(a = :n) = :n", "=", ") = :n"),
        ("a BETWEEN :n", "<EOF>", ":n"),
        ("a BETWEEN :n OR :five", "OR", ":n OR :five"),
        ("a IN :n", ":n", "IN :n"),
        ("a IN ()", ")", "()"),
        ("a IN (:n", "<EOF>", ":n"),
        ("a..b = :n", ".", "..b"),
        ("a[b] = :n", "b", "[b]"),
        ("a[:n] = :n", ":n", "[:n]"),
        ("a[0 = :n", "=", "0 = :n"),
        ("a.:n = :n", ":n", ".:n ="),
        ("size(a, ) = :n", ")", ", ) ="),
        ("size() = :n", ")", "() ="),
        ("NOT", "<EOF>", "NOT"),
        ("a = NOT b", "NOT", "= NOT b"),
        ("a AND b = :n", "AND", "a AND b"),
        ("set = :n", "set", "set ="),
        ("a.in = :n", "in", ".in ="),
        ("é = :n", "é", "é ="),
        ("a = :n \x00", "\x00", ":n \x00"),
        ("# = :n", "#", "# ="),
        (": = :n", ":", ": ="),
    ],
)
def test_syntax_error_quotes_the_token_and_its_neighbours(text: str, token: str, near: str) -> None:
    """The first six are quoted in public issue reports from AWS."""
    assert refusal(text, {"#x": "x"}) == f'Syntax error; token: "{token}", near: "{near}"'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The expression can not be empty;"),
        (" \n", "The expression can not be empty;"),
        ("((a = :n))", "The expression has redundant parentheses;"),
        ("(a = :n) AND ((b = :n))", "The expression has redundant parentheses;"),
        ("((a)) = :n", "The expression has redundant parentheses;"),
        ("status = :n", "Attribute name is a reserved keyword; reserved keyword: status"),
        ("a.Data = :n", "Attribute name is a reserved keyword; reserved keyword: Data"),
        (
            "#q = :n",
            "An expression attribute name used in the document path is not defined; "
            "attribute name: #q",
        ),
        (
            "a = :q",
            "An expression attribute value used in expression is not defined; attribute value: :q",
        ),
        ("foo(a)", "Invalid function name; function: foo"),
        ("Contains(a, :s)", "Invalid function name; function: Contains"),
        (
            "if_not_exists(a, :n)",
            "The function is not allowed in a condition expression; function: if_not_exists",
        ),
        (
            "size(a)",
            "The function is not allowed to be used this way in an expression; function: size",
        ),
        (
            "a = :n AND size(a)",
            "The function is not allowed to be used this way in an expression; function: size",
        ),
        (
            "attribute_exists(a) = :n",
            "The function is not allowed to be used this way in an expression; "
            "function: attribute_exists",
        ),
        (
            "contains(a, begins_with(b, :s))",
            "The function is not allowed to be used this way in an expression; "
            "function: begins_with",
        ),
        (
            "attribute_exists(a, b)",
            "Incorrect number of operands for operator or function; "
            "operator or function: attribute_exists, number of operands: 2",
        ),
        (
            "begins_with(a)",
            "Incorrect number of operands for operator or function; "
            "operator or function: begins_with, number of operands: 1",
        ),
        (
            "attribute_not_exists(:n)",
            "Operator or function requires a document path; "
            "operator or function: attribute_not_exists",
        ),
        ("a = a", FIRST_DISTINCT + "operator: =, first operand: [a]"),
        ("a.b[1] <> a.b[1]", FIRST_DISTINCT + "operator: <>, first operand: [a, b, [1]]"),
        ("a IN (b, a)", FIRST_DISTINCT + "operator: IN, first operand: [a]"),
        ("a BETWEEN :n AND a", FIRST_DISTINCT + "operator: BETWEEN, first operand: [a]"),
        ("contains(a, a)", FIRST_DISTINCT + "operator: contains, first operand: [a]"),
        (
            "a < :m",
            "Incorrect operand type for operator or function; "
            "operator or function: <, operand type: M",
        ),
        (
            "a BETWEEN :yes AND :n",
            "Incorrect operand type for operator or function; "
            "operator or function: BETWEEN, operand type: BOOL",
        ),
        (
            "begins_with(a, :n)",
            "Incorrect operand type for operator or function; "
            "operator or function: begins_with, operand type: N",
        ),
        (
            "contains(:n, a)",
            "Incorrect operand type for operator or function; "
            "operator or function: contains, operand type: N",
        ),
        (
            "size(:yes) = a",
            "Incorrect operand type for operator or function; "
            "operator or function: size, operand type: BOOL",
        ),
        (
            "size(size(a)) = :n",
            "Incorrect operand type for operator or function; "
            "operator or function: size, operand type: N",
        ),
        (
            "contains(size(a), :s)",
            "Incorrect operand type for operator or function; "
            "operator or function: contains, operand type: N",
        ),
        (
            "attribute_type(a, b)",
            "Incorrect operand type for operator or function; "
            "operator or function: attribute_type, operand type: {path}",
        ),
        (
            "attribute_type(a, :n)",
            "Incorrect operand type for operator or function; "
            "operator or function: attribute_type, operand type: N",
        ),
        (
            "attribute_type(a, :s)",
            "Invalid attribute type name found; type: a, "
            "valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
        (
            "a BETWEEN :n AND :s",
            "The BETWEEN operator requires same data type for lower and upper bounds; "
            "lower bound operand: AttributeValue: {N:1}, "
            "upper bound operand: AttributeValue: {S:a}",
        ),
        (
            "a BETWEEN :five AND :n",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
            "lower bound operand: AttributeValue: {N:5}, "
            "upper bound operand: AttributeValue: {N:1}",
        ),
        ("a[4294967295] = :n", "List index is not within the allowable range; index: [4294967295]"),
        (
            "a" + "[0]" * 32 + " = :n",
            "The document path has too many nesting elements; nesting levels: 33",
        ),
        (
            "a IN (" + ", ".join([":n"] * 101) + ")",
            "The IN operator is provided with too many operands; number of operands: 101",
        ),
        (
            "#" + "a" * 255 + " = :n",
            "Expression token has exceeded the maximum allowed size; token size: 256",
        ),
        (
            "a = :" + "n" * 255,
            "Expression token has exceeded the maximum allowed size; token size: 256",
        ),
        (
            "attribute_exists(:s)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        ("((a)).b = :n", "The expression has redundant parentheses;"),
    ],
)
def test_meaningless_condition_is_refused_with_its_sentence(text: str, sentence: str) -> None:
    assert refusal(text) == sentence


def test_syntax_error_is_reported_before_anything_else() -> None:
    assert refusal("status = :nope AND ((a = :n)) foo(").startswith("Syntax error")


def test_label_names_the_parameter() -> None:
    assert refusal("", label="FilterExpression") == (
        "Invalid FilterExpression: The expression can not be empty;"
    )


def test_a_hundred_operands_of_in_are_fine() -> None:
    compile_condition("a IN (" + ", ".join([":n"] * 100) + ")", None, VALUES)


@pytest.mark.parametrize(
    ("names", "values", "sentence"),
    [
        (
            {"#a": "a", "#x": "x", "#y": "y"},
            {":n": {"N": "1"}},
            "Value provided in ExpressionAttributeNames unused in expressions: keys: {#x, #y}",
        ),
        (
            {"#a": "a"},
            {":n": {"N": "1"}, ":z": {"N": "1"}},
            "Value provided in ExpressionAttributeValues unused in expressions: keys: {:z}",
        ),
    ],
)
def test_unused_name_or_value_is_refused(
    names: dict[str, str], values: dict[str, Any], sentence: str
) -> None:
    condition = compile_condition("#a = :n", names, values)

    with pytest.raises(ValidationError) as caught:
        check_unused(names, values, (condition, None))

    assert str(caught.value) == sentence


def test_name_used_in_any_of_the_expressions_is_used() -> None:
    names, values = {"#a": "a", "#b": "b"}, {":n": {"N": "1"}}
    one = compile_condition("#a = :n", names, values)
    two = compile_condition("attribute_exists(#b)", names, values)

    check_unused(names, values, (one, two))
    check_unused(None, None, (one, two))
