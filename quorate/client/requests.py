"""What a caller gives becomes a request, or is refused with the place and the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from quorate.plain_json import plain_json
from quorate.values import ValueRefused, encode_item, member, plain_text, shown

REQUEST_ID_BYTES: Final = 16
"""Length of a request id. Source: api.proto, PipelineRequest."""

SECONDS_MAX: Final = 1e9
"""A time that is never over. Ours: 30 years, which every timer can count."""


def encode_request(body: Mapping[str, object]) -> bytes:
    """Return a request as JSON; raises ValueRefused, which names the argument."""
    request = check_map(body, "body")
    try:
        return orjson.dumps(request)
    except TypeError:
        # Rare, so it may be slow: a name of a subclass of str, or something to be refused.
        members = {check_text(name, "body"): value for name, value in request.items()}
        return orjson.dumps(
            {name: plain_json(value, _parameter(name)) for name, value in members.items()}
        )


def _parameter(name: str) -> str:
    """Return what the client calls a member of a request: TableName is `table_name`."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() if name.isidentifier() else shown(name)


def encode_items(items: Iterable[object], place: str, *, raw: bool) -> list[dict[str, Any]]:
    """Return items or keys as a request has them; `raw` ones are already."""
    given = check_iterable(items, place)
    encoded: list[dict[str, Any]] = []
    try:
        for item in given:
            encoded.append(encode_one(item, "", raw=raw))  # noqa: PERF401 - see `within`
    except ValueRefused as refused:
        raise refused.within(f"{place}[{len(encoded)}]") from None
    return encoded


def encode_one(item: Any, place: str, *, raw: bool) -> dict[str, Any]:
    """Return an item or key as a request has it; a `raw` one is already."""
    return check_map(item, place) if raw else encode_item(item, place)


def by_table(
    given: Mapping[str, Any], place: str, encode: Callable[[Any, str], list[dict[str, Any]]]
) -> dict[str, list[dict[str, Any]]]:
    """Return what is given by table as a request has it; `encode` takes a table's part."""
    encoded: dict[str, list[dict[str, Any]]] = {}
    for given_name, part in check_map(given, place).items():
        name = check_text(given_name, f"{place}, a table's name")
        if name in encoded:
            raise ValueRefused(f"two tables are named {shown(name)}", place)
        encoded[name] = encode(part, f"{place}{member(name)}")
    return encoded


def check_map(value: object, place: str) -> dict[str, Any]:
    """Return what is a dict, or like one."""
    if not isinstance(value, Mapping):
        raise ValueRefused(f"a dict is wanted, not {shown(value)}", place)
    return value if isinstance(value, dict) else dict(value)


def check_iterable(value: object, place: str) -> Iterable[Any]:
    """Return what there may be many of."""
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise ValueRefused(f"a list is wanted, not {shown(value)}", place)
    return value


def check_seconds(value: object, place: str) -> float:
    """Return a time that timers can count: the endless one is cut to `SECONDS_MAX`."""
    if not isinstance(value, int | float) or not value >= 0:  # NaN is not
        raise ValueRefused(f"seconds are a number from 0 on, not {shown(value)}", place)
    return min(value, SECONDS_MAX)


def check_request_id(value: object) -> bytes:
    """Return what may be a request id."""
    if not isinstance(value, bytes) or len(value) != REQUEST_ID_BYTES:
        raise ValueRefused(f"{REQUEST_ID_BYTES} bytes are wanted, not {shown(value)}", "request_id")
    return value


def check_text(value: object, place: str) -> str:
    """Return the text that a str is."""
    if not isinstance(value, str):
        raise ValueRefused(f"a str is wanted, not {shown(value)}", place)
    try:
        return plain_text(value)
    except ValueRefused as refused:
        raise refused.within(place) from None
