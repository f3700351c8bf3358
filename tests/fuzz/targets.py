"""What is fuzzed: each target takes any bytes, and may refuse them only with its typed errors.

Anything else that a target raises is a finding, a failed assertion above all. Pure: no atheris
here, so that the corpus is replayed by every run of the tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import orjson

from model.errors import ModelError
from model.expressions import (
    compile_condition,
    compile_key_condition,
    compile_projection,
    compile_update,
)
from model.requests.reads import parse_query, parse_scan
from model.requests.writes import parse_put_item
from model.tables import Table, load_table
from quorate.http.exchange import Exchange
from quorate.http.limits import HttpLimits
from quorate.http.protocol import HttpConnection
from quorate.http.server import HttpServer
from quorate.security.signing import digest_of
from router.signature import SignatureCheck

NOW: Final = 1_795_449_600.0
"""2026-11-23T16:00:00Z: the date in the corpus of signed requests."""


def _table() -> Table:
    return load_table(
        1,
        "Music",
        orjson.dumps(
            {
                "TableName": "Music",
                "TableId": "00000000-0000-0000-0000-000000000000",
                "CreationDateTime": 1.0,
                "AttributeDefinitions": [
                    {"AttributeName": "p", "AttributeType": "S"},
                    {"AttributeName": "s", "AttributeType": "N"},
                ],
                "KeySchema": [
                    {"AttributeName": "p", "KeyType": "HASH"},
                    {"AttributeName": "s", "KeyType": "RANGE"},
                ],
                "BillingMode": "PAY_PER_REQUEST",
                "ProvisionedThroughput": {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0},
                "DeletionProtectionEnabled": False,
            }
        ),
    )


TABLE: Final = _table()


def _json(data: bytes) -> Any:
    """Return the JSON value of what a client sent, as the service parses it."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def item(data: bytes) -> None:
    """An item of PutItem, from JSON to the image that is stored, and back."""
    try:
        write = parse_put_item({"TableName": "Music", "Item": _json(data)}).bind(TABLE)
    except ModelError:
        return
    assert write.key
    assert write.image


NAMES: Final = {"#a": "a", "#b": "b.c", "#c": "size"}
VALUES: Final[dict[str, object]] = {
    ":s": {"S": "text"},
    ":n": {"N": "1"},
    ":l": {"L": [{"S": "x"}]},
    ":m": {"M": {"k": {"N": "2"}}},
    ":set": {"SS": ["x", "y"]},
    ":ns": {"NS": ["1", "2"]},
    ":b": {"B": "YQ=="},
    ":t": {"BOOL": True},
}
ITEM: Final[dict[str, object]] = {
    "p": {"S": "k"},
    "s": {"N": "1"},
    "a": {"L": [{"N": "3"}, {"M": {"c": {"S": "deep"}}}]},
    "b.c": {"N": "12.5"},
    "m": {"M": {"l": {"L": []}, "set": {"SS": ["x"]}}},
    "set": {"SS": ["x", "z"]},
}


def expression(data: bytes) -> None:
    """An expression of each kind: compiled, and what compiles is evaluated."""
    text = data.decode(errors="replace")
    names: Any = NAMES
    values: Any = VALUES
    with suppress(ModelError):
        condition = compile_condition(text, names, values, label="ConditionExpression")
        for found in (ITEM, None):
            condition.holds(found, values)  # type: ignore[arg-type]
    with suppress(ModelError):
        update = compile_update(text, names, values)
        update.apply(ITEM, {"p": ITEM["p"], "s": ITEM["s"]}, values)  # type: ignore[arg-type]
    with suppress(ModelError):
        compile_projection(text, names).project(ITEM)  # type: ignore[arg-type]
    with suppress(ModelError):
        compile_key_condition(text, names, values)


def start_key(data: bytes) -> None:
    """An ExclusiveStartKey, of a Scan and of a Query both ways."""
    key = _json(data)
    bodies: list[tuple[Callable[[object], Any], dict[str, object]]] = [(parse_scan, {})]
    for forward in (True, False):
        condition: dict[str, object] = {
            "KeyConditionExpression": "p = :p AND s > :s",
            "ExpressionAttributeValues": {":p": {"S": "k"}, ":s": {"N": "0"}},
            "ScanIndexForward": forward,
        }
        bodies.append((parse_query, condition))
    for parse, body in bodies:
        with suppress(ModelError):
            parse({"TableName": "Music", "ExclusiveStartKey": key, **body}).bind(TABLE)


CHECK: Final = SignatureCheck(
    service="dynamodb",
    region="local",
    must_sign=(b"host", b"x-amz-target"),
    find_secret={"QRTEAAAAAAAAAAAAAAAA": "secret"}.get,
    wall_clock=lambda: NOW,
)


def authorization(data: bytes) -> None:
    """Headers and target of a signed request: target, then `name: value` lines, then the body."""
    head, _, body = data.partition(b"\n\n")
    target, *lines = head.split(b"\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    try:
        CHECK.check(b"POST", target, headers, digest_of(body))
    except ModelError:
        return
    raise AssertionError("nobody can guess a signature")


class Transport(asyncio.Transport):
    """Takes what is written; never full."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed or not data
        self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


SMALL: Final = HttpLimits(
    header_bytes_max=256,
    headers_max=8,
    body_bytes_max=512,
    body_bytes_all_max=1024,
    pipelined_max=4,
)


def http(data: bytes) -> None:
    """A connection's bytes, in reads as long as the first byte says; all books end even."""
    if not data:
        return
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_serve(data[0] + 1, data[1:]))
    finally:
        loop.close()


async def _serve(read_bytes: int, data: bytes) -> None:
    held: list[Exchange] = []

    def handle(exchange: Exchange) -> None:
        assert len(exchange.body) <= SMALL.body_bytes_max
        assert len(exchange.headers) <= SMALL.headers_max
        if exchange.path == b"/held":
            held.append(exchange)
        else:
            exchange.reply(200, b"", bytes(exchange.body))

    server = HttpServer(handle, SMALL)
    connection = HttpConnection(server)
    connection.connection_made(Transport())
    for start in range(0, len(data), read_bytes):
        connection.data_received(data[start : start + read_bytes])
        await asyncio.sleep(0)
    if held:
        held[0].reply(200, b"", b"")
        await asyncio.sleep(0)
    connection.connection_lost(None)
    assert server.connection_count == 0
    assert server.books.body_bytes == 0
    assert server.books.unsent_bytes == 0


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (item, expression, start_key, authorization, http)
}
