"""Python values to DynamoDB's JSON and back."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import orjson
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
from tests.client.hostile import (
    Color,
    Exact,
    Level,
    Odd,
    Pair,
    Row,
    Rows,
    Tags,
    Text,
    Whole,
    hostile,
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


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (Color.RED, {"S": "red"}),
        (Text("a"), {"S": "a"}),
        (Level.HIGH, {"N": "3"}),
        (Whole(5), {"N": "5"}),
        (Exact("1.5"), {"N": "1.5"}),
        (Rows([Color.RED]), {"L": [{"S": "red"}]}),
        (Pair(Color.RED, Whole(5)), {"L": [{"S": "red"}, {"N": "5"}]}),
        (Row({Color.RED: Color.RED}), {"M": {"red": {"S": "red"}}}),
        (OrderedDict(a=1), {"M": {"a": {"N": "1"}}}),
        (Tags([Color.RED]), {"SS": ["red"]}),
        ({Odd("red"), "red"}, {"SS": ["red"]}),
        ({Level.HIGH, Whole(5)}, {"NS": ["3", "5"]}),
        (memoryview(b"abcd")[::2], {"B": "YWM="}),
    ],
)
def test_of_a_subclass_the_content_is_stored(value: object, encoded: dict[str, Any]) -> None:
    assert encode_value(value) == encoded
    assert encode_item({Text("name"): value}) == {"name": encoded}
    (stored,) = encode_item({Color.RED: value})
    assert type(stored) is str


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(10**5000, "thousands of digits", id="huge"),
        pytest.param(Whole(10**5000), "thousands of digits", id="huge subclass"),
        ({10**5000}, "thousands of digits"),
        (float("nan"), "nan is not a number"),
        (float("-inf"), "-inf is not a number"),
        ({1.5}, "use decimal.Decimal"),
        (Decimal("sNaN"), "not a number"),
        ({True}, "not bool: True"),
        ({True, 2}, "not bool: True"),
        ({None}, "not NoneType: None"),
        ({("a",)}, "not tuple"),
        ({"a", b"a"}, "no mixture"),
        ({frozenset({frozenset({"a"})})}, "not frozenset"),
        ("\ud83d", "half a surrogate"),
        (Text("a\udcff"), "character 1 is half a surrogate"),
        ({"\ud83d"}, "half a surrogate"),
        ({"\ud83d": 1}, "half a surrogate"),
        ({Odd("red"): 1, "red": 2}, "two attributes are named 'red'"),
        (1j, "complex has no counterpart"),
        (range(10**5000), "a value of range"),  # its repr raises
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(value: object, reason: str) -> None:
    with pytest.raises(ValueRefused, match=reason):
        encode_value(value)


def test_a_released_memoryview_is_refused() -> None:
    view = memoryview(b"a")
    view.release()

    with pytest.raises(ValueRefused, match="released"):
        encode_value(view)


@pytest.mark.parametrize(
    ("item", "place"),
    [
        ({"a": [1, 2, 3, {"b": 1.5}]}, "item.a[3].b"),
        ({"a": {"two words": ("x", {1.5})}}, "item.a['two words'][1]"),
        ({"a": {"b": {7: 1}}}, "item.a.b"),
        ({"\ud83d": 1}, "item"),
        ([1], "item"),
        (None, "item"),
    ],
)
def test_a_refusal_says_where_the_value_is(item: Any, place: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        encode_item(item)

    assert caught.value.place == place
    assert str(caught.value).startswith(f"{place}: ")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_list_in_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append({"again": endless})

    with pytest.raises(ValueRefused, match="deep"):
        encode_value(endless)


@given(hostile)
def test_every_object_is_encoded_or_refused(value: object) -> None:
    try:
        encoded = encode_value(value)
    except ValueRefused as refused:
        assert str(refused).isprintable()  # noqa: PT017 - or else it is encoded
    else:
        orjson.dumps(encoded)
