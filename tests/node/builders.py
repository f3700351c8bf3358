"""Test values: keys, images, writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import orjson

from model.image import decode_image, encode_image
from model.keys import KeySchema, storage_key
from model.program import Program, encode_program
from model.values import item_size_bytes

TABLE = 1
PLAIN = KeySchema(partition_name="id", partition_type="S")
SORTED = KeySchema(partition_name="id", partition_type="S", sort_name="at", sort_type="S")

DEADLINE_MS = 60_000

_ids = count(1)


def new_id() -> bytes:
    """A request id that no other request has."""
    return next(_ids).to_bytes(16, "big")


def key(name: str, *, sort: str | None = None, table: int = TABLE) -> bytes:
    if sort is None:
        return storage_key(table, PLAIN, {"id": {"S": name}})
    return storage_key(table, SORTED, {"id": {"S": name}, "at": {"S": sort}})


def image(name: str, **attributes: int | str) -> bytes:
    """The image of an item with number and string attributes."""
    item: dict[str, object] = {"id": {"S": name}}
    for attribute, value in attributes.items():
        item[attribute] = {"S": value} if isinstance(value, str) else {"N": str(value)}
    return encode_image(item, item_size_bytes(item))


def number(encoded: bytes, attribute: str = "n") -> int:
    """A number attribute of an image, 0 if the item or the attribute is not there."""
    if not encoded:
        return 0
    value = decode_image(encoded).get(attribute, {"N": "0"})
    assert isinstance(value, dict)
    return int(value["N"])


def attributes(payload: bytes) -> dict[str, dict[str, str]]:
    """The attributes that a write returned."""
    found = orjson.loads(payload)
    assert isinstance(found, dict)
    return found


@dataclass(slots=True)
class Write:
    """One write as a router sends it. `partition` None: the one that owns the key."""

    key: bytes
    image: bytes = b""
    program: bytes = b""
    request_id: bytes = field(default_factory=new_id)
    deadline_ms: int = DEADLINE_MS
    partition: int | None = None


def put(name: str, *, table: int = TABLE, **values: int | str) -> Write:
    """Put without conditions."""
    return Write(key(name, table=table), image(name, **values))


def put_at(name: str, sort: str, **values: int | str) -> Write:
    """Put an item of a table with sort keys."""
    return Write(key(name, sort=sort), image(name, at=sort, **values))


def delete(name: str) -> Write:
    return Write(key(name))


def add(name: str, amount: int = 1, *, returned: str = "UPDATED_NEW") -> Write:
    """Update: ADD n amount."""
    program = Program(
        kind="update",
        update="ADD n :amount",
        values={":amount": {"N": str(amount)}},
        return_values=returned,
        key={"id": {"S": name}},
    )
    return Write(key(name), program=encode_program(program))


def put_if(name: str, condition: str, *, old: bool = False, **values: int | str) -> Write:
    """Put if a condition holds; `:zero` is 0. `old`: return the old item on failure."""
    program = Program(
        kind="put",
        condition=condition,
        values={":zero": {"N": "0"}} if ":zero" in condition else None,
        return_old_on_failure=old,
    )
    return Write(key(name), image(name, **values), encode_program(program))


def put_if_absent(name: str, *, old: bool = False, **values: int | str) -> Write:
    return put_if(name, "attribute_not_exists(id)", old=old, **values)


def put_returning_old(name: str, **values: int | str) -> Write:
    program = Program(kind="put", return_values="ALL_OLD")
    return Write(key(name), image(name, **values), encode_program(program))


def delete_returning_old(name: str) -> Write:
    program = Program(kind="delete", return_values="ALL_OLD")
    return Write(key(name), program=encode_program(program))


def set_name_to_path_of_number(name: str) -> Write:
    """An update that cannot be applied if `n` is a number: SET n.deep = :zero."""
    program = Program(
        kind="update",
        update="SET n.deep = :zero",
        values={":zero": {"N": "0"}},
        key={"id": {"S": name}},
    )
    return Write(key(name), program=encode_program(program))


def names(prefix: str, low: int, high: int) -> Sequence[str]:
    return [f"{prefix}{place:03}" for place in range(low, high)]
