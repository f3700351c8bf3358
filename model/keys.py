r"""Storage keys: where an item lives, and ranges of items. This file owns the key's byte layout.

    table id u32 BE (4) · hash of the partition key (16) · sort part (0 to 486)

- The hash is BLAKE2b-128 of the encoded partition key, keyed by the table id. Its first 8 bytes are
  the token. It never changes: `tests/model/test_keys.py` has golden vectors.
- An encoded key value is UTF-8 (S), the bytes (B), or `model.numbers.encode_number` (N). All three
  sort as DynamoDB sorts.
- The sort part is the encoded sort key if that has at most 470 bytes (short form). Else it is its
  first 470 bytes and a 16-byte digest of all of it (long form).

Long forms with the same first 470 bytes are a *tie run*: neighbours in storage, in the order of
their digests, so whoever reads a range puts each run into the order of the full keys, which the
items hold (`model.requests.pages` does). Everything outside a run is in true order by itself: a
short key equal to the run's prefix sorts just before the run, as it does in DynamoDB.

Two partition keys with one 128-bit hash would share a collection; nothing here guards against it.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from model.errors import ModelError, invalid
from model.limits import (
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
    SORT_PREFIX_BYTES,
    STORAGE_KEY_BYTES_MAX,
)
from model.numbers import encode_number
from model.sentences import Sentence

TABLE_ID_BYTES: Final = 4
HASH_BYTES: Final = 16
TOKEN_BYTES: Final = 8
COLLECTION_BYTES: Final = TABLE_ID_BYTES + HASH_BYTES
"""Length of what all items of one partition key have in common."""

DIGEST_BYTES: Final = 16
LONG_KEY_BYTES: Final = COLLECTION_BYTES + SORT_PREFIX_BYTES + DIGEST_BYTES
"""Length of a storage key whose sort part is in long form; short forms are all shorter."""

TIE_BYTES: Final = COLLECTION_BYTES + SORT_PREFIX_BYTES
"""Length of what the storage keys of one tie run have in common."""

_RING_PERSON: Final = b"quorate-ring-v1"
_HASHERS_MAX: Final = 1_000
_SORT_PERSON: Final = b"quorate-sort-v1"
AFTER_TIES: Final = b"\xff" * DIGEST_BYTES + b"\x00"
"""Appended to what a tie run has in common, this is the first key after the run."""


# Also the bounds of ranges are searched for in storage, and one of them is a byte longer.
assert LONG_KEY_BYTES + 1 <= STORAGE_KEY_BYTES_MAX
assert SORT_PREFIX_BYTES + DIGEST_BYTES < SORT_KEY_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySchema:
    """The key attributes of a table; types are "S", "N" or "B"."""

    partition_name: str
    partition_type: str
    sort_name: str | None = None
    sort_type: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the key attributes, partition key first."""
        if self.sort_name is None:
            return (self.partition_name,)
        return (self.partition_name, self.sort_name)

    @property
    def types(self) -> tuple[str, ...]:
        """Types of the key attributes, partition key first."""
        if self.sort_type is None:
            return (self.partition_type,)
        return (self.partition_type, self.sort_type)


def partition_hash(table_id: int, partition_key: bytes) -> bytes:
    """Return the 16 bytes that place an encoded partition key on the ring, for ever the same."""
    hasher = _ring_hasher(table_id).copy()
    hasher.update(partition_key)
    return hasher.digest()


@lru_cache(maxsize=_HASHERS_MAX)
def _ring_hasher(table_id: int) -> blake2b:
    return blake2b(
        digest_size=HASH_BYTES, key=table_id.to_bytes(TABLE_ID_BYTES, "big"), person=_RING_PERSON
    )


def encode_key_value(kind: str, content: str) -> bytes:
    """Encode the content of a validated key attribute so that bytes sort as DynamoDB does."""
    if kind == "S":
        return content.encode()
    if kind == "N":
        return encode_number(content)
    assert kind == "B"
    return a2b_base64(content)


def storage_key(table_id: int, schema: KeySchema, key: Mapping[str, object]) -> bytes:
    """Return the storage key of a `Key` parameter: the key attributes and nothing else.

    Raises ValidationError if it does not match the schema, or a value is empty or too long.
    """
    if len(key) != (1 if schema.sort_name is None else 2):
        raise invalid(Sentence.KEY_MISMATCH)
    partition = _content_or_mismatch(key, schema.partition_name, schema.partition_type)
    if schema.sort_name is None:
        return _collection(table_id, schema, partition)
    assert schema.sort_type is not None
    sort = _content_or_mismatch(key, schema.sort_name, schema.sort_type)
    return _join(table_id, schema, partition, sort)


def item_storage_key(table_id: int, schema: KeySchema, item: Mapping[str, object]) -> bytes:
    """Return the storage key of a whole item, which has the key attributes among others.

    Raises ValidationError if one is missing, of another type, empty or too long.
    """
    partition = _content_or_missing(item, schema.partition_name, schema.partition_type)
    if schema.sort_name is None:
        return _collection(table_id, schema, partition)
    assert schema.sort_type is not None
    sort = _content_or_missing(item, schema.sort_name, schema.sort_type)
    return _join(table_id, schema, partition, sort)


def has_key(schema: KeySchema, attributes: Mapping[str, object]) -> bool:
    """Whether an item or key has all key attributes, each of the right type."""
    return all(
        _content(attributes.get(name), kind) is not None
        for name, kind in zip(schema.names, schema.types, strict=True)
    )


def collection_prefix(table_id: int, schema: KeySchema, partition_value: object) -> bytes:
    """Return the 20 bytes with which all items of a partition key value ({"S": ...}) begin.

    Raises ValidationError if the value is of another type, empty or too long.
    """
    content = _content(partition_value, schema.partition_type)
    if content is None:
        raise invalid(Sentence.KEY_MISMATCH)
    return _collection(table_id, schema, content)


def sort_key_bytes(schema: KeySchema, sort_value: object) -> bytes:
    """Return the encoded bytes of a sort key value ({"S": ...}).

    Raises ValidationError if the value is of another type, empty or too long.
    """
    assert schema.sort_name is not None
    assert schema.sort_type is not None
    content = _content(sort_value, schema.sort_type)
    if content is None:
        raise invalid(Sentence.KEY_MISMATCH)
    return _encode_sort(schema.sort_name, schema.sort_type, content)


def item_sort_bytes(schema: KeySchema, item: Mapping[str, object]) -> bytes:
    """Return the encoded sort key of a stored item: what a tie run is ordered by."""
    assert schema.sort_name is not None
    return sort_key_bytes(schema, item[schema.sort_name])


def key_of(schema: KeySchema, item: Mapping[str, object]) -> dict[str, object]:
    """Return the key attributes of a stored item, as for LastEvaluatedKey."""
    return {name: item[name] for name in schema.names}


def token_of(key: bytes) -> int:
    """Return the token of a storage key, or of the low bound of a range."""
    return int.from_bytes(key[TABLE_ID_BYTES : TABLE_ID_BYTES + TOKEN_BYTES], "big")


def table_id_of(key: bytes) -> int:
    """Return the table of a storage key."""
    return int.from_bytes(key[:TABLE_ID_BYTES], "big")


def token_bound(table_id: int, token: int) -> bytes:
    """Return the storage key at which a table's items with this token or a higher one begin.

    `token` may be 2**64: the end of the table.
    """
    bound = (table_id << 8 * TOKEN_BYTES) + token
    return bound.to_bytes(TABLE_ID_BYTES + TOKEN_BYTES, "big")


def tie_run_of(key: bytes) -> bytes | None:
    """Return what identifies the tie run that a storage key is in; None for short forms."""
    return key[:TIE_BYTES] if len(key) == LONG_KEY_BYTES else None


@dataclass(frozen=True, slots=True)
class SortRange:
    """Encoded sort keys with low <= key < high; high None is the end of the collection."""

    low: bytes = b""
    high: bytes | None = None

    def holds(self, encoded: bytes) -> bool:
        """Whether an encoded sort key is in the range; needed only inside tie runs."""
        return self.low <= encoded and (self.high is None or encoded < self.high)

    def after(self, encoded: bytes) -> SortRange:
        """Return the part of the range above an encoded sort key."""
        return SortRange(max(self.low, encoded + b"\x00"), self.high)

    def before(self, encoded: bytes) -> SortRange:
        """Return the part of the range below an encoded sort key."""
        return SortRange(self.low, encoded if self.high is None else min(self.high, encoded))

    def bounds(self, collection: bytes) -> tuple[bytes, bytes]:
        """Return the storage keys [low, high) that have all of the range.

        They may have more, but only in the tie run at either end: ask `holds` there.
        """
        if self.high == self.low + b"\x00":  # one sort key
            key = collection + _sort_part(self.low)
            return key, key + b"\x00"
        low = self.low
        if len(low) > SORT_PREFIX_BYTES:
            low = low[:SORT_PREFIX_BYTES] + b"\x00"
        if self.high is None:
            return collection + low, _following(collection)
        high = self.high
        if len(high) > SORT_PREFIX_BYTES:
            high = high[:SORT_PREFIX_BYTES] + AFTER_TIES
        return collection + low, collection + high


def sort_range(operator: str, *operands: bytes) -> SortRange:
    """Return the range of a sort key condition.

    Operators: = < <= > >= BETWEEN (two operands) begins_with; operands are encoded values.
    """
    operand = operands[0]
    match operator:
        case "=":
            return SortRange(operand, operand + b"\x00")
        case "<":
            return SortRange(b"", operand)
        case "<=":
            return SortRange(b"", operand + b"\x00")
        case ">":
            return SortRange(operand + b"\x00")
        case ">=":
            return SortRange(operand)
        case "BETWEEN":
            return SortRange(operand, operands[1] + b"\x00")
        case "begins_with":
            return SortRange(operand, _following_prefix(operand))
        case _:
            raise AssertionError(operator)


def _following(collection: bytes) -> bytes:
    """Return the first storage key after all those that begin with `collection`."""
    following = _following_prefix(collection)
    assert following is not None, "table ids never come near 2**32"
    return following


def _following_prefix(prefix: bytes) -> bytes | None:
    """Return the first byte string after all those that begin with `prefix`, None if none is."""
    kept = prefix.rstrip(b"\xff")
    if not kept:
        return None
    return kept[:-1] + (kept[-1] + 1).to_bytes(1, "big")


def _content(value: object, kind: str) -> str | None:
    """Return the content of an attribute value of this type, None if it is of another type."""
    if type(value) is not dict:
        return None
    content = value.get(kind)
    return content if type(content) is str else None


def _content_or_mismatch(key: Mapping[str, object], name: str, kind: str) -> str:
    content = _content(key.get(name), kind)
    if content is None:
        raise invalid(Sentence.KEY_MISMATCH)
    return content


def _content_or_missing(item: Mapping[str, object], name: str, kind: str) -> str:
    value = item.get(name)
    if value is None:
        raise invalid(Sentence.KEY_MISSING, name=name)
    content = _content(value, kind)
    if content is None:
        actual = next(iter(value), "NULL") if type(value) is dict else "NULL"
        raise invalid(Sentence.KEY_TYPE, name=name, expected=kind, actual=actual)
    return content


def _collection(table_id: int, schema: KeySchema, content: str) -> bytes:
    encoded = encode_key_value(schema.partition_type, content)
    if not encoded:
        raise _empty(schema.partition_name, schema.partition_type)
    if len(encoded) > PARTITION_KEY_BYTES_MAX:
        raise invalid(Sentence.PARTITION_KEY_TOO_LONG)
    return table_id.to_bytes(TABLE_ID_BYTES, "big") + partition_hash(table_id, encoded)


def _join(table_id: int, schema: KeySchema, partition: str, sort: str) -> bytes:
    assert schema.sort_name is not None
    assert schema.sort_type is not None
    collection = _collection(table_id, schema, partition)
    return collection + _sort_part(_encode_sort(schema.sort_name, schema.sort_type, sort))


def _encode_sort(name: str, kind: str, content: str) -> bytes:
    encoded = encode_key_value(kind, content)
    if not encoded:
        raise _empty(name, kind)
    if len(encoded) > SORT_KEY_BYTES_MAX:
        raise invalid(Sentence.SORT_KEY_TOO_LONG)
    return encoded


def _sort_part(encoded: bytes) -> bytes:
    if len(encoded) <= SORT_PREFIX_BYTES:
        return encoded
    digest = blake2b(encoded, digest_size=DIGEST_BYTES, person=_SORT_PERSON).digest()
    return encoded[:SORT_PREFIX_BYTES] + digest


def _empty(name: str, kind: str) -> ModelError:
    return invalid(
        Sentence.KEY_EMPTY_STRING if kind == "S" else Sentence.KEY_EMPTY_BINARY, name=name
    )
