"""Attribute values: one walk that checks an item, normalises its numbers and measures it.

An item stays what it was, DynamoDB's JSON as a dict; nothing is built per attribute. The walk
writes normal forms of numbers into the dict it was given and drops members it does not know. Deep
nesting is refused at level 33, so that recursion stays shallow; an attribute's value is level 1.
"""

from __future__ import annotations

from model.errors import ModelError, ValidationError, invalid, misshapen
from model.limits import (
    ATTRIBUTE_NAME_BYTES_MAX,
    ECHO_LENGTH_MAX,
    ITEM_SIZE_BYTES_MAX,
    NESTING_LEVELS_MAX,
)
from model.numbers import normalise_number, number_size_bytes
from model.sentences import Sentence
from model.shapes import (
    BLOB,
    BOOLEAN,
    ELEMENT,
    LIST,
    STRING,
    STRUCTURE,
    binary_size_bytes,
    wrong_type,
)

CONTAINER_BYTES = 3
"""What a list or map costs besides its elements. Source: Developer Guide, item sizes."""

ELEMENT_BYTES = 1
"""What each element of a list or map costs besides itself. Source: same page."""


def measure_item(item: dict[str, object]) -> int:
    """Check all attributes of an item, normalise its numbers, return its size in bytes.

    Raises SerializationFailed or ValidationError. The size limit is `check_item_size`.
    """
    try:
        size = 0
        for name, value in item.items():
            if name.isascii() and 0 < len(name) <= ATTRIBUTE_NAME_BYTES_MAX:  # as nearly always
                size += len(name)
            else:
                size += measure_name(name)
            text = value.get("S") if type(value) is dict and len(value) == 1 else None
            if type(text) is str and text.isascii():  # as very often
                size += len(text)
            else:
                size += _measure(value, 0)
    except UnicodeEncodeError:
        raise misshapen(Sentence.NOT_UNICODE) from None
    return size


def measure_value(value: object) -> int:
    """Check one attribute value, normalise its numbers, return its size in bytes.

    Raises SerializationFailed or ValidationError.
    """
    try:
        return _measure(value, 0)
    except UnicodeEncodeError:
        raise misshapen(Sentence.NOT_UNICODE) from None


def item_size_bytes(item: dict[str, object]) -> int:
    """Return the size of an item that is known to be valid, such as one made by an update."""
    return measure_item(item)


def check_item_size(size_bytes: int) -> None:
    """Raise ValidationError if an item of this size may not be stored."""
    if size_bytes > ITEM_SIZE_BYTES_MAX:
        raise invalid(Sentence.ITEM_TOO_LARGE)


def measure_values(values: dict[str, object]) -> int:
    """Check ExpressionAttributeValues and return their size in bytes, names and all."""
    size = 0
    for name, value in values.items():
        try:
            size += len(name) + measure_value(value)
        except ValidationError as fault:
            if fault.rule is Sentence.NAME_TOO_LONG:
                raise
            error = invalid(
                Sentence.VALUE_VALUE_INVALID, reason=fault.message, key=name[:ECHO_LENGTH_MAX]
            )
            error.fault = fault
            raise error from None
    return size


def measure_start_key(key: dict[str, object]) -> None:
    """Check ExclusiveStartKey, as far as that goes without the table."""
    try:
        measure_item(key)
    except ValidationError as error:
        # AWS says of some faults only that there is one.
        if error.message.startswith(_ALONE_IN_START_KEY):
            raise
        raise invalid(Sentence.START_KEY_INVALID_BECAUSE, reason=error.message) from None


_ALONE_IN_START_KEY = (
    str(Sentence.NUMBER_EMPTY),  # the beginning of NUMBER_INVALID, too
    str(Sentence.NUMBER_TOO_PRECISE),
    str(Sentence.NUMBER_OVERFLOW),
    str(Sentence.NUMBER_UNDERFLOW),
    str(Sentence.NUMBER_SET_EMPTY),
    str(Sentence.NUMBER_SET_DUPLICATES),
    str(Sentence.STRING_SET_DUPLICATES).partition("{")[0],
)
"""Source: AWS's messages: what is about numbers or duplicates."""


def measure_name(name: str) -> int:
    """Return the size of an attribute's name; raises ValidationError if it has no legal size."""
    size = len(name) if name.isascii() else len(name.encode())
    if not 0 < size <= ATTRIBUTE_NAME_BYTES_MAX:
        if size:
            raise invalid(Sentence.NAME_TOO_LONG)
        raise invalid(Sentence.NAME_EMPTY)
    return size


def _measure(value: object, level: int) -> int:
    """Check, normalise and measure one value inside `level` lists and maps."""
    if type(value) is not dict:
        raise wrong_type(value, ELEMENT) if value is not None else invalid(Sentence.VALUE_EMPTY)
    if len(value) != 1:
        _keep_only_member(value, level)
    for kind, content in value.items():
        if kind == "S" and type(content) is str:
            return len(content) if content.isascii() else len(content.encode())
        if kind == "N" and type(content) is str:
            number = value["N"] = normalise_number(content)
            return number_size_bytes(number)
        if kind == "M" and type(content) is dict:
            return _measure_map(content, level + 1)
        if kind == "L" and type(content) is list:
            return _measure_list(content, level + 1)
        return _measure_other(kind, content)
    raise AssertionError("an attribute value has one member here")


def _measure_other(kind: str, content: object) -> int:
    """Continue `_measure` with the rarer types, and with what is wrong."""
    if kind in {"BOOL", "NULL"} and type(content) is bool:
        if kind == "NULL" and not content:
            raise invalid(Sentence.NULL_NOT_TRUE)
        return 1
    if kind == "B" and content is not None:
        return binary_size_bytes(content)
    if kind in {"SS", "NS", "BS"} and type(content) is list:
        return _measure_set(kind, content)
    if content is None or kind not in _EXPECTED_JSON:
        raise invalid(Sentence.VALUE_EMPTY)
    raise wrong_type(content, _EXPECTED_JSON[kind])


_EXPECTED_JSON = {
    "S": STRING,
    "N": STRING,
    "B": BLOB,
    "BOOL": BOOLEAN,
    "NULL": BOOLEAN,
    "SS": LIST,
    "NS": LIST,
    "BS": LIST,
    "L": LIST,
    "M": STRUCTURE,
}


def _keep_only_member(value: dict[str, object], level: int) -> None:
    """Drop nulls and unknown members from an attribute value; exactly one must remain.

    Of several, one that is wrong by itself is what AWS speaks of (ExtendDB pull request 201).
    """
    kept = [kind for kind in value if kind in _EXPECTED_JSON and value[kind] is not None]
    if not kept:
        raise invalid(Sentence.VALUE_EMPTY)
    if len(kept) > 1:
        for kind in kept:
            _measure({kind: value[kind]}, level)
        raise invalid(Sentence.VALUE_AMBIGUOUS)
    content = value[kept[0]]
    value.clear()
    value[kept[0]] = content


def _measure_map(content: dict[str, object], level: int) -> int:
    if level >= NESTING_LEVELS_MAX and content:
        raise invalid(Sentence.NESTED_TOO_DEEPLY)
    size = CONTAINER_BYTES
    for name, value in content.items():
        size += ELEMENT_BYTES + measure_name(name) + _measure(value, level)
    return size


def _measure_list(content: list[object], level: int) -> int:
    if level >= NESTING_LEVELS_MAX and content:
        raise invalid(Sentence.NESTED_TOO_DEEPLY)
    size = CONTAINER_BYTES
    for value in content:
        size += ELEMENT_BYTES + _measure(value, level)
    return size


def _measure_set(kind: str, members: list[object]) -> int:
    if not members:
        raise invalid(_EMPTY_SET[kind])
    texts: list[str] = []
    size = 0
    for position, member in enumerate(members):
        if type(member) is not str:
            raise (
                wrong_type(member, STRING)
                if member is not None
                else invalid(Sentence.SET_MEMBER_NULL)
            )
        text = member
        if kind == "NS":
            text = members[position] = normalise_number(member)
            size += number_size_bytes(text)
        else:
            size += binary_size_bytes(member) if kind == "BS" else len(member.encode())
        texts.append(text)
    if len(set(texts)) != len(texts):
        raise _duplicates(kind, texts)
    return size


_EMPTY_SET = {
    "SS": Sentence.STRING_SET_EMPTY,
    "NS": Sentence.NUMBER_SET_EMPTY,
    "BS": Sentence.BINARY_SET_EMPTY,
}


def _duplicates(kind: str, texts: list[str]) -> ModelError:
    if kind == "NS":
        return invalid(Sentence.NUMBER_SET_DUPLICATES)
    shown = texts[:ECHO_LENGTH_MAX]
    if kind == "BS":
        return invalid(Sentence.BINARY_SET_DUPLICATES, members=", ".join(shown)[:ECHO_LENGTH_MAX])
    members = ", ".join(f'"{text}"' for text in shown)[:ECHO_LENGTH_MAX]
    return invalid(Sentence.STRING_SET_DUPLICATES, members=members)
