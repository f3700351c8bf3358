"""HTTP/2 frames made by hand: what no library would send."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4
CANCEL = 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload
    )


def header(name: bytes, value: bytes) -> bytes:
    """Return one header field, literal and not to be indexed (RFC 7541, 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def call(path: bytes) -> bytes:
    """Return the header block of a gRPC call."""
    return b"".join(
        header(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"quorate"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )


def opening(*settings: tuple[int, int]) -> bytes:
    payload = b"".join(struct.pack(">HI", key, value) for key, value in settings)
    return PREFACE + frame(SETTINGS, 0, 0, payload)


def rapid_reset(path: bytes, count: int) -> Iterator[bytes]:
    """Open calls and take them back at once."""
    block = call(path)
    for stream in range(1, 2 * count, 2):
        yield frame(HEADERS, END_HEADERS, stream, block) + frame(
            RST_STREAM, 0, stream, struct.pack(">I", CANCEL)
        )


def many_streams(path: bytes, count: int) -> Iterator[bytes]:
    """Open calls and say nothing more."""
    block = call(path)
    for stream in range(1, 2 * count, 2):
        yield frame(HEADERS, END_HEADERS, stream, block)


def continuations(path: bytes, count: int) -> Iterator[bytes]:
    """Begin one call whose headers never end."""
    yield frame(HEADERS, 0, 1, call(path))
    fields = header(b"x-more", b"y" * 100) * 100
    for _ in range(count):
        yield frame(CONTINUATION, 0, 1, fields)


def settings(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535 + number % 2))


def pings(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield frame(PING, 0, 0, struct.pack(">Q", number))


class Flood:
    """One connection that sends what it likes, and takes note of how it ends."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection(address, timeout=10)
        if context is not None:
            self._socket = context.wrap_socket(self._socket)
        self.received = b""
        self.closed = False

    def send(self, raw: bytes) -> None:
        """Send, reading what has come; stop when the other side has closed."""
        if self.closed:
            return
        try:
            self._socket.sendall(raw)
            self.read(0.0)
        except OSError:
            self.closed = True

    def read(self, seconds: float) -> None:
        """Read what comes within some time, or until the other side closes."""
        self._socket.settimeout(max(seconds, 0.0001))
        try:
            while part := self._socket.recv(65_536):
                self.received = (self.received + part)[-1_000_000:]
            self.closed = True
        except (TimeoutError, ssl.SSLWantReadError, BlockingIOError):
            pass
        except OSError:
            self.closed = True
        finally:
            self._socket.settimeout(10)

    def run(self, frames: Iterator[bytes], *, together: int = 50) -> None:
        """Send frames, some in one write, until the end or until the other side closes."""
        batch: list[bytes] = []
        for each in frames:
            batch.append(each)
            if len(batch) == together:
                self.send(b"".join(batch))
                batch.clear()
            if self.closed:
                return
        self.send(b"".join(batch))

    def close(self) -> None:
        self._socket.close()
