"""What `decode_json` takes, held against Python's own decoder, which shows every member."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import SerializationFailed
from router.json_text import decode_json

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


@given(documents, styles)
def test_a_duplicate_member_is_refused_however_the_text_is_written(
    document: object, style: dict[str, bool]
) -> None:
    text = write(document, **style)
    try:
        expected = json.loads(text, object_pairs_hook=unique)
    except ValueError:
        with pytest.raises(SerializationFailed):
            decode_json(text.encode())
    else:
        assert decode_json(text.encode()) == expected


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
        b'{"a":"\xff"}',
        b'{"a":"\x00"}',
        b'{"":' * 200_000,
        b"[" * 300 + b"]" * 300,
        b'{"a":1,"\\u0061":1}',
    ],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(SerializationFailed):
        decode_json(raw)


def test_an_escaped_nul_survives() -> None:
    assert decode_json(b'{"a":"\\u0000"}') == {"a": "\0"}


def test_every_prefix_of_a_request_is_refused() -> None:
    raw = orjson.dumps({"TableName": "orders", "Item": {"id": {"S": "a:b"}}})
    for end in range(len(raw)):
        with pytest.raises(SerializationFailed):
            decode_json(raw[:end])
