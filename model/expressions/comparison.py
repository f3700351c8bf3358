"""How two attribute values compare, and what the condition functions answer about one.

Values are DynamoDB's JSON, validated and normalised, so equal numbers have
equal texts, and so have equal binaries (base64 with unused bits set is refused at the door).
Source: Developer Guide, "Comparison operator and function reference".
"""

from base64 import b64decode
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from model.expressions.tree import AttributeValue

Order = Callable[[Any, Any], bool]

_INTEGER_LENGTH_MAX: Final = 18  # texts this short are compared as machine integers if they can be


def type_of(value: AttributeValue) -> str:
    """Return the value's type descriptor, such as `S`."""
    for name in value:
        return name
    raise AssertionError("an attribute value has exactly one type")


def equal(left: AttributeValue, right: AttributeValue) -> bool:
    """Whether two values are the same: sets as sets, all else by its text."""
    if left == right:
        return True
    kind = type_of(left)
    if kind not in right:
        return False
    one, two = left[kind], right[kind]
    match kind:
        case "SS" | "NS" | "BS":
            return len(one) == len(two) and frozenset(one) == frozenset(two)
        case "L":
            return len(one) == len(two) and all(map(equal, one, two))
        case "M":
            return len(one) == len(two) and all(
                name in two and equal(value, two[name]) for name, value in one.items()
            )
        case _:
            return False


def ordered(left: AttributeValue, right: AttributeValue, order: Order) -> bool:
    """Whether `order` (such as operator.lt) holds; False between types and for unordered ones.

    Strings compare as UTF-8 bytes, which is the order of code points; binaries as unsigned bytes.
    """
    if "N" in left:
        if "N" not in right:
            return False
        return order(number(left["N"]), number(right["N"]))
    if "S" in left:
        return "S" in right and order(left["S"], right["S"])
    if "B" in left:
        return "B" in right and order(b64decode(left["B"]), b64decode(right["B"]))
    return False


def number(text: str) -> int | Decimal:
    """Read a normalised number exactly; int where that is faster."""
    if len(text) <= _INTEGER_LENGTH_MAX and text.isdecimal():
        return int(text)
    return Decimal(text)


def contains(container: AttributeValue, operand: AttributeValue) -> bool:
    """Whether a string, binary, set or list contains the operand."""
    kind = type_of(container)
    within = container[kind]
    match kind:
        case "S":
            return "S" in operand and operand["S"] in within
        case "B":
            return "B" in operand and b64decode(operand["B"]) in b64decode(within)
        case "SS":
            return "S" in operand and operand["S"] in within
        case "NS":
            return "N" in operand and operand["N"] in within
        case "BS":
            return "B" in operand and operand["B"] in within
        case "L":
            return any(equal(element, operand) for element in within)
        case _:
            return False


def begins_with(value: AttributeValue, prefix: AttributeValue) -> bool:
    """Whether a string or binary begins with another of its type."""
    if "S" in value:
        return "S" in prefix and value["S"].startswith(prefix["S"])
    if "B" in value:
        return "B" in prefix and b64decode(value["B"]).startswith(b64decode(prefix["B"]))
    return False


def size(value: AttributeValue) -> AttributeValue | None:
    """Return the size as a number, or None for a type that has none (N, BOOL, NULL).

    Strings count UTF-16 code units, as measured on AWS (ExtendDB issue 60).
    """
    kind = type_of(value)
    within = value[kind]
    match kind:
        case "S":
            count = len(within) if within.isascii() else len(within.encode("utf-16-le")) // 2
        case "B":
            count = len(within) // 4 * 3 - within.count("=")
        case "SS" | "NS" | "BS" | "L" | "M":
            count = len(within)
        case _:
            return None
    return {"N": str(count)}
