"""Attribute values: one walk checks, normalises and measures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ModelError, SerializationFailed, ValidationError
from model.sentences import Sentence
from model.values import check_item_size, measure_item, measure_value


def nested(levels: int, kind: str = "L") -> dict[str, object]:
    """Return a value inside so many lists or maps."""
    value: dict[str, object] = {"S": "x"}
    for _ in range(levels):
        value = {"L": [value]} if kind == "L" else {"M": {"a": value}}
    return value


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "é"}, 2),
        ({"N": "123456"}, 4),
        ({"B": ""}, 0),
        ({"B": "AAH/"}, 3),
        ({"B": "AA=="}, 1),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"L": []}, 3),
        ({"M": {}}, 3),
        ({"L": [{"S": "ab"}, {"BOOL": True}]}, 3 + 1 + 2 + 1 + 1),
        ({"M": {"ab": {"S": "c"}}}, 3 + 1 + 2 + 1),
        ({"SS": ["a", "", "bcd"]}, 4),
        ({"NS": ["1", "-2"]}, 2 + 3),
        ({"BS": ["AA==", ""]}, 1),
    ],
)
def test_sizes_are_dynamodbs(value: dict[str, object], size: int) -> None:
    """Developer Guide, item sizes; numbers as measured on AWS."""
    assert measure_value(value) == size
    assert measure_item({"né": value}) == 3 + size


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, Sentence.VALUE_EMPTY),
        (None, Sentence.VALUE_EMPTY),
        ({"X": "unknown"}, Sentence.VALUE_EMPTY),
        ({"S": None}, Sentence.VALUE_EMPTY),
        ({"L": [None]}, Sentence.VALUE_EMPTY),
        ({"S": "a", "N": "1"}, Sentence.VALUE_AMBIGUOUS),
        ({"NULL": False}, Sentence.NULL_NOT_TRUE),
        ({"SS": []}, Sentence.STRING_SET_EMPTY),
        ({"NS": []}, Sentence.NUMBER_SET_EMPTY),
        ({"BS": []}, Sentence.BINARY_SET_EMPTY),
        ({"SS": ["a", "b", "a"]}, Sentence.STRING_SET_DUPLICATES.format(members='"a", "b", "a"')),
        ({"NS": ["1", "1.0"]}, Sentence.NUMBER_SET_DUPLICATES),
        ({"BS": ["AA==", "AA=="]}, Sentence.BINARY_SET_DUPLICATES.format(members="AA==, AA==")),
        ({"SS": [None]}, Sentence.SET_MEMBER_NULL),
        ({"N": "1E126"}, Sentence.NUMBER_OVERFLOW),
        ({"NS": ["x"]}, Sentence.NUMBER_INVALID.format(text="x")),
        ({"M": {"": {"S": "x"}}}, Sentence.NAME_EMPTY),
        (nested(33), Sentence.NESTED_TOO_DEEPLY),
        (nested(33, "M"), Sentence.NESTED_TOO_DEEPLY),
        (nested(5_000), Sentence.NESTED_TOO_DEEPLY),
    ],
)
def test_value_that_breaks_a_rule_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        measure_value(value)

    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "value",
    [
        "x", 1, [], True, {"S": 1}, {"S": ["a"]}, {"N": 1}, {"N": 1.5}, {"BOOL": "true"},
        {"NULL": 1}, {"SS": "a"}, {"SS": [1]}, {"L": {}}, {"M": []}, {"B": 1}, {"B": "A"},
        {"B": "AAA"}, {"B": "AA=A"}, {"B": "AAA\n"}, {"B": "A\u00e9A="}, {"B": "AB=="},
        {"B": "AAB="}, {"B": "===="}, {"BS": ["_-8="]}, {"S": "\ud800"},
    ],
)  # fmt: skip
def test_wrong_json_type_is_a_serialization_error(value: object) -> None:
    with pytest.raises(SerializationFailed):
        measure_value(value)


@pytest.mark.parametrize("kind", ["L", "M"])
def test_thirty_two_levels_are_allowed(kind: str) -> None:
    """The string inside is a level too."""
    assert measure_value(nested(31, kind)) > 0


def test_empty_map_may_be_the_last_level() -> None:
    deep: dict[str, object] = {"M": {}}
    for _ in range(31):
        deep = {"L": [deep]}

    assert measure_value(deep) > 0
    with pytest.raises(ValidationError, match="Nesting Levels have exceeded"):
        measure_value({"L": [deep]})


def test_numbers_are_normalised_in_place_at_every_depth() -> None:
    item: dict[str, object] = {"a": {"N": "01.0"}, "b": {"L": [{"NS": ["1E1", "-0"]}]}}

    measure_item(item)

    assert item == {"a": {"N": "1"}, "b": {"L": [{"NS": ["10", "0"]}]}}


def test_nulls_and_unknown_members_are_dropped_from_what_is_stored() -> None:
    item: dict[str, object] = {"a": {"S": "x", "N": None, "Colour": "red"}}

    measure_item(item)

    assert item == {"a": {"S": "x"}}


def test_nul_inside_a_string_survives() -> None:
    item: dict[str, object] = {"a": {"S": "x\x00y"}}

    assert measure_item(item) == 4
    assert item == {"a": {"S": "x\x00y"}}


@pytest.mark.parametrize(("length", "fits"), [(65_535, True), (65_536, False), (0, False)])
def test_attribute_names_have_limits(length: int, fits: bool) -> None:  # noqa: FBT001
    item: dict[str, object] = {"a" * length: {"BOOL": True}}

    if fits:
        assert measure_item(item) == length + 1
    else:
        with pytest.raises(ValidationError):
            measure_item(item)


def test_item_of_exactly_400_kb_fits() -> None:
    item: dict[str, object] = {"pk": {"S": "x" * (409_600 - 2)}}

    check_item_size(measure_item(item))
    with pytest.raises(ValidationError, match="Item size has exceeded"):
        check_item_size(measure_item(item) + 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(["S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL", "x"]),
            inside,
            max_size=2,
        )
    ),
)


@given(json_values)
def test_any_json_is_measured_or_refused(value: object) -> None:
    """No input may raise anything but a ModelError."""
    try:
        assert measure_value(value) >= 0
    except ModelError as error:
        assert str(error)  # noqa: PT017 - which error it is does not matter
