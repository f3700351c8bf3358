"""What JSON is taken, held against Python's own decoder, which shows every member.

Large texts have a decoder of their own: it takes the same.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import SerializationFailed
from router import json_text
from router.json_text import decode_json, decode_large_json

Decode = Callable[[bytes], object]
DECODERS = [decode_json, decode_large_json]

keys = st.text(alphabet='ab:\\"u003\n', max_size=5)
scalars = st.none() | st.booleans() | st.integers(0, 9) | st.floats(0, 1e30) | keys


class Members(list[Any]):
    """The members of an object, as a list that may hold one name twice."""


documents = st.recursive(
    scalars,
    lambda inside: (
        st.lists(inside, max_size=3) | st.lists(st.tuples(keys, inside), max_size=4).map(Members)
    ),
    max_leaves=12,
)

styles = st.fixed_dictionaries(
    dict.fromkeys(("spaced", "ascii_only", "escape_colons"), st.booleans())
)


def write(value: object, *, spaced: bool, ascii_only: bool, escape_colons: bool) -> str:
    """Write a document by hand, as no encoder would write an object that has a name twice."""
    colon, comma = (" : ", " , ") if spaced else (":", ",")

    def text(value: object) -> str:
        written = json.dumps(value, ensure_ascii=ascii_only)
        return written.replace(":", "\\u003a") if escape_colons else written

    def parts(value: object) -> str:
        if isinstance(value, Members):
            return "{" + comma.join(text(k) + colon + parts(v) for k, v in value) + "}"
        if isinstance(value, list):
            return "[" + comma.join(map(parts, value)) + "]"
        return text(value)

    return parts(value)


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object of its members; raises ValueError if two have one name."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError(pairs)
    return dict(pairs)


@pytest.fixture(autouse=True, scope="module")
def _all_texts_are_large() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "AT_ONCE_BYTES_MAX", 0)
        yield


@pytest.mark.parametrize("decode", DECODERS)
@given(document=documents, style=styles)
def test_a_duplicate_member_is_refused_however_the_text_is_written(
    decode: Decode, document: object, style: dict[str, bool]
) -> None:
    text = write(document, **style)
    try:
        expected = json.loads(text, object_pairs_hook=unique)
    except ValueError:
        with pytest.raises(SerializationFailed):
            decode(text.encode())
    else:
        assert decode(text.encode()) == expected


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{7}",
        b"}}}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\\ud800"}',
        b'{"a":["\\uD83D\\u0041"]}',
        b'{"\\udc00":1}',
        b'{"a":1e400}',
        b'{"a":01}',
        b'{"a":1,}',
        b'{"a":"\t"}',
        b"\xef\xbb\xbf{}",
        b"\xa0{}",
        b'{"a":-' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\x00"}',
        b'{"":' * 200_000,
        b"[" * 3000 + b"]" * 3000,
        b'{"a":1,"\\u0061":1}',
    ],
)
def test_what_is_no_json_is_refused(decode: Decode, raw: bytes) -> None:
    with pytest.raises(SerializationFailed):
        decode(raw)


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a":"\\u0000"}', {"a": "\0"}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b"[18446744073709551615,-9223372036854775808]", [(1 << 64) - 1, -(1 << 63)]),
        (b"[18446744073709551616,-9223372036854775809]", [2.0**64, -(2.0**63)]),
        (b" [1.5,1e3,-0] ", [1.5, 1000.0, 0]),
    ],
)
def test_values_are_what_they_were(decode: Decode, raw: bytes, value: object) -> None:
    decoded = decode(raw)

    assert decoded == value
    if isinstance(decoded, list) and isinstance(value, list):
        assert [type(each) for each in decoded] == [type(each) for each in value]


def test_nesting_of_more_levels_than_any_request_has_is_refused() -> None:
    with pytest.raises(SerializationFailed):
        decode_json(b"[" * 300 + b"]" * 300)


@pytest.mark.parametrize("decode", DECODERS)
def test_every_prefix_of_a_request_is_refused(decode: Decode) -> None:
    raw = orjson.dumps({"TableName": "orders", "Item": {"id": {"S": "a:b"}}})
    for end in range(len(raw)):
        with pytest.raises(SerializationFailed):
            decode(raw[:end])
