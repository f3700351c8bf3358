"""The listener of an HTTP face, and the books on all its connections: how many, how much they hold.

Time-outs come from one sweep over all connections, not from a timer for each.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from quorate.http.acceptor import Acceptor
from quorate.http.addresses import network_of
from quorate.http.books import Books
from quorate.http.exchange import Door, Exchange, Refused
from quorate.http.limits import HttpLimits
from quorate.http.protocol import NEVER, HttpConnection
from quorate.http.tls import TlsConnection

REFUSALS_MAX: Final = 256
"""Most requests that are refused in one pass of the loop, but for each connection's first: it takes
some milliseconds, and the rest of the loop's work must not wait for longer. Ours."""

ACCEPTED_MAX: Final = 64
"""Most connections taken in one pass of the loop: as long as refusals may take. Ours."""

HANDSHAKES_MAX: Final = 8
"""Most of them with TLS, whose handshakes take 0.4 to 0.8 ms each. Ours."""

GOLDEN_RATIO: Final = 0.618034
"""Its multiples spread evenly between two whole numbers, however many there are."""

SWEEP_SECONDS: Final = 0.5
"""How coarse the time-outs of connections are. Ours."""


class HttpServer:
    """The listener and all its connections."""

    def __init__(
        self,
        handler: Callable[[Exchange], None],
        limits: HttpLimits,
        *,
        tls: Callable[[], ssl.SSLContext] | None = None,
        door: Door | None = None,
        age_seconds_max: float = NEVER,
    ) -> None:
        """With `tls`, which gives the context for a new connection, nothing is spoken but TLS.

        A connection of `age_seconds_max`, give or take a tenth, ends with its next answer.

        `door` refuses what the handler would refuse as well, for a part of the cost.
        """
        self.handler = handler
        self.door = door
        self.limits = limits
        self._age_seconds_max = age_seconds_max
        self.now = 0.0  # monotonic seconds, as of the last sweep
        self.date = b""  # for the Date header, as of the last sweep
        self.stopping = False
        self.refusals: dict[int, int] = {}  # answers given here, before the handler, by status
        self.handshakes_failed = 0  # refused, broken off or too slow
        self.books: Books[HttpConnection | TlsConnection] = Books(limits)
        self._admitted_count = 0
        self._refused_count = 0  # in this pass of the loop
        self._next_pass_is_due = False
        self._resting: deque[HttpConnection] = deque()
        self._tls = tls
        self._acceptor = Acceptor(
            self._make_protocol,
            self._farewell,
            count_max=ACCEPTED_MAX if tls is None else HANDSHAKES_MAX,
        )

    @property
    def connection_count(self) -> int:
        """How many connections are open, handshakes included."""
        return len(self.books)

    @property
    def busy_count(self) -> int:
        """How many connections have a request that comes or is answered, or an answer to send."""
        return sum(connection.is_busy for connection in self.books)

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._acceptor.port

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError if the address cannot be had."""
        self._read_clocks()
        await self._acceptor.listen(host, port)

    def _make_protocol(self) -> HttpConnection | TlsConnection:
        return HttpConnection(self) if self._tls is None else TlsConnection(self, self._tls())

    async def sweep_forever(self) -> None:
        """Close connections whose time is up, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._read_clocks()
            self.sweep()

    def _read_clocks(self) -> None:
        self.now = time.monotonic()
        self.date = formatdate(usegmt=True).encode()

    def sweep(self) -> None:
        """Close connections whose time is up."""
        self.books.begin_period()
        now = self.now
        for connection in [each for each in self.books if each.deadline <= now]:
            connection.time_out()

    def stop_accepting(self) -> None:
        """Close the listener; connections end with their next answer."""
        self.stopping = True
        self._acceptor.close()

    def close_idle(self) -> None:
        """Close the connections on which no request is received or answered."""
        for connection in list(self.books):
            connection.close_if_idle()

    def drop_all(self) -> None:
        """Drop all connections with what lies in them unread, and those that wait to be taken."""
        self._resting.clear()
        for connection in list(self.books):
            connection.abort()
        self._acceptor.drop_waiting()

    def abort_all(self) -> None:
        """End every connection that is left at a stop."""
        for connection in list(self.books):
            connection.deadline = 0.0
            connection.time_out()

    # For connections

    def rest_after_refusal(self, connection: HttpConnection) -> bool:
        """Return whether a connection must rest; it is woken in the loop's next pass, or later.

        As many as may be refused in one pass are woken in each.
        """
        self._refused_count += 1
        self._expect_next_pass()
        if self._refused_count <= REFUSALS_MAX:
            return False
        self._resting.append(connection)
        return True

    def _expect_next_pass(self) -> None:
        if not self._next_pass_is_due:
            self._next_pass_is_due = True
            asyncio.get_running_loop().call_soon(self._next_pass)

    def _next_pass(self) -> None:
        self._next_pass_is_due = False
        self._refused_count = 0
        for _ in range(min(len(self._resting), REFUSALS_MAX)):
            self._resting.popleft().wake()
        if self._resting:
            self._expect_next_pass()

    def admit(self, connection: HttpConnection | TlsConnection) -> bool:
        """Take a connection into the books if there is room; return whether there was."""
        if self.stopping or not self.books.make_room(connection.peer_network):
            return False
        self.books.add(connection, self.now + self._age_of_next())
        return True

    def _age_of_next(self) -> float:
        """Return how old the next connection may become: those that came together go apart."""
        self._admitted_count += 1
        spread = self._admitted_count * GOLDEN_RATIO % 1
        return self._age_seconds_max * (0.9 + 0.2 * spread)

    def is_leaving(self, connection: HttpConnection) -> bool:
        """Return whether a connection is to end with its next answer."""
        return self.stopping or self.books.is_old(connection, self.now)

    def _farewell(self, address: str) -> bytes | None:
        """Return what a client is told for whose connection there is no room, None if there is."""
        if self.books.make_room(network_of(address)):
            return None
        if self._tls is not None:
            self.handshakes_failed += 1
            return b""
        self.count_refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        return Refused(HTTPStatus.SERVICE_UNAVAILABLE).answer()

    def forget(self, connection: HttpConnection | TlsConnection) -> None:
        """Strike a connection off the books, if it was ever on them."""
        self.books.remove(connection)

    def count_refusal(self, status: int) -> None:
        """Count an answer that was given before the handler saw the request."""
        self.refusals[status] = self.refusals.get(status, 0) + 1
