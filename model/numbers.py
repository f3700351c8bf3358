"""Numbers: 38 significant digits, kept as text in normal form.

The normal form is plain decimal without exponent, sign `+`, or needless zeros: `0042.1200` is
`42.12`, `1.5E2` is `150`, `-0` is `0`. So two numbers are equal exactly if their texts are.
Everything is checked on the text: nothing here ever builds a number from what a caller sent, as
`1E10000000` would need ten million digits.
"""

from __future__ import annotations

import re
from typing import Final

from model.errors import ValidationError, invalid
from model.limits import (
    NUMBER_DIGITS_MAX,
    NUMBER_EXPONENT_MAX,
    NUMBER_EXPONENT_MIN,
    NUMBER_TEXT_LENGTH_MAX,
)
from model.sentences import Sentence

_NUMBER: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?)([0-9]+))?")

_EXPONENT_LENGTH_MAX: Final = 5
"""An exponent with more digits than this is far outside any range, whatever the mantissa."""

_ZERO: Final = b"\x02"
_NEGATIVE: Final = b"\x01"
_POSITIVE: Final = b"\x03"
_NEGATIVE_END: Final = b"\xff"  # above every pair of digits, so that -1 sorts after -1.5
_NINES_COMPLEMENT: Final = str.maketrans("0123456789", "9876543210")

# The exponent of the first digit must fit in the one byte that the encoding has for it.
assert NUMBER_EXPONENT_MAX - NUMBER_EXPONENT_MIN == 255
# A number that is allowed must not be refused for its length when it is in normal form.
assert NUMBER_DIGITS_MAX - NUMBER_EXPONENT_MIN + 3 <= NUMBER_TEXT_LENGTH_MAX


def normalise_number(text: str) -> str:
    """Return the normal form of a number.

    Raises ValidationError if it is no number, out of range, or too precise.
    """
    if len(text) <= NUMBER_DIGITS_MAX and text.isdigit() and text.isascii() and text[0] != "0":
        return text
    if len(text) > NUMBER_TEXT_LENGTH_MAX:
        raise invalid(Sentence.NUMBER_TOO_PRECISE)
    return _normalise_any(text)


def _normalise_any(text: str) -> str:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise _no_number(text)
    sign, whole, fraction, power_sign, power_digits = match.groups(default="")
    digits = whole + fraction
    if not digits:
        raise _no_number(text)
    stripped = digits.lstrip("0")
    if not stripped:
        return "0"
    power = _power(power_sign, power_digits)
    exponent = len(whole) - 1 - (len(digits) - len(stripped)) + power
    significant = stripped.rstrip("0")
    if exponent > NUMBER_EXPONENT_MAX:
        raise invalid(Sentence.NUMBER_OVERFLOW)
    if exponent < NUMBER_EXPONENT_MIN:
        raise invalid(Sentence.NUMBER_UNDERFLOW)
    if len(significant) > NUMBER_DIGITS_MAX:
        raise invalid(Sentence.NUMBER_TOO_PRECISE)
    return ("-" if sign == "-" else "") + _plain(significant, exponent)


def _no_number(text: str) -> ValidationError:
    return invalid(Sentence.NUMBER_INVALID, text=text) if text else invalid(Sentence.NUMBER_EMPTY)


def _power(sign: str, digits: str) -> int:
    """Return the written exponent, cut to a value that is out of range anyway."""
    digits = digits.lstrip("0")
    size = 10**_EXPONENT_LENGTH_MAX if len(digits) > _EXPONENT_LENGTH_MAX else int(digits or "0")
    return -size if sign == "-" else size


def _plain(significant: str, exponent: int) -> str:
    """Write digits, whose first one stands for 10**exponent, without an exponent."""
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + significant
    whole_digits = exponent + 1
    if len(significant) <= whole_digits:
        return significant + "0" * (whole_digits - len(significant))
    return significant[:whole_digits] + "." + significant[whole_digits:]


def number_size_bytes(number: str) -> int:
    """Return the size of a number in normal form, as DynamoDB meters it.

    1 + half the significant digits before the point + half of those after it, each half rounded
    up, + 1 if negative. Source: measured on AWS (the Developer Guide's formula is wrong twice).
    """
    size = 1
    if number[0] == "-":
        number = number[1:]
        size = 2
    whole, _, fraction = number.partition(".")
    if not fraction:
        return size + (len(whole.rstrip("0")) + 1 >> 1)
    if whole == "0":
        return size + (len(fraction.lstrip("0")) + 1 >> 1)
    return size + (len(whole) + 1 >> 1) + (len(fraction) + 1 >> 1)


def encode_number(number: str) -> bytes:
    """Encode a number in normal form so that bytes sort as numbers do; at most 22 bytes.

    Zero is 02. Positive is 03, exponent of the first digit + 130, digits two to a byte. Negative is
    01 and the same with every digit and the exponent complemented, then ff. Also the comparison
    key of numbers in expressions.
    """
    if number == "0":
        return _ZERO
    negative = number[0] == "-"
    whole, _, fraction = number.removeprefix("-").partition(".")
    if whole == "0":
        digits = fraction.lstrip("0")
        exponent = len(digits) - len(fraction) - 1
    else:
        digits = (whole + fraction).rstrip("0")
        exponent = len(whole) - 1
    if len(digits) & 1:
        digits += "0"
    biased = exponent - NUMBER_EXPONENT_MIN
    assert 0 <= biased <= 255
    if negative:
        complement = bytes.fromhex(digits.translate(_NINES_COMPLEMENT))
        return b"".join((_NEGATIVE, (255 - biased).to_bytes(1, "big"), complement, _NEGATIVE_END))
    return b"".join((_POSITIVE, biased.to_bytes(1, "big"), bytes.fromhex(digits)))
