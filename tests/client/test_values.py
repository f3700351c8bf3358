"""Python values to DynamoDB's JSON and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.values import (
    DEPTH_MAX,
    ValueRefused,
    decode_item,
    decode_value,
    encode_item,
    encode_value,
    is_encoded,
)

numbers = st.integers(-(10**37), 10**37) | st.decimals(
    allow_nan=False, allow_infinity=False, places=4, min_value=-(10**20), max_value=10**20
)
scalars = st.none() | st.booleans() | st.text() | st.binary() | numbers
sets = (
    st.sets(st.text(), min_size=1)
    | st.sets(st.integers(), min_size=1)
    | st.sets(st.binary(), min_size=1)
)
values = st.recursive(
    scalars | sets,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values))
def test_every_item_survives_the_way_there_and_back(item: dict[str, Any]) -> None:
    assert decode_item(encode_item(item)) == item


def test_each_type_has_its_own_descriptor() -> None:
    item = {
        "s": "x",
        "n": 7,
        "d": Decimal("1.50"),
        "b": b"\x00\xff",
        "t": True,
        "z": None,
        "l": ["x", (1,)],
        "m": {"k": False},
        "ss": {"b", "a"},
        "ns": {2, 10},
        "bs": {b"a"},
    }

    encoded = encode_item(item)

    assert encoded == {
        "s": {"S": "x"},
        "n": {"N": "7"},
        "d": {"N": "1.50"},
        "b": {"B": "AP8="},
        "t": {"BOOL": True},
        "z": {"NULL": True},
        "l": {"L": [{"S": "x"}, {"L": [{"N": "1"}]}]},
        "m": {"M": {"k": {"BOOL": False}}},
        "ss": {"SS": ["a", "b"]},
        "ns": {"NS": ["10", "2"]},
        "bs": {"BS": ["YQ=="]},
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.5, "use decimal.Decimal"),
        ([{"deep": 0.1}], "use decimal.Decimal"),
        (Decimal("NaN"), "not a number"),
        (Decimal("Infinity"), "not a number"),
        (set(), "empty set"),
        ({1, "a"}, "only str"),
        ({None}, "only str"),
        ({1: "a"}, "attribute names are str"),
        (object(), "no counterpart"),
    ],
)
def test_a_value_without_exact_counterpart_is_refused_with_the_reason(
    value: object, reason: str
) -> None:
    with pytest.raises(ValueRefused, match=reason):
        encode_value(value)


def test_a_bool_is_not_taken_for_a_number() -> None:
    assert encode_value(value=True) == {"BOOL": True}


def test_relatives_of_the_usual_types_are_taken() -> None:
    class Name(str):
        __slots__ = ()

    assert encode_value(Name("x")) == {"S": "x"}
    assert encode_value(bytearray(b"a")) == {"B": "YQ=="}
    assert encode_value(memoryview(b"a")) == {"B": "YQ=="}
    assert encode_value(frozenset({"a"})) == {"SS": ["a"]}


def test_nesting_deeper_than_dynamodb_allows_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(DEPTH_MAX - 1):
        nested = [nested]

    encode_value(nested)
    with pytest.raises(ValueRefused, match="deep"):
        encode_value([nested])


def test_whole_numbers_come_back_as_int_and_others_as_decimal() -> None:
    assert decode_value({"N": "10"}) == 10
    assert isinstance(decode_value({"N": "10"}), int)
    assert decode_value({"N": "1E+3"}) == Decimal(1000)


@pytest.mark.parametrize("wrong", [{}, {"S": "a", "N": "1"}, {"X": "a"}, {"N": "one"}, {"B": 1}])
def test_what_is_no_attribute_value_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueRefused):
        decode_value(wrong)


def test_an_item_is_recognised_as_encoded_only_if_every_value_is() -> None:
    assert is_encoded({"pk": {"S": "a"}})
    assert not is_encoded({"pk": "a"})
    assert not is_encoded({"pk": {"S": "a"}, "n": 1})
    assert not is_encoded({"pk": {"S": "a", "N": "1"}})
    assert not is_encoded({})
