"""JSON types of request members: what AWS's deserialiser refuses before any rule is looked at."""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final

from model.errors import SerializationFailed, misshapen
from model.sentences import Sentence

STRING: Final = "String"
BOOLEAN: Final = "Boolean"
INTEGER: Final = "Integer"
LONG: Final = "Long"
BLOB: Final = "Blob"
STRUCTURE: Final = "Structure"
"""A structure or map that is a member."""

ELEMENT: Final = "Element"
"""A structure or map in a map or list, most often an attribute value."""

LIST: Final = "List"

_PYTHON_TYPES: Final[dict[str, type]] = {
    STRING: str,
    BOOLEAN: bool,
    INTEGER: int,
    LONG: int,
    BLOB: str,
    STRUCTURE: dict,
    ELEMENT: dict,
    LIST: list,
}

_JAVA_TYPES: Final = {
    STRING: "class java.lang.String",
    BOOLEAN: "class java.lang.Boolean",
    INTEGER: "class java.lang.Integer",
    LONG: "class java.lang.Long",
    BLOB: "class java.nio.ByteBuffer",
    STRUCTURE: ("java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.AttributeValue>"),
    ELEMENT: "class com.amazonaws.dynamodb.v20120810.AttributeValue",
}
"""What AWS calls them. Source: AWS's messages; exact for attribute values and maps of them."""

_STRING_MEMBERS: Final = ("S", "N")
_STRING_LIST_MEMBERS: Final = ("SS", "NS")
_BOOLEAN_MEMBERS: Final = ("NULL", "BOOL")


def wrong_type(value: object, expected: str) -> SerializationFailed:
    """Return the error for a JSON value where another JSON type is expected."""
    if isinstance(value, dict):
        return misshapen(Sentence.UNEXPECTED_STRUCTURE)
    if isinstance(value, list):
        return misshapen(Sentence.UNEXPECTED_LIST, java=_JAVA_TYPES[expected])
    if expected in {STRUCTURE, LIST}:
        return misshapen(Sentence.UNEXPECTED_FIELD)
    if expected == ELEMENT:
        return misshapen(Sentence.UNEXPECTED_VALUE)
    if expected == BLOB:
        return misshapen(Sentence.NOT_BASE64)
    if expected == BOOLEAN and isinstance(value, str):
        return misshapen(Sentence.UNEXPECTED_SCALAR)
    return misshapen(Sentence.WRONG_JSON_TYPE, found=_found(value), expected=expected)


def _found(value: object) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    if isinstance(value, int):
        return "NUMBER_VALUE"
    return "DECIMAL_VALUE" if isinstance(value, float) else "STRING_VALUE"


def check_type(value: object, expected: str) -> None:
    """Raise SerializationFailed unless the value is of the JSON type or null."""
    if value is not None and type(value) is not _PYTHON_TYPES[expected]:
        raise wrong_type(value, expected)


def binary_size_bytes(text: object) -> int:
    """Return the length of what Base64 text stands for.

    Raises SerializationFailed unless it is strict and canonical, so that equal binaries are equal
    texts.
    """
    if type(text) is not str:
        raise wrong_type(text, BLOB)
    if len(text) & 3:
        raise misshapen(Sentence.BASE64_LENGTH, length=len(text))
    try:
        size = len(a2b_base64(text, strict_mode=True)) if text else 0
    except (Base64Error, ValueError):
        raise misshapen(Sentence.BASE64_CHARACTER) from None
    if (
        text.endswith("=")
        and b2a_base64(a2b_base64(text[-4:]), newline=False).decode() != text[-4:]
    ):
        raise misshapen(Sentence.BASE64_LAST)
    return size


def check_attribute_map(attributes: object) -> None:
    """Check the JSON types in a map of attribute values, at every depth, without recursion."""
    check_type(attributes, STRUCTURE)
    pending = list(attributes.values()) if isinstance(attributes, dict) else []
    while pending:
        value = pending.pop()
        check_type(value, ELEMENT)
        if isinstance(value, dict):
            pending.extend(_check_attribute_value(value))


def _check_attribute_value(value: dict[str, object]) -> list[object]:
    """Check the members of one attribute value; return the attribute values inside it."""
    inside: list[object] = []
    for name, content in value.items():
        if content is None:
            continue
        if name in _STRING_MEMBERS:
            check_type(content, STRING)
        elif name in _BOOLEAN_MEMBERS:
            check_type(content, BOOLEAN)
        elif name == "B":
            binary_size_bytes(content)
        elif name in _STRING_LIST_MEMBERS:
            check_list(content, STRING)
        elif name == "BS":
            for member in check_list(content, BLOB):
                binary_size_bytes(member)
        elif name == "M":
            check_type(content, STRUCTURE)
            assert isinstance(content, dict)
            inside.extend(content.values())
        elif name == "L":
            inside.extend(check_list(content, ELEMENT))
    return inside


def check_list(value: object, expected: str) -> list[object]:
    """Check the JSON types of a list; return its members other than null."""
    check_type(value, LIST)
    if not isinstance(value, list):
        return []
    for member in value:
        check_type(member, expected)
    return [member for member in value if member is not None]


def check_map(value: object, expected: str) -> dict[str, object]:
    """Check the JSON types of a map; return its members other than null."""
    check_type(value, STRUCTURE)
    if not isinstance(value, dict):
        return {}
    for member in value.values():
        check_type(member, expected)
    return {name: member for name, member in value.items() if member is not None}
