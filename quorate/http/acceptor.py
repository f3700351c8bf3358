"""Takes connections in as they come: many in one pass of the loop, but not without bound.

uvloop's own server takes one in each pass. A busy router's takes ten milliseconds and more: of a
thousand clients that come at once, as after a fail-over, the last would wait for ten seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from typing import Final

from quorate.logs import warn

BACKLOG: Final = 4_096
"""Most connections that the kernel keeps until they are taken. Source: Linux' own bound, which a
machine may have set lower."""

REST_SECONDS: Final = 1.0
"""How long nothing is taken when files or memory have run out. Ours, as asyncio's."""

READ_BYTES: Final = 64 << 10
"""Of what a client has sent that is turned away. Ours: more than a header."""

SILENCE_SECONDS_MAX: Final = 25
"""A client whose machine says nothing for so long has gone: what it sent, and its kernel goes on
trying to deliver, must not be read minutes later. Ours: well below the time that nodes remember
request ids."""

PROBE_SECONDS: Final = 5
"""Between two questions whether a silent client is still there. Ours."""

EVERY_ADDRESS: Final = "::"
"""Of both families; IPv4's alone are 0.0.0.0."""

RAN_OUT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, PROBE_SECONDS),
    (socket.TCP_KEEPINTVL, PROBE_SECONDS),
    (socket.TCP_KEEPCNT, SILENCE_SECONDS_MAX // PROBE_SECONDS - 1),
    (socket.TCP_USER_TIMEOUT, 1000 * SILENCE_SECONDS_MAX),
)

RESET: Final = struct.pack("ii", 1, 0)  # linger for no time


class Acceptor:
    """The sockets that listen on one address."""

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.Protocol],
        farewell: Callable[[str], bytes | None],
        count_max: int,
    ) -> None:
        """`make_protocol` is called for each connection that is taken, `count_max` in a pass.

        `farewell` says of a client's address that one more may come, None, or what it is told.
        """
        self._make_protocol = make_protocol
        self._farewell = farewell
        self._count_max = count_max
        self._listeners: list[socket.socket] = []
        self._opening: set[asyncio.Task[object]] = set()

    @property
    def port(self) -> int:
        """The port listened on."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    async def listen(self, host: str, port: int) -> None:
        """Listen on all addresses of a host, on `::` also for IPv4, as gRPC does.

        Raises OSError if one cannot be had.
        """
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for family, _, _, _, address in addresses:
                listener = socket.create_server(
                    address,
                    family=family,
                    backlog=BACKLOG,
                    dualstack_ipv6=address[0] == EVERY_ADDRESS,
                )
                self._listeners.append(listener)
                listener.settimeout(0)
        except OSError:
            self.close()
            raise
        for listener in self._listeners:
            loop.add_reader(listener, self._accept, listener)

    def drop_waiting(self) -> None:
        """Turn away, with a reset, all that have connected until now and are not served yet."""
        for opening in self._opening:
            opening.cancel()
        for listener in self._listeners:
            for _ in range(BACKLOG):
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    break
                except OSError:
                    continue  # of this one connection, which has ended
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()

    def close(self) -> None:
        """Listen no more; what is accepted stays."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._count_max):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in RAN_OUT:
                    continue  # of this one connection, which has ended. Source: accept(2)
                warn("connections_wait", reason=error.strerror)
                loop.remove_reader(listener)
                loop.call_later(REST_SECONDS, self._resume, listener)
                return
            connection.settimeout(0)
            _bound_silence(connection)
            farewell = self._farewell(address[0])
            if farewell is None:
                opening = loop.create_task(
                    loop.connect_accepted_socket(self._make_protocol, connection)
                )
                self._opening.add(opening)
                opening.add_done_callback(self._opening.discard)
            else:
                _turn_away(connection, farewell)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)


def _bound_silence(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _turn_away(connection: socket.socket, farewell: bytes) -> None:
    with connection, contextlib.suppress(OSError):
        if farewell:
            connection.send(farewell)
            connection.recv(READ_BYTES)  # what is not read would make the end a reset
