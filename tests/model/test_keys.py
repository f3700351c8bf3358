"""Storage keys: stable for ever, in DynamoDB's order, and never too long for storage."""

from base64 import b64encode
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.errors import ValidationError
from model.keys import (
    KeySchema,
    SortRange,
    collection_prefix,
    encode_key_value,
    item_sort_bytes,
    item_storage_key,
    key_of,
    partition_hash,
    sort_range,
    storage_key,
    table_id_of,
    tie_run_of,
    token_bound,
    token_of,
)
from model.limits import STORAGE_KEY_BYTES_MAX
from model.numbers import normalise_number
from model.sentences import Sentence

PLAIN = KeySchema(partition_name="pk", partition_type="S")
SORTED = KeySchema(partition_name="pk", partition_type="S", sort_name="sk", sort_type="B")
COLLECTION = collection_prefix(3, SORTED, {"S": "one"})

# Short alphabets and lengths around the prefix make ties and prefixes of one another likely.
sort_bytes = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.builds(
        lambda head, length, tail: (head * 1024)[:length] + tail,
        st.sampled_from([b"\x00", b"\x01", b"\xff"]),
        st.integers(467, 473),
        st.binary(max_size=3),
    ),
)


def text(raw: bytes) -> dict[str, object]:
    return {"B": b64encode(raw).decode()}


def key_for(raw: bytes) -> bytes:
    return storage_key(3, SORTED, {"pk": {"S": "one"}, "sk": text(raw)})


@pytest.mark.parametrize(
    ("table_id", "kind", "content", "expected"),
    [
        (1, "S", "a", "734424528c1f49e7e54dd609a73570f8"),
        (1, "S", "user#0123456789", "268822977d054cccb29bc4609b373b0e"),
        (2, "S", "a", "a89e37248c69179f22e5c488ce2ddbca"),
        (4294967295, "S", "é\x00", "19d29cc153031ff57ee9a3aeade54c1c"),
        (1, "N", "0", "e34a2b976c2d11a23ae7980c9dd4c550"),
        (1, "N", "-1.001", "dc38d46380839ec6e3369045f4010e7f"),
        (1, "B", "AAH/", "c696ee40dda8b0f59e0536620794b774"),
        (1, "S", "x" * 2048, "2391a6a7d9673e7904705ee11f1c8154"),
    ],
)
def test_partition_hash_never_changes(
    table_id: int, kind: str, content: str, expected: str
) -> None:
    """A change would move every item of every cluster: golden vectors, not a copy of the code."""
    assert partition_hash(table_id, encode_key_value(kind, content)).hex() == expected


def test_storage_key_is_table_hash_and_sort_key() -> None:
    key = key_for(b"\x00\xff")

    assert key == b"\x00\x00\x00\x03" + partition_hash(3, b"one") + b"\x00\xff"
    assert table_id_of(key) == 3
    assert token_of(key) == int.from_bytes(partition_hash(3, b"one")[:8], "big")
    assert token_bound(3, token_of(key)) <= key < token_bound(3, token_of(key) + 1)
    assert token_bound(3, 1 << 64) == token_bound(4, 0)


@given(sort_bytes, sort_bytes)
@example(b"\x01" * 470, b"\x01" * 471)
def test_storage_order_is_dynamodb_order_outside_of_ties(one: bytes, other: bytes) -> None:
    low, high = key_for(one), key_for(other)

    assert (low == high) == (one == other)
    assert len(low) <= STORAGE_KEY_BYTES_MAX
    if tie_run_of(low) is None or tie_run_of(low) != tie_run_of(high):
        assert (low < high) == (one < other)


@given(st.text(max_size=8), st.text(max_size=8))
def test_strings_sort_by_their_utf8(one: str, other: str) -> None:
    """Developer Guide: strings are compared by the bytes of their UTF-8 encoding."""
    expected = one.encode() < other.encode()

    assert (encode_key_value("S", one) < encode_key_value("S", other)) == expected


@given(st.decimals(-1000, 1000, places=3), st.decimals(-1000, 1000, places=3))
def test_numbers_sort_by_value(one: Decimal, other: Decimal) -> None:
    low, high = (encode_key_value("N", normalise_number(str(value))) for value in (one, other))

    assert (low < high) == (one < other)


def satisfies(operator: str, operands: tuple[bytes, ...], raw: bytes) -> bool:
    """The dumb model of a sort key condition."""
    first = operands[0]
    return {
        "=": raw == first,
        "<": raw < first,
        "<=": raw <= first,
        ">": raw > first,
        ">=": raw >= first,
        "BETWEEN": first <= raw <= operands[-1],
        "begins_with": raw.startswith(first),
    }[operator]


@given(
    st.sampled_from(["=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"]),
    st.tuples(sort_bytes, sort_bytes),
    st.lists(sort_bytes, max_size=20),
)
def test_ranges_hold_exactly_what_the_condition_says(
    operator: str, operands: tuple[bytes, bytes], others: list[bytes]
) -> None:
    """Bounds take in more only inside the tie runs at either end; `holds` sorts that out."""
    wanted = sort_range(operator, *operands[: 2 if operator == "BETWEEN" else 1])
    low, high = wanted.bounds(COLLECTION)
    for raw in (*others, *operands, operands[0][:-1] or b"\x00", operands[0] + b"\x00"):
        inside = low <= key_for(raw) < high
        assert wanted.holds(raw) == satisfies(operator, operands, raw)
        assert inside or not wanted.holds(raw)
        if tie_run_of(key_for(raw)) is None:
            assert inside == wanted.holds(raw)
    assert len(low) <= STORAGE_KEY_BYTES_MAX
    assert len(high) <= STORAGE_KEY_BYTES_MAX


@given(sort_bytes, st.lists(sort_bytes, max_size=10))
def test_what_is_before_and_after_a_key_leaves_out_only_the_key(
    start: bytes, others: list[bytes]
) -> None:
    everything = SortRange()
    for raw in (*others, start):
        assert everything.after(start).holds(raw) == (raw > start)
        assert everything.before(start).holds(raw) == (raw < start)


def test_ranges_end_with_the_collection() -> None:
    low, high = SortRange().bounds(COLLECTION)

    assert low == COLLECTION
    assert high > key_for(b"\xff" * 1024)
    assert high[:20] != COLLECTION


def test_key_of_returns_only_the_key_attributes() -> None:
    item: dict[str, object] = {"x": {"N": "1"}, "sk": text(b"b"), "pk": {"S": "a"}}

    assert key_of(SORTED, item) == {"pk": {"S": "a"}, "sk": text(b"b")}
    assert key_of(PLAIN, item) == {"pk": {"S": "a"}}
    assert item_sort_bytes(SORTED, item) == b"b"


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"pk": {"S": "a"}},
        {"pk": {"S": "a"}, "sk": {"S": "b"}},
        {"pk": {"N": "1"}, "sk": text(b"b")},
        {"pk": {"S": "a"}, "sk": text(b"b"), "x": {"S": "c"}},
        {"pk": {"S": "a"}, "x": text(b"b")},
    ],
)
def test_key_that_is_not_exactly_the_schemas_is_refused(key: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        storage_key(1, SORTED, key)

    assert str(caught.value) == Sentence.KEY_MISMATCH


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"sk": text(b"b")}, "Missing the key pk in the item"),
        ({"pk": {"S": "a"}}, "Missing the key sk in the item"),
        ({"pk": {"N": "1"}, "sk": text(b"b")}, "Type mismatch for key pk expected: S actual: N"),
        ({"pk": {"S": "a"}, "sk": {"M": {}}}, "Type mismatch for key sk expected: B actual: M"),
        ({"pk": {"S": ""}, "sk": text(b"b")}, "cannot contain an empty string value. Key: pk"),
        ({"pk": {"S": "a"}, "sk": text(b"")}, "cannot contain an empty binary value. Key: sk"),
        ({"pk": {"S": "a" * 2049}, "sk": text(b"b")}, "maximum size limit of2048 bytes"),
        ({"pk": {"S": "é" * 1025}, "sk": text(b"b")}, "maximum size limit of2048 bytes"),
        ({"pk": {"S": "a"}, "sk": text(b"b" * 1025)}, "exceeded the size limit of 1024 bytes"),
    ],
)
def test_item_without_a_fitting_key_is_refused(item: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        item_storage_key(1, SORTED, item)

    assert message in str(caught.value)


def test_longest_keys_fit() -> None:
    key = storage_key(1, SORTED, {"pk": {"S": "a" * 2048}, "sk": text(b"\xff" * 1024)})

    assert len(key) <= STORAGE_KEY_BYTES_MAX
