"""HTTP/1.1 with every limit of its own: sizes, counts, times, connections, back-pressure.

Knows nothing of DynamoDB: a handler gets an `Exchange` and replies to it, at once or later.
One exchange at a time per connection; what a client pipelines waits, and not without bound.
What all connections share, and the sweep that ends those whose time is up: `quorate.http.server`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools

from quorate.http.addresses import network_of
from quorate.http.exchange import STATUS_LINES, Exchange, Refused
from quorate.http.framing import LENGTH_DIGITS_MAX, framing_header, without_tab_behind_coding
from quorate.http.target import BadTarget, host_and_path
from quorate.http.whole_request import is_whole_request

if TYPE_CHECKING:
    from quorate.http.server import HttpServer

NEVER: Final = float("inf")
DRAIN_SECONDS: Final = 2.0
"""How long the rest of a refused request is read and dropped, so that the client sees the answer
and not a reset. Ours."""

WAITING_SECONDS_MIN: Final = 1.0
"""A connection that has asked nothing for so long may end for a new one. Ours: clients that all
come at once must not push each other out."""


class HttpConnection(asyncio.Protocol):
    """One connection: bytes in, exchanges out, replies back.

    Invariant: at most one exchange is with the handler (`_current`).
    """

    __slots__ = (
        "_chunked_bytes",
        "_counted_bytes",
        "_current",
        "_draining",
        "_exchange",
        "_framing",
        "_header_begins",
        "_header_bytes",
        "_headers",
        "_in_headers",
        "_is_chunked",
        "_parser",
        "_path",
        "_queue",
        "_read_bytes",
        "_reading_paused",
        "_server",
        "_transport",
        "_unsent_bytes",
        "_waiting_since",
        "_write_paused",
        "deadline",
        "peer_address",
        "peer_network",
    )

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: dict[bytes, bytes] = {}
        self._read_bytes = 0  # of the newest read
        self._header_begins = False  # in the newest read
        self._header_bytes = 0  # of the header, in reads before the newest
        self._in_headers = False
        self._exchange: Exchange | None = None  # being received
        self._current: Exchange | None = None  # being answered
        self._queue: deque[Exchange] = deque()
        self._counted_bytes = 0  # of bodies received and not yet answered
        self._framing = b""  # of a body that follows an offered upgrade, until that is declined
        self._is_chunked = False  # the body being received
        self._chunked_bytes = 0  # of it, with its framing, but for what came with the header
        self._unsent_bytes = 0  # of an answer that is larger than the write buffer
        self._waiting_since = server.now  # for a request, if none is being answered
        self._reading_paused = False
        self._write_paused = False
        self._draining = False  # refused or closing: what still comes is dropped
        self.deadline = NEVER  # when the sweep closes this connection
        self.peer_address = ""
        self.peer_network = ""

    # Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection, or turn it away if there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.peer_address = str(peer[0]) if peer else ""
        self.peer_network = network_of(self.peer_address)
        limits = self._server.limits
        self._transport.set_write_buffer_limits(high=limits.write_buffer_bytes)
        self.deadline = self._server.now + limits.header_seconds_max
        if not self._server.admit(self):  # a stop has begun, or others came since it was accepted
            # Not drained as other refusals are: what is over the limit must not stay.
            self._draining = True
            self._write_refusal(Refused(503))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        """Forget the connection; an answer that is still to come goes nowhere."""
        self._transport = None
        del self._parser  # it knows us too, and the cycle collector seldom comes
        self._queue.clear()
        self._exchange = None
        self._release_body(self._counted_bytes)
        self._release_unsent()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; whole requests go to the handler from within."""
        is_idle, plain = self._is_idle, None
        if self._draining or (is_idle and self._turn_away(data)):
            return
        try:
            self._read_bytes = len(data)
            self._header_begins = False
            if self._is_chunked:
                self._chunked_bytes += len(data)
            self._feed(data)
            if self._in_headers:
                self._check_open_header()
            elif self._is_chunked:
                self._check_chunks()
        except Refused as refused:
            self._refuse(refused)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, Refused):
                raise
            self._refuse(cause)
        except httptools.HttpParserError:
            plain = without_tab_behind_coding(data) if is_idle else None
            if plain is None:
                self._refuse(Refused(400))
        if plain is not None:  # the tab is all that the parser had against the request
            self._parser = httptools.HttpRequestParser(self)
            self._exchange, self._headers, self._in_headers = None, {}, False
            self.data_received(plain)

    def _turn_away(self, data: bytes) -> bool:
        """Refuse a request unparsed if none is taken now; return whether that was done."""
        door = self._server.door
        if door is None or self._server.stopping or not door.is_closed:
            return False
        if not is_whole_request(data, self._server.limits.header_bytes_max):
            return False
        status, headers, body = door.refusal()
        self._write_answer(status, headers, body)
        self.rest()
        return True

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The other protocol is not wanted, as HTTP allows; the parser stops all the same.
                # Another one reads what follows, once it is told how that is framed.
                self._parser = httptools.HttpRequestParser(self)
                data = self._framing + data[upgrade.args[0] :]
            else:
                return

    def _check_open_header(self) -> None:
        """Refuse a header that is too large already, before its end has come."""
        if self._header_begins:  # somewhere in this read, behind other things
            self._header_bytes = self._fields_size()
        else:
            self._header_bytes += self._read_bytes
        if self._header_bytes > self._server.limits.header_bytes_max:
            raise Refused(431)

    def _fields_size(self) -> int:
        """Return how many bytes the header fields parsed so far have, with the request line."""
        return len(self._path) + sum(
            len(name) + len(value) + 4 for name, value in self._headers.items()
        )

    def _check_chunks(self) -> None:
        """Refuse a body that is framing for the most part: endless extensions or trailers."""
        if self._exchange is not None:
            framing_bytes = self._chunked_bytes - len(self._exchange.body)
            if framing_bytes > len(self._exchange.body) + self._server.limits.header_bytes_max:
                raise Refused(400)

    def eof_received(self) -> bool:
        """Close when the client has said its last word, once it is answered."""
        if self._current is None:
            return False
        self._current.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Stop taking requests from a client that does not read its answers."""
        assert self._transport is not None
        self._write_paused = True
        self.deadline = self._server.now + self._server.limits.write_seconds_max
        self._pause_reading()
        size_bytes = self._transport.get_write_buffer_size()
        if self._server.books.reserve_unsent(self, size_bytes):
            self._unsent_bytes = size_bytes
        else:
            self._transport.abort()

    def resume_writing(self) -> None:
        """Go on when the client has read enough."""
        self._write_paused = False
        self._release_unsent()
        if not self._draining:
            self.deadline = self._input_deadline()
            self._pump()

    # Parser

    def on_message_begin(self) -> None:
        """A request starts."""
        self._in_headers = True
        self._header_begins = True
        self._header_bytes = 0
        self._path = b""
        if self._current is None:
            self.deadline = self._server.now + self._server.limits.header_seconds_max

    def on_url(self, url: bytes) -> None:
        """The request target, or a part of it."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field. This is the most frequent call of all: the limits wait.

        Blanks around a value are no part of it; those before it are gone already.
        """
        headers = self._headers
        name = name.lower()
        value = value.rstrip()
        if name in headers:
            value = headers[name] + b"," + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        """All header fields are here: refuse what must not be read on."""
        headers = self._headers
        if self._framing:  # this is no header, but the framing alone of what one has announced
            self._framing, self._headers, self._in_headers = b"", {}, False
            if self._current is None:
                self.deadline = self._input_deadline()
            return
        self._check_header_size(headers)
        self._headers = {}  # what comes after these are trailers
        length = headers.get(b"content-length")
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (length is not None or coding.lower() != b"chunked"):
            raise Refused(400)
        announced_bytes = 0 if length is None else self._announced(length)
        parser = self._parser
        keep_alive, version = parser.should_keep_alive(), "1.1"
        if not keep_alive or b"connection" in headers:  # else no other version is possible
            version = self._version()
        method = parser.get_method()
        if method == b"CONNECT":
            raise Refused(405)
        path = self._path
        if path != b"/" and not path.startswith(b"/"):
            path = self._path_of_url(headers)
        if parser.should_upgrade():
            self._framing = framing_header(length, coding)
        self._in_headers = False
        self._is_chunked = coding is not None
        self._chunked_bytes = 0
        limits = self._server.limits
        self._exchange = exchange = Exchange(
            self,
            method,
            path,
            headers,
            # HTTP/1.0's way to keep a connection is not worth its header in every answer.
            keep_alive=keep_alive and version != "1.0",
        )
        exchange.body_bytes_max = limits.body_bytes_max
        if coding is not None or announced_bytes > limits.body_bytes_small:
            self._ask_about_body(exchange, announced_bytes)
        if self._current is None:
            self.deadline = self._input_deadline()
            if b"expect" in headers and version != "1.0":
                self._tell_to_continue(headers[b"expect"])

    def _check_header_size(self, headers: dict[bytes, bytes]) -> None:
        """Refuse too large a header. Few can come near the limit; only those are counted."""
        limits = self._server.limits
        if len(headers) > limits.headers_max or (
            self._header_bytes + self._read_bytes > limits.header_bytes_max
            and self._fields_size() > limits.header_bytes_max
        ):
            raise Refused(431)

    def _announced(self, length: bytes) -> int:
        if len(length) <= LENGTH_DIGITS_MAX:
            announced_bytes = int(length)
            if announced_bytes <= self._server.limits.body_bytes_max:
                return announced_bytes
        raise Refused(413)

    def _ask_about_body(self, exchange: Exchange, announced_bytes: int) -> None:
        """Let the door look at a request before a body comes that is not small, or may not be."""
        door = self._server.door
        if door is not None:
            exchange.body_bytes_max = door.body_bytes_max(exchange)
            if announced_bytes > exchange.body_bytes_max:
                raise Refused(413)

    def _version(self) -> str:
        version: str = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise Refused(400)
        return version

    def _tell_to_continue(self, expectation: bytes) -> None:
        if expectation.lower() == b"100-continue":
            assert self._transport is not None
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _path_of_url(self, headers: dict[bytes, bytes]) -> bytes:
        """Return the path of a target that is a whole URL; its host is the request's."""
        if self._path == b"*":
            return self._path
        try:
            host, path = host_and_path(self._path, headers.get(b"host", b""))
        except BadTarget:
            raise Refused(400) from None
        headers[b"host"] = host
        return path

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        exchange = self._exchange
        assert exchange is not None
        size_bytes = len(exchange.body) + len(data)
        if size_bytes > exchange.body_bytes_max:
            raise Refused(413)
        if size_bytes > self._server.limits.body_bytes_small:
            self._count_body(exchange, size_bytes - exchange.counted_bytes)
        if not exchange.body:
            exchange.body = data
        elif isinstance(exchange.body, bytearray):
            exchange.body += data
        else:
            exchange.body = bytearray(exchange.body) + data

    def _count_body(self, exchange: Exchange, size_bytes: int) -> None:
        if not self._server.books.reserve_body(self, size_bytes):
            raise Refused(503)
        exchange.counted_bytes += size_bytes
        self._counted_bytes += size_bytes

    def on_message_complete(self) -> None:
        """A whole request is here."""
        if self._framing:
            return  # to this parser nothing follows an offered upgrade
        if self._draining:
            return  # behind an answer that has closed the connection, in the same read
        exchange = self._exchange
        assert exchange is not None
        if self._headers:
            raise Refused(400)  # nobody needs trailers, and the header has been judged
        self._exchange = None
        if self._current is None and not self._queue and not self._reading_paused:
            self._start(exchange)
            return
        self._queue.append(exchange)
        if len(self._queue) > self._server.limits.pipelined_max:
            raise Refused(503)
        self._pause_reading()

    # Exchanges

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self.deadline = NEVER  # the handler has deadlines of its own
        self._server.handler(exchange)

    def reply(self, exchange: Exchange, status: int, headers: bytes, body: bytes) -> None:
        """Write the answer of the exchange that is being answered."""
        transport = self._transport
        if exchange is not self._current or transport is None:
            return  # the client has gone
        self._current = None
        self._release_body(exchange.counted_bytes)
        keep_alive = exchange.keep_alive and not self._server.is_leaving(self)
        if not keep_alive:
            headers += b"Connection: close\r\n"
        self._write_answer(status, headers, body, headers_only=exchange.method == b"HEAD")
        if not keep_alive:
            self._draining = True
            self.deadline = self._server.now + self._server.limits.write_seconds_max
            transport.close()
        elif self._queue:
            # Not from here: a handler that answers at once would nest as deep as the queue is long.
            asyncio.get_running_loop().call_soon(self._pump)

    def _write_answer(
        self, status: int, headers: bytes, body: bytes, *, headers_only: bool = False
    ) -> None:
        assert self._transport is not None
        head = b"%sDate: %s\r\nContent-Length: %d\r\n%s\r\n" % (
            STATUS_LINES[status],
            self._server.date,
            len(body),
            headers,
        )
        self.deadline = self._input_deadline()
        self._waiting_since = self._server.now
        self._transport.write(head if headers_only else head + body)

    def rest(self) -> None:
        """After a refusal: read nothing more before the loop's next pass, if there were many."""
        if (
            self._transport is not None
            and not self._draining
            and self._server.rest_after_refusal(self)
        ):
            self._pause_reading()

    def wake(self) -> None:
        """Go on after a rest."""
        self._pump()

    def _pump(self) -> None:
        """Start the next exchange that waits, if nothing is in the way."""
        if self._transport is None or self._write_paused or self._draining:
            return
        if self._current is None and self._queue:
            self._start(self._queue.popleft())
        if not self._queue and self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def _refuse(self, refused: Refused) -> None:
        """Answer with an error that ends the connection; the rest of the request is dropped."""
        if self._draining:
            return  # closed already, by the answer to what came before in the same read
        transport = self._transport
        self._draining = True
        self._queue.clear()
        self._exchange = None
        kept_bytes = 0 if self._current is None else self._current.counted_bytes
        self._release_body(self._counted_bytes - kept_bytes)
        if transport is None:
            return
        if self._current is not None:
            # An answer is still due on this connection; nothing sensible can follow it.
            self._current.keep_alive = False
            return
        self._write_refusal(refused)
        self.deadline = self._server.now + DRAIN_SECONDS
        if transport.can_write_eof():
            transport.write_eof()
        if self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()

    def _write_refusal(self, refused: Refused) -> None:
        assert self._transport is not None
        self._transport.write(refused.answer())
        self._server.count_refusal(refused.status)

    def _input_deadline(self) -> float:
        """Return until when the client must have sent what it is sending, or begin again."""
        limits, now = self._server.limits, self._server.now
        if self._in_headers:
            return now + limits.header_seconds_max
        if self._exchange is None:
            return now + limits.idle_seconds_max
        expected_bytes = int(self._exchange.headers.get(b"content-length", b"0"))
        return now + limits.body_seconds_max + expected_bytes / limits.body_bytes_per_second_min

    def _release_unsent(self) -> None:
        if self._unsent_bytes:
            self._server.books.release_unsent(self, self._unsent_bytes)
            self._unsent_bytes = 0

    def _release_body(self, size_bytes: int) -> None:
        if size_bytes:
            self._counted_bytes -= size_bytes
            self._server.books.release_body(self, size_bytes)

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def time_out(self) -> None:
        """Close for want of progress: idle, too slow, or refused and drained long enough."""
        if self._transport is not None and self._is_receiving:
            self._refuse(Refused(408))
        else:
            self.abort()

    def end(self) -> None:
        """Close a connection that waits, to make room."""
        if self._transport is not None:
            self._transport.close()

    def refuse_body(self) -> None:
        """Give up the body that comes, to make room."""
        self._refuse(Refused(503))

    @property
    def is_waiting(self) -> bool:
        """Whether nothing has been asked here for a while, but for a part of a header maybe."""
        return (
            self._current is None
            and self._exchange is None
            and not self._queue
            and self._server.now - self._waiting_since >= WAITING_SECONDS_MIN
        )

    @property
    def coming_bytes(self) -> int:
        """How much is counted of the body that comes."""
        return 0 if self._exchange is None else self._exchange.counted_bytes

    @property
    def is_busy(self) -> bool:
        """Whether a request is being received or answered, or its answer is not yet sent."""
        transport = self._transport
        return transport is not None and (
            self._current is not None or self._is_receiving or transport.get_write_buffer_size() > 0
        )

    @property
    def _is_idle(self) -> bool:
        return self._current is None and not (
            self._is_receiving or self._queue or self._write_paused
        )

    @property
    def _is_receiving(self) -> bool:
        return (self._in_headers or self._exchange is not None) and not self._draining

    def close_if_idle(self) -> None:
        """Close unless a request is being received or answered."""
        if self._transport is not None and self._current is None and not self._is_receiving:
            self._transport.close()
