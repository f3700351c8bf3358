"""JSON texts of requests: what orjson takes, save for objects that name a member twice.

orjson keeps the last of two members with one name and says nothing. What it kept, written out
again, tells: a duplicate is missing there, and with it its colon.

orjson keeps the interpreter from other threads until it is done. Large texts go through Python's
own decoder, which lets them in at every object, and are refused for the same reasons.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn

import orjson

from model.errors import SerializationFailed

AT_ONCE_BYTES_MAX: Final = 256 << 10
"""Longest text that orjson decodes, in less than 10 ms whatever it is. Ours."""

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 64) - 1
INTEGER_DIGITS_MAX: Final = 20
"""What orjson takes for an integer. Source: it, as seen."""

_ESCAPE: Final = re.compile(rb"\\(u003[aA]|.)", re.DOTALL)
_ESCAPED_COLON_LENGTH: Final = 5


def decode_json(raw: bytes | bytearray) -> object:
    """Return the JSON value of a request's body.

    Raises SerializationFailed for anything that is not JSON, for duplicate members, and for nesting
    of more than 254 levels, which no request needs.
    """
    try:
        document = orjson.loads(raw)
        kept = orjson.dumps(document)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        raise SerializationFailed from None  # DynamoDB gives no sentence either
    # Most clients write JSON as orjson does; then nothing needs to be counted.
    if kept != raw and kept.count(b":") != _colons_of(raw):
        raise SerializationFailed
    return document


def decode_large_json(raw: bytes | bytearray) -> object:
    """Return what `decode_json` does, without keeping other threads from the interpreter for long.

    Raises SerializationFailed for what that refuses, save for nesting, of which Python takes more.
    """
    if len(raw) <= AT_ONCE_BYTES_MAX:
        return decode_json(raw)
    try:
        text = raw.decode()
        has_halves = b"\\ud" in raw or b"\\uD" in raw
        hook = _unicode_object if has_halves else _object
        return json.loads(
            text,
            object_pairs_hook=hook,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError):  # a UnicodeError is a ValueError, too
        raise SerializationFailed from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _unicode_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    for name, value in pairs:
        name.encode()
        _check_unicode(value)
    return _object(pairs)


def _check_unicode(value: object) -> None:
    """Raise UnicodeEncodeError for half a surrogate pair; objects have been looked at before."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, list):
        for element in value:
            _check_unicode(element)


def _integer(digits: str) -> int | float:
    """Return a number as orjson does: one of more than 64 bits is a float."""
    if len(digits) <= INTEGER_DIGITS_MAX:
        number = int(digits)
        if INTEGER_MIN <= number <= INTEGER_MAX:
            return number
    return _float(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _colons_of(raw: bytes | bytearray) -> int:
    """Count colons between and inside strings, those inside also where they are escaped."""
    count = raw.count(b":")
    if b"\\u003" in raw:
        count += sum(len(found[1]) == _ESCAPED_COLON_LENGTH for found in _ESCAPE.finditer(raw))
    return count
