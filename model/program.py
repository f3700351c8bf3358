"""Programs: what a write does that is more than a plain put or delete, evaluated by the leader.

A router sends a program with the write; the leader evaluates it against the newest image of the
key and replicates only the image that comes out, so no follower ever evaluates anything.

    line 1   JSON array: version, kind, condition, update, names, return values, old item on failure
    line 2   JSON array: values, key

The first line is the same for all requests of one kind, and the leader keeps what it compiles to.
JSON has no line break outside of strings and escapes those inside, so the two cannot be confused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from model.capacity import write_units
from model.errors import ConditionFailed, InternalServerError, invalid
from model.expressions import Condition, Update, condition_of, update_of
from model.expressions.cache import ExpressionCache
from model.expressions.tree import Item
from model.image import decode_image, encode_image, image_json, image_size_bytes
from model.limits import ITEM_SIZE_BYTES_MAX
from model.sentences import Sentence
from model.values import item_size_bytes

PROGRAM_VERSION: Final = 1
"""The only version so far. A leader refuses what it does not know."""

KINDS: Final = frozenset({"put", "delete", "update"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A conditional write, or one that returns attributes; its expressions are checked already.

    `kind` is "put", "delete" or "update". `return_values` is the request's ReturnValues.
    `key` is the request's Key; only an update needs it, to make an item that is not there.
    """

    kind: str
    condition: str | None = None
    update: str | None = None
    names: Mapping[str, str] | None = None
    values: Mapping[str, object] | None = None
    return_values: str = "NONE"
    return_old_on_failure: bool = False
    key: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """The compiled first line of a program."""

    kind: str
    condition: Condition | None
    update: Update | None
    return_values: str
    return_old_on_failure: bool
    value_names: frozenset[str]


@dataclass(slots=True)
class DecodedProgram:
    """A program ready to be evaluated, once."""

    shape: _Shape
    values: Item
    key: Item


@dataclass(slots=True)
class Evaluated:
    """What became of a program.

    `image` is the item afterwards, empty if there is none; `returned` is the JSON of the attributes
    to return, empty for none; `units` are write capacity units; `changed` tells whether the item
    is another one than before.
    """

    image: bytes
    returned: bytes
    units: int
    changed: bool


_shapes: Final[ExpressionCache[_Shape]] = ExpressionCache()


def encode_program(program: Program) -> bytes:
    """Encode a program for the leader; the pair of `decode_program`."""
    assert program.kind in KINDS
    shape = (
        PROGRAM_VERSION,
        program.kind,
        program.condition,
        program.update,
        program.names or None,
        program.return_values,
        program.return_old_on_failure,
    )
    key = program.key if program.kind == "update" else None
    assert key is not None or program.kind != "update"
    return orjson.dumps(shape) + b"\n" + orjson.dumps((program.values or {}, key or {}))


def decode_program(raw: bytes) -> DecodedProgram:
    """Decode what a router sent and compile it, from a cache where that has happened before.

    Raises InternalServerError for anything that no router of this release sends.
    """
    first, _, second = raw.partition(b"\n")
    shape = _shapes.get((first,), len(first), lambda: _decode_shape(first))
    try:
        values, key = orjson.loads(second)
    except ValueError:
        raise InternalServerError from None
    if type(values) is not dict or type(key) is not dict:
        raise InternalServerError
    if not shape.value_names <= values.keys():
        raise InternalServerError
    return DecodedProgram(shape, values, key)


def evaluate(program: DecodedProgram, old_image: bytes, new_image: bytes) -> Evaluated:
    """Evaluate a program against an item's newest image (empty: there is none).

    `new_image` is the item of a put, ignored otherwise. Raises ConditionFailed, with the old item
    if the program asks for it, or ValidationError if the update does not fit the item.
    """
    shape = program.shape
    old_item: Item | None = None
    condition = shape.condition
    if old_image and (condition is not None or shape.update is not None):
        old_item = decode_image(old_image)
    if condition is not None and not condition.holds(old_item, program.values):
        wanted = shape.return_old_on_failure and old_image
        raise ConditionFailed(image_json(old_image) if wanted else b"")
    if shape.kind == "update":
        return _evaluate_update(program, old_image, old_item)
    image = new_image if shape.kind == "put" else b""
    returned = b""
    if old_image and shape.return_values == "ALL_OLD":
        returned = image_json(old_image)
    units = write_units(image_size_bytes(old_image), image_size_bytes(image))
    return Evaluated(image, returned, units, image != old_image)


def _evaluate_update(program: DecodedProgram, old_image: bytes, old_item: Item | None) -> Evaluated:
    update = program.shape.update
    new_item: Item | None = None
    if update is not None:
        if old_image or update.may_create:
            new_item = update.apply(old_item, program.key, program.values)
    elif not old_image:
        new_item = program.key
    image = old_image if new_item is None else _encode(new_item)
    units = write_units(image_size_bytes(old_image), image_size_bytes(image))
    returned = _returned(program.shape, old_image, old_item, image, new_item)
    return Evaluated(image, returned, units, image != old_image)


def _encode(item: Item) -> bytes:
    size_bytes = item_size_bytes(item)
    if size_bytes > ITEM_SIZE_BYTES_MAX:
        raise invalid(Sentence.UPDATED_ITEM_TOO_LARGE)
    return encode_image(item, size_bytes)


def _returned(
    shape: _Shape,
    old_image: bytes,
    old_item: Item | None,
    new_image: bytes,
    new_item: Item | None,
) -> bytes:
    """Return the JSON that an update's ReturnValues ask for, empty where AWS leaves it out."""
    match shape.return_values:
        case "ALL_OLD":
            return image_json(old_image) if old_image else b""
        case "ALL_NEW":
            return image_json(new_image) if new_image else b""
        case "UPDATED_OLD" if shape.update is not None:
            touched = shape.update.touched_before(old_item)
        case "UPDATED_NEW" if shape.update is not None and new_item is not None:
            touched = shape.update.touched_after(new_item)
        case _:
            return b""
    return orjson.dumps(touched) if touched else b""


def _decode_shape(line: bytes) -> _Shape:
    try:
        version, kind, condition, update, names, return_values, on_failure = orjson.loads(line)
    except (ValueError, TypeError):
        raise InternalServerError from None
    if version != PROGRAM_VERSION or kind not in KINDS:
        raise InternalServerError
    compiled_condition = None if condition is None else condition_of(condition, names)
    compiled_update = None if update is None else update_of(update, names)
    value_names = frozenset(
        name
        for compiled in (compiled_condition, compiled_update)
        if compiled is not None
        for name in compiled.value_names
    )
    return _Shape(kind, compiled_condition, compiled_update, return_values, on_failure, value_names)
