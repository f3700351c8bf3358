"""An HTTP server with small limits, and clients that send it raw bytes over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from quorate.http.exchange import Exchange
from quorate.http.limits import HttpLimits
from quorate.http.server import HttpServer
from tests.router.loops import run

Story = Callable[["Talk"], Awaitable[None]]

SMALL = HttpLimits(
    header_bytes_max=1024,
    headers_max=10,
    body_bytes_max=4096,
    body_bytes_all_max=6000,
    pipelined_max=4,
    connections_max=3,
    write_buffer_bytes=1024,
)


class Talk:
    """A server with small limits, its handler's requests, and clients that send raw bytes."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.seen: list[Exchange] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.hold = False

    def handle(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        if not self.hold:
            exchange.reply(200, b"X-Test: yes\r\n", bytes(exchange.body) or b"nothing")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        self.writers.append(writer)
        return reader, writer

    async def send(self, raw: bytes) -> bytes:
        """Send bytes on a new connection; return all that comes back until the server closes."""
        reader, writer = await self.connect()
        writer.write(raw)
        return await reader.read()

    def later(self, seconds: float) -> None:
        """Let the server's clock pass."""
        self.server.now += seconds
        self.server.sweep()


def tell(story: Story, limits: HttpLimits = SMALL, *, tls: ssl.SSLContext | None = None) -> None:
    """Run a story against a fresh server, which speaks TLS with `tls`."""

    async def with_server() -> None:
        server = HttpServer(
            lambda exchange: talk.handle(exchange),  # noqa: PLW0108 (not yet there)
            limits,
            tls=None if tls is None else lambda: tls,
        )
        talk = Talk(server)
        await server.start("127.0.0.1", 0)
        try:
            await story(talk)
        finally:
            server.stop_accepting()
            server.abort_all()
            for writer in talk.writers:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            await asyncio.sleep(0)

    run(with_server())


def status_of(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 ")
    return int(answer[9:12])


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return status_of(head), await reader.readexactly(length)
