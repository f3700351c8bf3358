"""Python values to and from DynamoDB's JSON encoding of attribute values.

| DynamoDB | Python |
|---|---|
| S | str |
| N | int, or decimal.Decimal when it is not whole; float is refused, it is not exact |
| B | bytes (bytearray and memoryview are taken) |
| BOOL, NULL | bool, None |
| L, M | list (tuple is taken), dict with str keys |
| SS, NS, BS | set of str, of int and Decimal, of bytes (frozenset is taken) |
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

DEPTH_MAX: Final = 32
"""Deepest nesting of lists and maps. Source: DynamoDB Developer Guide, constraints."""


class ValueRefused(TypeError):
    """A Python value that DynamoDB has no exact counterpart for; the text says what to do."""


def encode_item(item: Mapping[str, object]) -> dict[str, Any]:
    """Return an item, key or value map in DynamoDB's JSON encoding; raises ValueRefused."""
    return {name: encode_value(value) for name, value in item.items()}


def encode_value(value: object, depth: int = 0) -> dict[str, Any]:
    """Return one attribute value in DynamoDB's JSON encoding; raises ValueRefused."""
    # The common types first, by exact type: a dict look-up costs less than isinstance chains.
    kind = type(value)
    if kind is str:
        return {"S": value}
    if kind is int:
        return {"N": str(value)}
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value, depth)
    return _encode_unusual(value, depth)


def _encode_unusual(value: object, depth: int) -> dict[str, Any]:
    """Take subclasses and relatives of the usual types; refuse the rest by name."""
    if isinstance(value, float):
        raise ValueRefused(
            f"float {value!r} is not exact: use decimal.Decimal({str(value)!r}) or an int"
        )
    for taken, encoder in _RELATIVES:
        if isinstance(value, taken):
            return encoder(value, depth)
    raise ValueRefused(f"{type(value).__name__} has no counterpart in DynamoDB: {value!r:.80}")


def _encode_decimal(value: Any, _depth: int) -> dict[str, Any]:
    if not value.is_finite():
        raise ValueRefused(f"{value} is not a number that DynamoDB has")
    return {"N": str(value)}


def _encode_bytes(value: Any, _depth: int) -> dict[str, Any]:
    return {"B": b64encode(value).decode("ascii")}


def _encode_list(value: Any, depth: int) -> dict[str, Any]:
    _check_depth(depth)
    return {"L": [encode_value(element, depth + 1) for element in value]}


def _encode_map(value: Any, depth: int) -> dict[str, Any]:
    _check_depth(depth)
    for name in value:
        if not isinstance(name, str):
            raise ValueRefused(f"attribute names are str, not {type(name).__name__}: {name!r:.80}")
    return {"M": {name: encode_value(element, depth + 1) for name, element in value.items()}}


def _encode_set(value: Any, _depth: int) -> dict[str, Any]:
    if not value:
        raise ValueRefused("an empty set has no counterpart in DynamoDB: leave the attribute out")
    kinds = set()
    encoded = []
    for element in value:
        ((kind, text),) = encode_value(element).items()
        kinds.add(kind)
        encoded.append(text)
    if len(kinds) != 1 or not kinds <= {"S", "N", "B"}:
        raise ValueRefused("a set holds only str, only numbers or only bytes")
    return {f"{kinds.pop()}S": sorted(encoded)}


def _check_depth(depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise ValueRefused(f"lists and maps are nested more than {DEPTH_MAX} deep")


_Encoder = Callable[[Any, int], dict[str, Any]]

_ENCODERS: Final[dict[type, _Encoder]] = {
    bool: lambda value, _depth: {"BOOL": value},
    type(None): lambda _value, _depth: {"NULL": True},
    Decimal: _encode_decimal,
    bytes: _encode_bytes,
    dict: _encode_map,
    list: _encode_list,
    tuple: _encode_list,
    set: _encode_set,
    frozenset: _encode_set,
}

_RELATIVES: Final[tuple[tuple[type | tuple[type, ...], _Encoder], ...]] = (
    (str, lambda value, _depth: {"S": str(value)}),
    (int, lambda value, _depth: {"N": str(int(value))}),
    (Decimal, _encode_decimal),
    ((bytes, bytearray, memoryview), _encode_bytes),
    (Mapping, _encode_map),
    ((list, tuple), _encode_list),
    ((set, frozenset), _encode_set),
)


def decode_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item in DynamoDB's JSON encoding as Python values; pair of `encode_item`."""
    return {name: decode_value(value) for name, value in item.items()}


def decode_value(value: Mapping[str, Any]) -> Any:
    """Return one attribute value as a Python value; pair of `encode_value`.

    Raises ValueRefused if `value` is not of the form {"S": ...}.
    """
    try:
        ((kind, content),) = value.items()
        if kind == "S":
            return content
        return _DECODERS[kind](content)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueRefused(f"not an attribute value: {value!r:.80}") from error


def decode_number(text: str) -> int | Decimal:
    """Return a number as int if it is written whole, else as Decimal."""
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {
    "N": decode_number,
    "B": b64decode,
    "BOOL": bool,
    "NULL": lambda _content: None,
    "L": lambda content: [decode_value(element) for element in content],
    "M": decode_item,
    "SS": set,
    "NS": lambda content: {decode_number(text) for text in content},
    "BS": lambda content: {b64decode(text) for text in content},
}


def is_encoded(item: object) -> bool:
    """Whether an object looks like an item in DynamoDB's JSON encoding.

    It does if it is not empty and each of its values is an object with one member, named after a
    type. A plain item of which that happens to be true must say what it is.
    """
    return (
        isinstance(item, dict)
        and bool(item)
        and all(
            isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _TYPE_NAMES
            for value in item.values()
        )
    )


_TYPE_NAMES: Final = ("S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS")
