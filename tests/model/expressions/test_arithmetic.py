"""Sums are exact to 38 digits or refused; never rounded."""

from collections.abc import Callable
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ValidationError
from model.expressions.arithmetic import add, subtract
from model.numbers import normalise_number

NINES = "9" * 38
LARGEST = normalise_number("9.9999999999999999999999999999999999999E+125")
SMALLEST = normalise_number("1E-130")


@pytest.mark.parametrize(
    ("left", "right", "total"),
    [
        ("1", "2", "3"),
        ("-1", "1", "0"),
        ("0.1", "0.2", "0.3"),
        ("9007199254740993", "1", "9007199254740994"),
        ("999999999999999999", "1", "1000000000000000000"),
        (NINES, "-1", "9" * 37 + "8"),
        (NINES, "1", "1" + "0" * 38),
        ("1" + "0" * 125, "1" + "0" * 125, "2" + "0" * 125),
        (SMALLEST, SMALLEST, normalise_number("2E-130")),
        ("1.50", "-1.5", "0"),
    ],
)
def test_sum_is_exact_and_in_normal_form(left: str, right: str, total: str) -> None:
    assert add(left, right) == total
    assert add(right, left) == total


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        (LARGEST, "1" + "0" * 125, "Number overflow."),
        ("-" + LARGEST, "-1" + "0" * 125, "Number overflow."),
        (NINES, "0.1", "Attempting to store more than 38 significant digits"),
        ("1" + "0" * 125, SMALLEST, "Attempting to store more than 38 significant digits"),
    ],
)
def test_sum_out_of_range_or_precision_is_refused(left: str, right: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        add(left, right)


def test_difference_too_close_to_zero_is_refused() -> None:
    with pytest.raises(ValidationError, match="Number underflow"):
        subtract("0." + "0" * 129 + "15", "0." + "0" * 129 + "1")


def test_difference_is_exact() -> None:
    assert subtract("5", "7.25") == "-2.25"
    assert subtract("1", "1") == "0"


numbers = st.builds(
    lambda digits, exponent, sign: normalise_number(f"{sign}{digits}E{exponent}"),
    st.integers(0, 10**38 - 1),
    st.integers(-130, 87),
    st.sampled_from(["", "-"]),
)


@given(numbers, numbers)
def test_sum_agrees_with_unbounded_decimals(left: str, right: str) -> None:
    with localcontext() as context:
        context.prec = 600
        exact = Decimal(left) + Decimal(right)
        difference = Decimal(left) - Decimal(right)
    for operation, truth in ((add, exact), (subtract, difference)):
        assert _outcome(operation, left, right) == _outcome(normalise_number, f"{truth:f}")


def _outcome(operation: Callable[..., str], *operands: str) -> str:
    try:
        return operation(*operands)
    except ValidationError as error:
        return str(error)
