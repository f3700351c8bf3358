"""What clients ask for, in bytes: names, keys, images, programs; and back from an image.

A name says where its item lives: "k3" is an item of its own, "c0#3" the fourth of a collection,
"extra-1/k0" an item of another table.
"""

from __future__ import annotations

from functools import lru_cache

from model.image import decode_image, encode_image
from model.keys import KeySchema, storage_key, token_of
from model.program import Program, encode_program
from model.values import item_size_bytes
from tests.sim.history import Operation, State

PLAIN = KeySchema(partition_name="id", partition_type="S")
SORTED = KeySchema(partition_name="id", partition_type="S", sort_name="at", sort_type="S")

TABLE = "main"
"""The table that is always there; others come and go."""

Item = dict[str, object]


def table_of_name(name: str) -> str:
    """Return the table that an item lives in."""
    return name.rpartition("/")[0] or TABLE


@lru_cache(maxsize=4096)
def key_of(name: str, table: int) -> tuple[bytes, int]:
    """Return (storage key, token)."""
    attributes = _key_attributes(name)
    key = storage_key(table, SORTED if len(attributes) == 2 else PLAIN, attributes)
    return key, token_of(key)


@lru_cache(maxsize=4096)
def _key_attributes(name: str) -> Item:
    collection, _, sort = name.partition("#")
    return {"id": {"S": collection}, "at": {"S": sort}} if sort else {"id": {"S": collection}}


def image_of(operation: Operation) -> bytes:
    """Return the image that a put brings; b"" for everything else."""
    value = operation.value
    if not value:
        return b""
    item = {**_key_attributes(operation.name), "v": {"S": value}}
    return encode_image(item, _size_without_value(operation.name) + len(value))


@lru_cache(maxsize=4096)
def _size_without_value(name: str) -> int:
    return item_size_bytes({**_key_attributes(name), "v": {"S": ""}})


def program_of(operation: Operation) -> bytes:
    """Return what a leader has to evaluate, b"" for nothing."""
    match operation.kind:
        case "add":
            return _addition(operation.name)
        case "put_if_absent":
            return _IF_ABSENT
        case "put_if":
            return _if_value(operation.expected)
        case _:
            return b""


@lru_cache(maxsize=4096)
def _addition(name: str) -> bytes:
    return encode_program(
        Program(
            kind="update",
            update="ADD n :one",
            values={":one": {"N": "1"}},
            return_values="UPDATED_NEW",
            key=_key_attributes(name),
        )
    )


@lru_cache(maxsize=4096)
def _if_value(expected: str) -> bytes:
    values = {":expected": {"S": expected}}
    return encode_program(Program(kind="put", condition="v = :expected", values=values))


_IF_ABSENT = encode_program(Program(kind="put", condition="attribute_not_exists(id)"))


@lru_cache(maxsize=4096)
def state_of(encoded: bytes) -> State:
    """Return what an image says, as the oracle's state."""
    if not encoded:
        return None
    item = decode_image(encoded)
    value, number = item.get("v"), item.get("n")
    return (
        str(value["S"]) if isinstance(value, dict) else "",
        int(str(number["N"])) if isinstance(number, dict) else 0,
    )
