"""TLS under HTTP: a layer without I/O of its own between a TCP transport and an `HttpConnection`.

asyncio has one, too. It tells nobody of a connection before its handshake is over, and hides how
many bytes of an answer the client has not taken yet; here both are on the server's books.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from quorate.http.addresses import network_of
from quorate.http.protocol import NEVER, WAITING_SECONDS_MIN, HttpConnection

if TYPE_CHECKING:
    from quorate.http.server import HttpServer

RECORD_BYTES_MAX: Final = 16 << 10
"""Longest content of a record, so of one read. Source: RFC 8446, section 5.1."""


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """The protocol of a TCP transport, and the transport of HTTP from the handshake's end on."""

    def __init__(self, server: HttpServer, context: ssl.SSLContext) -> None:
        super().__init__()
        self._server = server
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._http: HttpConnection | None = None  # once the handshake is over
        self._tcp: asyncio.Transport | None = None  # while it is open
        self._has_ended = False  # our side: nothing more is written, what comes is dropped
        self.peer_network = ""
        self.deadline = NEVER  # of the handshake
        self.is_busy = False
        self.coming_bytes = 0
        self._since = server.now

    # Protocol of the TCP transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or drop it if there are too many."""
        self._tcp = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer_network = network_of(str(peer[0])) if peer else ""
        self.deadline = self._server.now + self._server.limits.handshake_seconds_max
        if not self._server.admit(self):
            self._tcp.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        http, self._http, self._tcp = self._http, None, None
        if http is not None:
            http.connection_lost(exc)
        else:
            self._server.handshakes_failed += 1
            self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake, or decrypt what came."""
        if self._has_ended:
            return
        self._incoming.write(data)
        try:
            if self._http is None:
                self._tls.do_handshake()
                self._begin_http()
            self._read()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError:
            self._has_ended = True
            self._flush()  # the alert that says why
            self.close()

    def eof_received(self) -> bool:
        """Close when the client has said its last word, once it is answered."""
        return self._http is not None and self._http.eof_received()

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        if self._http is not None:
            self._http.resume_writing()

    def _begin_http(self) -> None:
        self._server.forget(self)
        self._http = HttpConnection(self._server)
        self._http.connection_made(self)

    def _read(self) -> None:
        """Give HTTP what can be decrypted. Raises SSLError: SSLWantReadError when that is all."""
        while self._http is not None and not self._has_ended:
            try:
                data = self._tls.read(RECORD_BYTES_MAX)
            except ssl.SSLZeroReturnError:
                data = b""
            if not data:
                if not self._http.eof_received():
                    self.close()
                return
            self._http.data_received(data)

    def _flush(self) -> None:
        if self._outgoing.pending and self._tcp is not None:
            self._tcp.write(self._outgoing.read())

    # Transport of HTTP

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and send."""
        if self._has_ended:
            return
        left = memoryview(data)
        try:
            while left:
                left = left[self._tls.write(left) :]
        except ssl.SSLError:
            # None is known to fail here. If one does, it is this client's affair and not the
            # caller's, who may be answering others, too.
            self.abort()
        self._flush()

    def can_write_eof(self) -> bool:
        """Say that `write_eof` may be called."""
        return True

    def write_eof(self) -> None:
        """Say that nothing more will be written; what still comes is dropped."""
        self._end()
        if self._tcp is not None:
            self._tcp.write_eof()

    def close(self) -> None:
        """Close when all is sent. The client's own end of the session is not waited for."""
        self._end()
        if self._tcp is not None:
            self._tcp.close()

    def _end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            with contextlib.suppress(ssl.SSLError):  # the client's end is not here yet, usually
                self._tls.unwrap()
            self._flush()

    def abort(self) -> None:
        """Close now."""
        self._has_ended = True
        if self._tcp is not None:
            self._tcp.abort()

    def pause_reading(self) -> None:
        """Let the client wait; what has been received already still comes."""
        if self._tcp is not None:
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if self._tcp is not None:
            self._tcp.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say at how many unsent bytes `pause_writing` and `resume_writing` are called."""
        if self._tcp is not None:
            self._tcp.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are unsent."""
        return 0 if self._tcp is None else self._tcp.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401  (asyncio's)
        """Return what the TCP transport knows."""
        return default if self._tcp is None else self._tcp.get_extra_info(name, default)

    # For the server, during the handshake

    def time_out(self) -> None:
        """Give up."""
        self.abort()

    def close_if_idle(self) -> None:
        """Give up: there is no request yet."""
        self.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether the handshake takes its time; with its end this leaves the books."""
        return self._server.now - self._since >= WAITING_SECONDS_MIN

    def end(self) -> None:
        """Give up, to make room."""
        self.abort()

    def refuse_body(self) -> None:
        """There is none."""
        raise AssertionError("a handshake has no body")
