"""Numbers: normal form, ranges, sizes and order, against Python's decimal as the dumb model."""

import time
from decimal import Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ValidationError
from model.numbers import encode_number, normalise_number, number_size_bytes
from model.sentences import Sentence

EXACT = Context(prec=500, Emax=10_000, Emin=-10_000)


@st.composite
def number_texts(draw: st.DrawFn) -> str:
    """Draw a legal number in any of its spellings."""
    digits = draw(st.from_regex(r"[0-9]{1,38}", fullmatch=True))
    first = len(digits) - len(digits.lstrip("0"))
    exponent = draw(st.integers(-130, 125)) - (len(digits) - 1 - first)
    sign = draw(st.sampled_from(["", "-", "+"]))
    point = draw(st.integers(0, len(digits)))
    spelled = f"{digits[:point]}.{digits[point:]}" if draw(st.booleans()) else digits
    shift = len(digits) - point if "." in spelled else 0
    return f"{sign}{spelled}{draw(st.sampled_from('eE'))}{exponent + shift}"


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("0042.1200", "42.12"),
        ("1.5E2", "150"),
        ("-0", "0"),
        ("0", "0"),
        ("0E999999999999", "0"),
        ("+7", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-1e-3", "-0.001"),
        ("100", "100"),
        ("1E125", "1" + "0" * 125),
        ("9" * 38, "9" * 38),
        ("0.0000000000000000000000000000000000000000001", "0." + "0" * 42 + "1"),
        ("1" + "0" * 60, "1" + "0" * 60),
    ],
)
def test_normal_form_is_plain_decimal(text: str, normal: str) -> None:
    assert normalise_number(text) == normal


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1E126", Sentence.NUMBER_OVERFLOW),
        ("-1E126", Sentence.NUMBER_OVERFLOW),
        ("10E125", Sentence.NUMBER_OVERFLOW),
        ("1E10000000", Sentence.NUMBER_OVERFLOW),
        ("1E99999999999999999999", Sentence.NUMBER_OVERFLOW),
        ("1" + "0" * 126, Sentence.NUMBER_OVERFLOW),
        ("1E-131", Sentence.NUMBER_UNDERFLOW),
        ("0.1E-130", Sentence.NUMBER_UNDERFLOW),
        ("-1E-99999999999999999999", Sentence.NUMBER_UNDERFLOW),
        ("1" * 39, Sentence.NUMBER_TOO_PRECISE),
        ("1" + "0" * 37 + "1", Sentence.NUMBER_TOO_PRECISE),
        ("1" * 1_000_000, Sentence.NUMBER_TOO_PRECISE),
        ("", Sentence.NUMBER_EMPTY),
    ],
)
def test_number_out_of_range_is_refused_with_its_own_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        normalise_number(text)

    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "text",
    ["x", " 1", "1 ", "1_0", "0x10", "NaN", "Infinity", "-", "+", ".", "e5", "1e", "1e+", "--1",
     "1.2.3", "1,5", "\u0661", "\u00b2", "1\n", "1e5.0"],
)  # fmt: skip
def test_text_that_is_no_number_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        normalise_number(text)

    assert str(caught.value) == Sentence.NUMBER_INVALID.format(text=text)


def test_hostile_numbers_are_refused_at_once() -> None:
    """Reliability notes: int(Decimal("1E10000000")) does not come back within minutes."""
    hostile = ["1E10000000", "1" * 1_000_000, "0." + "0" * 1_000_000 + "1", "x" * 1_000_000]
    started = time.perf_counter()

    for text in hostile:
        with pytest.raises(ValidationError):
            normalise_number(text)

    assert time.perf_counter() - started < 0.02


@given(number_texts())
def test_normalising_keeps_the_value_and_is_idempotent(text: str) -> None:
    normal = normalise_number(text)

    with localcontext(EXACT):
        assert Decimal(normal) == Decimal(text)
    assert normalise_number(normal) == normal
    assert "e" not in normal.lower()
    assert len(normal) <= 169


@given(number_texts(), number_texts())
def test_encoded_numbers_sort_as_numbers_do(one: str, other: str) -> None:
    one, other = normalise_number(one), normalise_number(other)

    with localcontext(EXACT):
        expected = (Decimal(one) > Decimal(other)) - (Decimal(one) < Decimal(other))
    low, high = encode_number(one), encode_number(other)

    assert (low > high) - (low < high) == expected
    assert len(low) <= 22


def test_close_neighbours_sort_in_order() -> None:
    """Digits that are zeros inside, and prefixes of one another, both signs."""
    ascending = ["-11", "-10.1", "-10.01", "-10", "-1.001", "-1.0001", "-1", "-0.99", "0",
                 "0.99", "1", "1.0001", "1.001", "10", "10.01", "10.1", "11"]  # fmt: skip

    assert sorted(ascending, key=encode_number) == ascending


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("3.14159", 5),
        ("123456", 4),
        ("1E125", 2),
        ("0", 1),
        ("1", 2),
        ("-1", 3),
        ("100", 2),
        ("100.5", 4),
        ("0.001", 2),
        ("0.0012", 2),
        ("1.001", 4),
        ("9" * 38, 20),
    ],
)
def test_size_counts_digits_before_and_after_the_point(text: str, size: int) -> None:
    assert number_size_bytes(normalise_number(text)) == size
