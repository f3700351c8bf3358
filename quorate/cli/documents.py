"""Items as people write them: plain JSON, or DynamoDB's JSON encoding; and back."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum, unique
from typing import Any, NoReturn

from quorate.plain_json import plain_json as checked_json
from quorate.values import ValueRefused, decode_item, decode_number, encode_item, is_encoded


@unique
class Encoding(StrEnum):
    """How items are written."""

    AUTO = "auto"  # DynamoDB's if every value looks like {"S": ...}, else plain
    PLAIN = "plain"
    DYNAMODB = "dynamodb"


class DocumentRefused(Exception):
    """A text is not an item; the text says why."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that DynamoDB has")


def parse_item(text: str | bytes, encoding: Encoding, what: str = "item") -> dict[str, Any]:
    """Return the item in DynamoDB's JSON encoding; raises DocumentRefused.

    `what` is what an error calls it. Numbers keep every digit: they never pass through a float.
    """
    try:
        document = json.loads(
            text, parse_float=Decimal, parse_int=decode_number, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise DocumentRefused(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DocumentRefused(f"{what}: a JSON object is wanted")
    is_dynamodb = encoding is Encoding.DYNAMODB or (
        encoding is Encoding.AUTO and is_encoded(document)
    )
    try:
        if not is_dynamodb:
            return encode_item(document, what)
        checked: dict[str, Any] = checked_json(document, what)
    except ValueRefused as refused:
        raise DocumentRefused(str(refused)) from None
    return checked


def plain_json(item: Mapping[str, Any], *, indent: int | None = None) -> str:
    """Return an item in DynamoDB's JSON encoding as plain JSON text.

    Sets become arrays and bytes base64 text: plain JSON has neither. Numbers keep their digits.
    """
    return _text(decode_item(item), indent)


def _text(value: object, indent: int | None) -> str:
    # json has no Decimal: a mark nobody else writes stands for each until the digits replace it.
    mark = secrets.token_hex(8)
    numbers: list[str] = []

    def simplified(value: object) -> object:
        if isinstance(value, Decimal):
            numbers.append(str(value))
            return f"{mark}{len(numbers) - 1}"
        if isinstance(value, bytes):
            return base64.b64encode(value).decode("ascii")
        if isinstance(value, dict):
            return {name: simplified(element) for name, element in value.items()}
        if isinstance(value, list):
            return [simplified(element) for element in value]
        if isinstance(value, set):
            return [simplified(element) for element in sorted(value)]
        return value

    text = json.dumps(simplified(value), indent=indent, ensure_ascii=False)
    return re.sub(f'"{mark}([0-9]+)"', lambda found: numbers[int(found[1])], text)
