"""Documents checked for what JSON cannot hold, with the place and the reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from quorate.values import ValueRefused, member, plain_text, shown

JSON_DEPTH_MAX: Final = 200
"""Deepest nesting. Ours: more than an item can need, less than orjson's 254."""

INTEGER_MAX: Final = (1 << 63) - 1
"""Largest integer; an item's numbers are text. Ours: orjson's."""


def plain_json(document: object, place: str) -> Any:
    """Return what JSON can hold, of JSON's own types.

    `place` is what an error calls it. Raises ValueRefused.
    """
    try:
        return _plain(document, 0)
    except ValueRefused as refused:
        raise refused.within(place) from None


def _plain(document: object, depth: int) -> Any:
    if depth > JSON_DEPTH_MAX:
        raise ValueRefused("this is nested too deep for a request")
    if document is None or isinstance(document, bool):
        return document
    if isinstance(document, str):
        return plain_text(document)
    if isinstance(document, int):
        if not -INTEGER_MAX <= document <= INTEGER_MAX:
            raise ValueRefused("this int is too large for a request")
        return int.__int__(document)
    if isinstance(document, float) and math.isfinite(document):
        return float.__float__(document)
    if isinstance(document, Mapping):
        return _plain_object(document, depth)
    if isinstance(document, list | tuple):
        elements: list[Any] = []
        try:
            for element in document:
                elements.append(_plain(element, depth + 1))  # noqa: PERF401 - see `within`
        except ValueRefused as refused:
            raise refused.within(f"[{len(elements)}]") from None
        return elements
    if isinstance(document, Decimal):
        raise ValueRefused(f'in DynamoDB\'s JSON a number is text: "{Decimal.__str__(document)}"')
    raise ValueRefused(f"{type(document).__name__} has no counterpart in JSON: {shown(document)}")


def _plain_object(document: Mapping[Any, object], depth: int) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, element in document.items():
        if not isinstance(name, str):
            raise ValueRefused(f"names are str, not {type(name).__name__}: {shown(name)}")
        text = plain_text(name)
        if text in members:
            raise ValueRefused(f"two members are named {shown(text)}")
        try:
            members[text] = _plain(element, depth + 1)
        except ValueRefused as refused:
            raise refused.within(member(text)) from None
    return members
