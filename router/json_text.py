"""JSON texts of requests: what orjson takes, save for objects that name a member twice.

orjson keeps the last of two members with one name and says nothing. What it kept, written out
again, tells: a duplicate is missing there, and with it its colon.
"""

from __future__ import annotations

import re
from typing import Final

import orjson

from model.errors import SerializationFailed

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


def _colons_of(raw: bytes | bytearray) -> int:
    """Count colons between and inside strings, those inside also where they are escaped."""
    count = raw.count(b":")
    if b"\\u003" in raw:
        count += sum(len(found[1]) == _ESCAPED_COLON_LENGTH for found in _ESCAPE.finditer(raw))
    return count
