"""One request and the way to answer it, and how a server's owner is asked before it is read."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from quorate.http.protocol import HttpConnection

REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}
STATUS_LINES: Final = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in REASONS.items()
}


class Exchange:
    """One request and the way to answer it. `headers` have lower-case names.

    `body_bytes_max` is how long the body may be, and `counted_bytes` how much of it is on the
    server's books.
    """

    __slots__ = (
        "body",
        "body_bytes_max",
        "connection",
        "counted_bytes",
        "headers",
        "keep_alive",
        "method",
        "path",
    )

    def __init__(
        self,
        connection: HttpConnection,
        method: bytes,
        path: bytes,
        headers: dict[bytes, bytes],
        *,
        keep_alive: bool,
    ) -> None:
        self.connection = connection
        self.method = method
        self.path = path
        self.headers = headers
        self.keep_alive = keep_alive
        self.body: bytes | bytearray = b""
        self.body_bytes_max = 0
        self.counted_bytes = 0

    @property
    def peer(self) -> str:
        """The client's address."""
        return self.connection.peer_address

    @property
    def network(self) -> str:
        """What the client's address is counted under; see `HttpLimits`."""
        return self.connection.peer_network

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer; `headers` are complete lines, without Content-Length and Connection."""
        self.connection.reply(self, status, headers, body)

    def refuse(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer at once that this is not served now; of many, the connections rest for a pass.

        A client may send again as soon as it has read this. The loop would take that in the same
        pass, and so on: refusing thousands of clients, it would come to nothing else for seconds.
        """
        self.connection.reply(self, status, headers, body)
        self.connection.rest()


class Refused(Exception):
    """What comes on a connection is refused: answer, then close.

    `headers` and `body` are the answer's; without them it says the status and no more.
    """

    def __init__(self, status: int, headers: bytes = b"", body: bytes = b"") -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body

    def answer(self) -> bytes:
        """Return all that the client is told."""
        headers = self.headers or b"Content-Type: text/plain\r\n"
        body = self.body or REASONS[self.status]
        return b"%s%bContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
            STATUS_LINES[self.status],
            headers,
            len(body),
            body,
        )


class Door(Protocol):
    """Says whether requests are taken now, and which bodies are worth reading."""

    @property
    def is_closed(self) -> bool:
        """Whether what comes now is to be refused. Asked before it is parsed."""

    def refusal(self) -> tuple[int, bytes, bytes]:
        """Return the answer to one request that is refused: status, header lines, body."""

    def body_bytes_max(self, exchange: Exchange) -> int:
        """Return how long the body may be of a request of which the header is here.

        Asked of bodies that are not small. Raises Refused for those that need not come at all.
        """
