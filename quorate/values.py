"""Python values to and from DynamoDB's JSON encoding of attribute values.

| DynamoDB | Python |
|---|---|
| S | str |
| N | int, or decimal.Decimal when it is not whole; float is refused, it is not exact |
| B | bytes (bytearray and memoryview are taken) |
| BOOL, NULL | bool, None |
| L, M | list (tuple is taken), dict with str keys |
| SS, NS, BS | set of str, of int and Decimal, of bytes (frozenset is taken) |

Of a subclass of these types what counts is the content, not what it prints as: a member of
`class Color(str, Enum)` is its text, one of an IntEnum its number.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, Self

DEPTH_MAX: Final = 32
"""Deepest nesting of lists and maps. Source: DynamoDB Developer Guide, constraints."""

SHOWN_MAX: Final = 80
"""Most characters of a value in an error's text. Ours."""


class ValueRefused(TypeError):
    """A value that cannot be sent, or has no exact counterpart; the text says where and why.

    A place is like "item.a[3].b": the argument of the call, and the way from there to the value.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        """Take the sentence, and the place if it is known here."""
        super().__init__(reason, place)

    @property
    def reason(self) -> str:
        """Why it is refused."""
        return str(self.args[0])

    @property
    def place(self) -> str:
        """Where it was, as far as that is known."""
        return str(self.args[1]).removeprefix(".")

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason

    def within(self, container: str) -> Self:
        """Put the name of what the value was in before its place; return itself, to be raised."""
        self.args = (self.args[0], container + self.args[1])
        return self


def shown(value: object) -> str:
    """Return a value for an error's text: short, and whatever its own repr does."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - int's raises when it is long, another's may raise anything
        return f"a value of {type(value).__name__}"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


def member(name: str) -> str:
    """Return how a place names a member of a map: `.a`, or `['a b']`."""
    is_short = name.isidentifier() and len(name) <= SHOWN_MAX
    return f".{name}" if is_short else f"[{shown(name)}]"


def plain_text(value: str) -> str:
    """Return the text that a str is, whatever its class; raises ValueRefused if not Unicode."""
    text = value if type(value) is str else str.__str__(value)
    # Python's str may hold half of a surrogate pair, which no encoding of text has.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueRefused(
                f"{shown(text)} is not Unicode text: character {error.start} is half a surrogate"
                " pair"
            ) from None
    return text


def encode_item(item: Mapping[str, object], place: str = "item") -> dict[str, Any]:
    """Return an item, key or value map in DynamoDB's JSON encoding.

    `place` is what an error calls it. Raises ValueRefused.
    """
    if not isinstance(item, Mapping):
        raise ValueRefused(f"a dict is wanted, not {shown(item)}", place)
    try:
        return _encode_members(item, 0)
    except ValueRefused as refused:
        raise refused.within(place) from None


def encode_value(value: object, depth: int = 0) -> dict[str, Any]:
    """Return one attribute value, inside `depth` lists and maps; raises ValueRefused."""
    # The common types first, by exact type: a dict look-up costs less than isinstance chains.
    kind = type(value)
    if kind is str and value.isascii():  # type: ignore[attr-defined]
        return {"S": value}
    encoder = _ENCODERS.get(kind)
    if encoder is None:
        encoder = _encoder_of_relative(value)
    return encoder(value, depth)


def _encoder_of_relative(value: object) -> _Encoder:
    """Take subclasses and relatives of the usual types; refuse the rest by name."""
    if isinstance(value, float):
        text = float.__repr__(value)
        if not math.isfinite(value):
            raise ValueRefused(f"{text} is not a number that DynamoDB has")
        raise ValueRefused(f"float {text} is not exact: use decimal.Decimal({text!r}) or an int")
    for taken, encoder in _RELATIVES:
        if isinstance(value, taken):
            return encoder
    raise ValueRefused(f"{type(value).__name__} has no counterpart in DynamoDB: {shown(value)}")


def _encode_text(value: Any, _depth: int) -> dict[str, Any]:
    return {"S": plain_text(value)}


def _encode_int(value: Any, _depth: int) -> dict[str, Any]:
    try:
        return {"N": str(int.__int__(value))}
    except ValueError:  # Python writes no more than some thousand digits
        raise ValueRefused("this int has thousands of digits, a number of DynamoDB 38") from None


def _encode_decimal(value: Any, _depth: int) -> dict[str, Any]:
    text = Decimal.__str__(value)
    if not Decimal.is_finite(value):
        raise ValueRefused(f"{text} is not a number that DynamoDB has")
    return {"N": text}


def _encode_bytes(value: Any, _depth: int) -> dict[str, Any]:
    try:
        content = value.tobytes() if isinstance(value, memoryview) else value
    except ValueError:
        raise ValueRefused("this memoryview has been released") from None
    return {"B": b64encode(content).decode("ascii")}


def _encode_list(value: Any, depth: int) -> dict[str, Any]:
    _check_depth(depth)
    encoded: list[dict[str, Any]] = []
    try:
        for element in value:
            encoded.append(encode_value(element, depth + 1))  # noqa: PERF401 - its length is a place
    except ValueRefused as refused:
        raise refused.within(f"[{len(encoded)}]") from None
    return {"L": encoded}


def _encode_map(value: Any, depth: int) -> dict[str, Any]:
    _check_depth(depth)
    return {"M": _encode_members(value, depth + 1)}


def _encode_members(value: Mapping[Any, object], depth: int) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    text: str | None = None  # the name whose value is being encoded
    try:
        for name, element in value.items():
            text = None
            plain = name if type(name) is str and name.isascii() else _attribute_name(name)
            if plain in encoded:
                raise ValueRefused(f"two attributes are named {shown(plain)}")
            text = plain
            encoded[text] = encode_value(element, depth)
    except ValueRefused as refused:
        raise (refused if text is None else refused.within(member(text))) from None
    return encoded


def _attribute_name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueRefused(f"attribute names are str, not {type(name).__name__}: {shown(name)}")
    return plain_text(name)


def _encode_set(value: Any, depth: int) -> dict[str, Any]:
    kinds = set()
    contents = set()  # two members of different classes may have the same content
    for element in value:
        # Else a set in a set in a set ... would be followed to its end.
        if isinstance(element, set | frozenset):
            raise _not_in_a_set(element)
        ((kind, text),) = encode_value(element, depth).items()
        if kind not in _KINDS_OF_SETS:
            raise _not_in_a_set(element)
        kinds.add(kind)
        contents.add(text)
    if not kinds:
        raise ValueRefused("an empty set has no counterpart in DynamoDB: leave the attribute out")
    if len(kinds) > 1:
        raise ValueRefused("a set holds only str, only numbers or only bytes, no mixture")
    return {f"{kinds.pop()}S": sorted(contents)}


def _not_in_a_set(element: object) -> ValueRefused:
    return ValueRefused(
        f"a set holds only str, only numbers or only bytes, not {type(element).__name__}:"
        f" {shown(element)}"
    )


def _check_depth(depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise ValueRefused(f"lists and maps are nested more than {DEPTH_MAX} deep")


_Encoder = Callable[[Any, int], dict[str, Any]]

_KINDS_OF_SETS: Final = frozenset({"S", "N", "B"})

_ENCODERS: Final[dict[type, _Encoder]] = {
    str: _encode_text,
    int: _encode_int,
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
    (str, _encode_text),
    (int, _encode_int),
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
        raise ValueRefused(f"not an attribute value: {shown(value)}") from error


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
