"""What every form of condition answers, form by form (Developer Guide, "Condition expressions")."""

from typing import Any

import pytest

from model.expressions import compile_condition

ITEM = {
    "pk": {"S": "user#1"},
    "n": {"N": "10"},
    "negative": {"N": "-2.5"},
    "s": {"S": "héllo𝄞"},
    "b": {"B": "AP8B"},  # 00 ff 01
    "yes": {"BOOL": True},
    "nothing": {"NULL": True},
    "ss": {"SS": ["x", "y"]},
    "ns": {"NS": ["1", "2.5"]},
    "bs": {"BS": ["AA==", "/w=="]},
    "l": {"L": [{"N": "1"}, {"S": "two"}, {"L": [{"N": "3"}]}]},
    "m": {"M": {"nested": {"M": {"leaf": {"N": "7"}}}, "set": {"SS": ["q", "p"]}}},
}


def holds(text: str, item: dict[str, Any] | None = None, **values: Any) -> bool:
    """Evaluate on ITEM; `v={"N": "1"}` defines `:v`."""
    given = {f":{name}": value for name, value in values.items()}
    condition = compile_condition(text, None, given)
    return condition.holds(ITEM if item is None else item, given)


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("=", False), ("<>", True), ("<", True), ("<=", True), (">", False), (">=", False)],
)
def test_comparator_orders_numbers_by_value_and_not_by_text(
    operator: str, *, expected: bool
) -> None:
    assert holds(f"negative {operator} :v", v={"N": "10"}) is expected
    assert holds(f"n {operator} :v", v={"N": "9"}) is (operator in {"<>", ">", ">="})


def test_strings_order_by_code_point_as_utf8_bytes_do() -> None:
    """U+FFFD sorts before U+1D11E, although UTF-16 would say otherwise."""
    item = {"a": {"S": "\ufffd"}}

    assert holds("a < :v", item, v={"S": "\U0001d11e"})


def test_binaries_order_by_unsigned_bytes_and_not_by_base64() -> None:
    item = {"a": {"B": "AA=="}}  # 00, whose base64 sorts after that of ff

    assert holds("a < :v", item, v={"B": "/w=="})
    assert not holds("a > :v", item, v={"B": "/w=="})


@pytest.mark.parametrize("operator", ["=", "<", "<=", ">", ">="])
def test_comparator_is_false_between_types_and_for_a_missing_attribute(operator: str) -> None:
    assert not holds(f"n {operator} :v", v={"S": "10"})
    assert not holds(f"gone {operator} :v", v={"N": "10"})


def test_unequal_is_true_between_types_and_for_a_missing_attribute() -> None:
    assert holds("n <> :v", v={"S": "10"})
    assert holds("gone <> :v", v={"N": "10"})
    assert holds("gone <> absent")


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("pk", {"S": "user#1"}),
        ("n", {"N": "10"}),
        ("b", {"B": "AP8B"}),
        ("yes", {"BOOL": True}),
        ("nothing", {"NULL": True}),
        ("ss", {"SS": ["y", "x"]}),
        ("ns", {"NS": ["2.5", "1"]}),
        ("bs", {"BS": ["/w==", "AA=="]}),
        ("l", {"L": [{"N": "1"}, {"S": "two"}, {"L": [{"N": "3"}]}]}),
        ("m", {"M": {"set": {"SS": ["p", "q"]}, "nested": {"M": {"leaf": {"N": "7"}}}}}),
    ],
)
def test_equality_covers_all_ten_types_with_sets_as_sets(
    attribute: str, value: dict[str, Any]
) -> None:
    assert holds(f"{attribute} = :v", v=value)
    assert not holds(f"{attribute} <> :v", v=value)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("ss", {"SS": ["x"]}),
        ("ss", {"NS": ["1", "2"]}),
        ("l", {"L": [{"N": "1"}]}),
        ("m", {"M": {"set": {"SS": ["p", "q"]}}}),
        ("m", {"M": {"set": {"SS": ["p", "z"]}, "nested": {"M": {}}}}),
        ("yes", {"BOOL": False}),
    ],
)
def test_equality_is_false_for_any_difference_inside(attribute: str, value: dict[str, Any]) -> None:
    assert not holds(f"{attribute} = :v", v=value)


def test_types_without_an_order_fail_every_ordering_comparison() -> None:
    item = {"a": {"L": []}, "b": {"L": []}, "c": {"BOOL": True}, "d": {"BOOL": True}}

    assert not holds("a <= b", item)
    assert not holds("c >= d", item)
    assert holds("a = b", item)


def test_between_includes_both_bounds_and_wants_one_type() -> None:
    assert holds("n BETWEEN :a AND :b", a={"N": "10"}, b={"N": "10"})
    assert not holds("n BETWEEN :a AND :b", a={"N": "11"}, b={"N": "12"})
    assert not holds("s BETWEEN :a AND :b", a={"N": "1"}, b={"N": "2"})
    assert not holds("gone BETWEEN :a AND :b", a={"N": "1"}, b={"N": "2"})
    assert holds("n BETWEEN negative AND :b", b={"N": "11"})
    assert not holds("n BETWEEN gone AND :b", b={"N": "11"})


def test_in_matches_any_operand_by_equality() -> None:
    assert holds("n IN (:a, :b)", a={"S": "10"}, b={"N": "10"})
    assert not holds("n IN (:a)", a={"S": "10"})
    assert not holds("gone IN (:a, absent)", a={"N": "1"})
    assert not holds("n IN (absent)")


def test_exists_looks_at_presence_and_not_at_value() -> None:
    assert holds("attribute_exists(nothing)")
    assert holds("attribute_exists(m.nested.leaf)")
    assert holds("attribute_exists(l[2][0])")
    assert not holds("attribute_exists(l[3])")
    assert not holds("attribute_exists(n.nested)")
    assert not holds("attribute_exists(n[0])")
    assert not holds("attribute_exists(gone.deep.leaf)")
    assert holds("attribute_not_exists(gone)")
    assert holds("attribute_not_exists(m.gone)")
    assert not holds("attribute_not_exists(pk)")


@pytest.mark.parametrize(
    ("attribute", "type_name"),
    [
        ("s", "S"), ("n", "N"), ("b", "B"), ("yes", "BOOL"), ("nothing", "NULL"),
        ("ss", "SS"), ("ns", "NS"), ("bs", "BS"), ("l", "L"), ("m", "M"),
    ],
)  # fmt: skip
def test_attribute_type_knows_all_ten(attribute: str, type_name: str) -> None:
    assert holds(f"attribute_type({attribute}, :t)", t={"S": type_name})
    other = "S" if type_name != "S" else "N"
    assert not holds(f"attribute_type({attribute}, :t)", t={"S": other})
    assert not holds("attribute_type(gone, :t)", t={"S": type_name})


def test_attribute_type_takes_a_value_too() -> None:
    assert holds("attribute_type(:v, :t)", v={"S": "x"}, t={"S": "S"})
    assert not holds("attribute_type(:v, :t)", v={"S": "x"}, t={"S": "N"})


@pytest.mark.parametrize(
    "text",
    [
        "(m.nested).leaf = :seven",
        "(m).nested.leaf = :seven",
        "((m).nested).leaf = :seven",
        "((m.nested).leaf) = :seven",
        "((m.nested).leaf = :seven)",
        ":seven = (m.nested).leaf",
        "(m.nested).leaf IN (:seven)",
        "(m.nested).leaf BETWEEN :seven AND :seven",
        "attribute_exists((m.nested).leaf)",
        "NOT (m.nested).leaf <> :seven",
        "n = s OR (m.nested).leaf = :seven",
    ],
)
def test_part_of_a_path_may_be_in_parentheses(text: str) -> None:
    assert holds(text, **({"seven": {"N": "7"}} if ":seven" in text else {}))


@pytest.mark.parametrize("index", [2**31, 2**32 - 2])
def test_large_index_finds_nothing(index: int) -> None:
    assert not holds(f"attribute_exists(l[{index}])")


def test_begins_with_takes_strings_and_binaries() -> None:
    assert holds("begins_with(s, :p)", p={"S": "hé"})
    assert holds("begins_with(s, :p)", p={"S": ""})
    assert not holds("begins_with(s, :p)", p={"S": "e"})
    assert holds("begins_with(b, :p)", p={"B": "AP8="})
    assert not holds("begins_with(s, :p)", p={"B": "AP8="})
    assert not holds("begins_with(b, :p)", p={"S": "A"})
    assert not holds("begins_with(n, :p)", p={"S": "1"})
    assert not holds("begins_with(gone, :p)", p={"S": ""})
    assert holds("begins_with(:whole, s)", {"s": {"S": "a"}}, whole={"S": "abc"})


def test_contains_searches_strings_binaries_sets_and_lists() -> None:
    assert holds("contains(s, :v)", v={"S": "llo"})
    assert not holds("contains(s, :v)", v={"S": "LLO"})
    assert holds("contains(b, :v)", v={"B": "/wE="})
    assert holds("contains(ss, :v)", v={"S": "x"})
    assert not holds("contains(ss, :v)", v={"N": "1"})
    assert holds("contains(ns, :v)", v={"N": "2.5"})
    assert holds("contains(bs, :v)", v={"B": "/w=="})
    assert holds("contains(l, :v)", v={"L": [{"N": "3"}]})
    assert not holds("contains(l, :v)", v={"N": "3"})
    assert not holds("contains(m, :v)", v={"S": "nested"})
    assert not holds("contains(gone, :v)", v={"S": "x"})
    assert holds("contains(:all, n)", all={"NS": ["9", "10"]})


@pytest.mark.parametrize(
    ("attribute", "size"),
    [("s", 7), ("b", 3), ("ss", 2), ("ns", 2), ("bs", 2), ("l", 3), ("m", 2), ("pk", 6)],
)
def test_size_counts_utf16_units_bytes_or_members(attribute: str, size: int) -> None:
    """Strings in UTF-16 code units: measured on AWS (ExtendDB issue 60)."""
    assert holds(f"size({attribute}) = :n", n={"N": str(size)})


def test_size_of_a_type_without_size_fails_every_comparison_but_unequal() -> None:
    assert not holds("size(n) > :n", n={"N": "-1"})
    assert not holds("size(gone) = :n", n={"N": "0"})
    assert holds("size(gone) <> :n", n={"N": "0"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n = :t OR n = :f AND n = :f", True),  # AND before OR
        ("(n = :t OR n = :f) AND n = :f", False),
        ("NOT n = :f AND n = :t", True),  # NOT before AND
        ("NOT (n = :f AND n = :t)", True),
        ("NOT n = :t OR n = :t", True),
        ("NOT NOT n = :t", True),
        ("n = :f AND n = :t OR n = :t", True),
        ("n = :t AND n = :t AND n = :f", False),
        ("n = :f OR n = :f OR n = :t", True),
        ("n = :f OR n = :f OR n = :f", False),
        ("n BETWEEN :t AND :t AND n = :f", False),
        ("not n In (:f) aNd n betWEEN :t and :t", True),
        ("(n) = (:t)", True),
        ("(size(l)) > (negative)", True),
        ("(attribute_exists(n))", True),
        ("((n) = :t) AND (NOT (n = :f))", True),
    ],
)
def test_operators_bind_in_the_documented_order(text: str, *, expected: bool) -> None:
    used = {f":{name}": {"N": value} for name, value in (("t", "10"), ("f", "11"))}
    condition = compile_condition(text, None, used)

    assert condition.holds(ITEM, used) is expected


def test_condition_on_no_item_sees_no_attributes() -> None:
    condition = compile_condition("attribute_not_exists(pk)")

    assert condition.holds(None, {})
    assert not condition.holds(ITEM, {})


def test_names_stand_for_attributes_whatever_they_are_called() -> None:
    names = {"#s": "status", "#d": "with.dot", "#e": "é"}
    item = {"status": {"M": {"with.dot": {"L": [{"M": {"é": {"N": "1"}}}]}}}}
    condition = compile_condition("#s.#d[0].#e = :v", names, {":v": {"N": "1"}})

    assert condition.holds(item, {":v": {"N": "1"}})
    assert condition.used_names == ("#s", "#d", "#e")
    assert condition.value_names == (":v",)


def test_same_text_means_another_thing_under_other_names() -> None:
    item = {"a": {"N": "1"}}

    assert compile_condition("attribute_exists(#x)", {"#x": "a"}).holds(item, {})
    assert not compile_condition("attribute_exists(#x)", {"#x": "b"}).holds(item, {})
