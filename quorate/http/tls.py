"""Listening with TLS: connections are on the server's books from accept on, handshake included.

asyncio's own listener tells nobody of a connection before its handshake is over, so those of
clients that begin one and say nothing more would be counted by nobody.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from quorate.http.protocol import HttpConnection

if TYPE_CHECKING:
    from quorate.http.server import HttpServer

BACKLOG: Final = 1024
"""Connections that wait to be accepted. Ours."""

ACCEPT_PAUSE_SECONDS: Final = 0.1
"""After accepting failed, for want of file descriptors or memory. Ours."""

SHUTDOWN_SECONDS: Final = 2.0
"""How long a client may take to confirm the end of the TLS session. Ours."""


class Handshake(asyncio.Protocol):
    """A connection before HTTP begins."""

    def __init__(self, server: HttpServer, peer_address: str) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None
        self.peer_address = peer_address
        self.deadline = server.now + server.limits.handshake_seconds_max
        self.is_busy = False

    async def run(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        """Shake hands; HTTP goes on from there by itself. Returns when that begins, or never."""
        self._task = asyncio.current_task()
        try:
            # asyncio has a time-out of its own, of a minute: the server's sweep is sooner.
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self, connection, ssl=context, ssl_shutdown_timeout=SHUTDOWN_SECONDS
            )
        except OSError:  # TLS's refusals are such, too
            self._server.handshakes_failed += 1
        finally:
            self._server.forget(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over to HTTP: the handshake is done."""
        self._server.forget(self)
        connection = HttpConnection(self._server)
        cast("asyncio.Transport", transport).set_protocol(connection)
        connection.connection_made(transport)

    def time_out(self) -> None:
        """Give up."""
        if self._task is not None:
            self._server.handshakes_failed += 1
            self._task.cancel()

    def close_if_idle(self) -> None:
        """Give up: there is no request yet."""
        self.time_out()


class TlsListener:
    """Accepts connections for a server and shakes hands."""

    def __init__(self, server: HttpServer, context: Callable[[], ssl.SSLContext]) -> None:
        """`context` is asked for at each connection, so that a new certificate is used at once."""
        self._server = server
        self._context = context
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        """The port listened on."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    def open(self, host: str, port: int) -> None:
        """Listen on all addresses of a host. Raises OSError."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in found:
                listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
                listener.settimeout(0)
                self._sockets.append(listener)
        except OSError:
            self.close()
            raise

    async def accept_forever(self) -> None:
        """Serve until closed or cancelled; then no handshake is under way any more."""
        async with asyncio.TaskGroup() as tasks:
            self._accepting = [
                tasks.create_task(self._accept(listener, tasks)) for listener in self._sockets
            ]

    def close(self) -> None:
        """Stop listening; handshakes go on."""
        if not self._accepting:
            for listener in self._sockets:
                listener.close()
        for accepting in self._accepting:
            accepting.cancel()

    async def _accept(self, listener: socket.socket, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, address = await loop.sock_accept(listener)
                except OSError:
                    await asyncio.sleep(ACCEPT_PAUSE_SECONDS)
                    continue
                handshake = Handshake(self._server, str(address[0]))
                if self._server.admit(handshake):
                    tasks.create_task(handshake.run(connection, self._context()))
                else:
                    connection.close()
                await asyncio.sleep(0)  # who is connected has a turn, however many want to be
