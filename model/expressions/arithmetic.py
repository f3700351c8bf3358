"""Exact sums of numbers in normal form: beyond 38 digits a result is refused, never rounded."""

from decimal import Context, Decimal, Inexact, Overflow, Subnormal
from typing import Final

from model.errors import invalid
from model.limits import NUMBER_DIGITS_MAX, NUMBER_EXPONENT_MAX, NUMBER_EXPONENT_MIN
from model.numbers import normalise_number
from model.sentences import Sentence

_INTEGER_LENGTH_MAX: Final = 18

_EXACT: Final = Context(
    prec=NUMBER_DIGITS_MAX,
    Emax=NUMBER_EXPONENT_MAX,
    Emin=NUMBER_EXPONENT_MIN,
    traps=[Inexact, Overflow, Subnormal],
)


def add(left: str, right: str) -> str:
    """Return left + right in normal form. Raises ValidationError out of range or precision."""
    if _is_short_integer(left) and _is_short_integer(right):
        return str(int(left) + int(right))
    return _exactly(Decimal(left), Decimal(right))


def subtract(left: str, right: str) -> str:
    """Return left - right in normal form. Raises ValidationError out of range or precision."""
    if _is_short_integer(left) and _is_short_integer(right):
        return str(int(left) - int(right))
    # Decimal(...) is exact; unary minus would round to the ambient context.
    return _exactly(Decimal(left), Decimal(right).copy_negate())


def _is_short_integer(text: str) -> bool:
    """Whether int() is exact, safe and much faster than Decimal for a number in normal form."""
    return len(text) <= _INTEGER_LENGTH_MAX and "." not in text


def _exactly(left: Decimal, right: Decimal) -> str:
    try:
        total = _EXACT.add(left, right)
    except Overflow:
        raise invalid(Sentence.NUMBER_OVERFLOW) from None
    except Subnormal:
        raise invalid(Sentence.NUMBER_UNDERFLOW) from None
    except Inexact:
        raise invalid(Sentence.NUMBER_TOO_PRECISE) from None
    return normalise_number(str(total))
