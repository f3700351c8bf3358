"""DynamoDB calls over plain HTTP connections: no SDK, no retries, little processor time.

What is deliberately absent: signatures (routers do not verify them) and all of HTTP that our
routers do not use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

HEAD_END: Final = b"\r\n\r\n"
LENGTH_HEADER: Final = b"content-length:"

OnAnswer = Callable[["RawConnection", int, bytes], None]
OnLost = Callable[["RawConnection"], None]


class BadAnswer(Exception):
    """The peer does not speak HTTP as our routers do."""


def dynamodb_request(operation: str, body: bytes, *, host: str, invocation_id: str = "") -> bytes:
    """Return a whole HTTP request; with an invocation id, attempts of one call are told apart."""
    identified = f"amz-sdk-invocation-id: {invocation_id}\r\n" if invocation_id else ""
    return (
        f"POST / HTTP/1.1\r\nHost: {host}\r\n"
        "Content-Type: application/x-amz-json-1.0\r\n"
        f"X-Amz-Target: DynamoDB_20120810.{operation}\r\n"
        f"{identified}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def parse_answer(data: bytes | bytearray) -> tuple[int, bytes, int] | None:
    """Return (status, body, bytes used) of the answer `data` starts with, None if more is needed.

    Raises BadAnswer.
    """
    head_bytes = data.find(HEAD_END)
    if head_bytes < 0:
        return None
    head = bytes(data[:head_bytes]).lower()
    length_at = head.find(LENGTH_HEADER)
    try:
        status = int(head[9:12])
        length = int(head[length_at + len(LENGTH_HEADER) :].split(b"\r\n", 1)[0])
    except ValueError as error:
        raise BadAnswer(f"not an answer with a status and a length: {head[:80]!r}") from error
    if length_at < 0:
        raise BadAnswer("an answer without Content-Length")
    end = head_bytes + len(HEAD_END) + length
    if len(data) < end:
        return None
    return status, bytes(data[head_bytes + len(HEAD_END) : end]), end


class RawConnection(asyncio.Protocol):
    """One connection with one request at a time; answers and its end are told by calls."""

    __slots__ = ("_buffer", "_on_answer", "_on_lost", "busy", "transport")

    def __init__(self, on_answer: OnAnswer, on_lost: OnLost) -> None:
        """Take who is told of each answer, and of the end of the connection."""
        self._buffer = bytearray()
        self._on_answer = on_answer
        self._on_lost = on_lost
        self.busy = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # Not asserted: uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> None:
        """Send a request; the last one must have been answered."""
        assert not self.busy
        assert self.transport is not None
        self.busy = True
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Tell of a whole answer."""
        self._buffer += data
        try:
            answer = parse_answer(self._buffer)
        except BadAnswer:
            self.abort()
            return
        if answer is None:
            return
        status, body, used = answer
        del self._buffer[:used]
        self.busy = False
        self._on_answer(self, status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of the end."""
        del exc
        self._on_lost(self)

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self.transport is not None:
            self.transport.abort()
