"""DynamoDB's JSON protocol over HTTP: headers in, a call out, the answer with its checksum.

Who may call is `router.authentication`'s to say. Answers are compressed for clients that ask so;
the checksum is then of the compressed bytes, as DynamoDB's is.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from binascii import crc32
from collections.abc import Callable, Collection
from typing import Final, Protocol

from model.errors import MissingAuthenticationToken, ModelError, UnknownOperation
from quorate.http.exchange import Exchange, Refused
from router.authentication import Authentication
from router.call import Call, CallObserver
from router.content_coding import DECODED, BodyTooLarge, UnknownCoding
from router.operations.not_served import STREAM_OPERATIONS
from router.refusals import Overloaded, router_full
from router.request_id import new_request_id, request_id_of
from router.run_queue import RunQueue

TARGET: Final = b"DynamoDB_20120810"
STREAMS_TARGET: Final = b"DynamoDBStreams_20120810"
"""What stands before the operation's name in X-Amz-Target."""

REQUEST_ID_SUFFIX: Final = b"QUORATE0QUORATE0Q012"
"""DynamoDB's request ids have 52 characters of 0-9A-V: the 32 of ours, and these."""

MEDIA_TYPE: Final = b"application/x-amz-json-1.0"
MEDIA_TYPES: Final = (MEDIA_TYPE, b"application/x-amz-json-1.1", b"application/json")
ANSWER_HEADERS: Final = {
    media_type: b"Content-Type: " + media_type + b"\r\n"
    b"x-amzn-RequestId: %b" + REQUEST_ID_SUFFIX + b"\r\n"
    b"x-amz-crc32: %d\r\n%b%b"
    for media_type in MEDIA_TYPES
}
"""By the request's media type, which is the answer's too. Each takes the request id in hex, the
body's checksum, and two times more headers."""

GZIP_HEADER: Final = b"Content-Encoding: gzip\r\n"
TAKEN_CODINGS: Final = b"Accept-Encoding: " + DECODED + b"\r\n"
UNKNOWN_OPERATION_PAGE: Final = b"<UnknownOperationException/>\n"
"""What DynamoDB answers to something that is not a call at all."""

SMALL_BODY_BYTES_MAX: Final = 64 << 10
"""Longest body of what is no call, or of an operation that does not exist. Ours."""

COMPRESSED_BYTES_MIN: Final = 4 << 10
"""Shortest answer that is compressed. Ours: DynamoDB has a bound too, and does not tell it."""

COMPRESSED_HERE_BYTES_MAX: Final = 32 << 10
"""Longest answer that is compressed in the loop's own thread: less than a millisecond. Ours."""

ZERO_WEIGHT: Final = re.compile(rb"q=0(\.0*)?")
"""How a client says what it does not take. Source: RFC 9110, section 12.4.2."""

COMPRESSION_LEVEL: Final = 1
"""zlib's level. Ours: higher ones take several times as long for some percent less."""

JSON: Final = b"Content-Type: " + MEDIA_TYPE + b"\r\n"
NO_TOKEN_BODY: Final = MissingAuthenticationToken().document

REFUSED_BODY: Final = router_full().document
REFUSED_CHECKSUM: Final = crc32(REFUSED_BODY)

assert len(REQUEST_ID_SUFFIX) + 32 == 52


class Executor(Protocol):
    """The part of the service that this face needs."""

    @property
    def door_is_closed(self) -> bool:
        """Whether a call is to be refused before anything is done for it."""
        ...

    def count_refusal(self) -> None:
        """Count a call that was refused at the door."""
        ...

    def body_bytes_max(self, operation: str) -> int:
        """Return how long a request of an operation may be, 0 for one that does not exist."""
        ...

    def execute_json(
        self, operation: str, raw: bytes | bytearray, call: Call, coding: bytes = b""
    ) -> None:
        """Run an operation on a JSON text; the call is answered in any case."""
        ...


class HttpCall(Call):
    """A call that came as an HTTP request."""

    __slots__ = ("answer_headers", "cors_headers", "exchange")

    def __init__(
        self,
        observer: CallObserver,
        request_id: bytes,
        started: float,
        deadline: float,
        exchange: Exchange,
        answer_headers: bytes,
        cors_headers: bytes,
    ) -> None:
        Call.__init__(self, observer, request_id, started, deadline)
        self.exchange = exchange
        self.answer_headers = answer_headers
        self.cors_headers = cors_headers

    @property
    def authority(self) -> str:
        """The Host header."""
        return self.exchange.headers.get(b"host", b"").decode("ascii", "replace")

    @property
    def network(self) -> str:
        """What the client's address is counted under."""
        return self.exchange.network

    @property
    def traceparent(self) -> str:
        """The header, if there is one."""
        return self.exchange.headers.get(b"traceparent", b"").decode("ascii", "replace")

    def send_answer(self, body: bytes) -> None:
        """Write the response."""
        if len(body) >= COMPRESSED_BYTES_MIN:
            wanted = self.exchange.headers.get(b"accept-encoding")
            if wanted is not None and _takes_gzip(wanted):
                self._compress(body)
                return
        self._reply(200, body)

    def send_error(self, error: ModelError) -> None:
        """Write the error's document."""
        more_headers = TAKEN_CODINGS if isinstance(error, UnknownCoding) else b""
        self._reply(error.http_status, error.document, more_headers)

    def _compress(self, body: bytes) -> None:
        if len(body) <= COMPRESSED_HERE_BYTES_MAX:
            self._reply(200, _gzip(body), GZIP_HEADER)
            return
        packing = asyncio.get_running_loop().run_in_executor(None, _gzip, body)
        packing.add_done_callback(lambda packed: self._reply(200, packed.result(), GZIP_HEADER))

    def _reply(self, status: int, body: bytes, more_headers: bytes = b"") -> None:
        self.exchange.reply(
            status,
            self.answer_headers
            % (
                self.request_id.hex().upper().encode(),
                crc32(body),
                more_headers,
                self.cors_headers,
            ),
            body,
        )


class HttpFace:
    """Turns exchanges into calls. `handle` is the handler of an `HttpServer`, and this its door."""

    def __init__(
        self,
        service: Executor,
        observer: CallObserver,
        clock: Callable[[], float],
        *,
        authentication: Authentication,
        request_timeout_ms: int,
        call_soon: Callable[[Callable[[], None]], object],
        cors_origins: Collection[str] = (),
        probe_status: int = 200,
    ) -> None:
        """`call_soon` is the loop's: calls run after all that has arrived was read.

        `probe_status` is what `GET /` answers: 200 as DynamoDB does, or DynamoDB Local's 400.
        """
        self._service = service
        self._observer = observer
        self._clock = clock
        self._authentication = authentication
        self._timeout_seconds = request_timeout_ms / 1000
        self._queue = RunQueue(self._serve, clock, call_soon)
        self._cors_origins = {origin.encode() for origin in cors_origins}
        self._probe_status = probe_status

    def handle(self, exchange: Exchange) -> None:
        """Take one HTTP request: refuse it at once, or let it wait for its turn."""
        if exchange.method != b"POST":
            self._handle_other(exchange)
            return
        if self.is_closed:
            answer_headers = _answer_headers(exchange.headers) or ANSWER_HEADERS[MEDIA_TYPE]
            status, headers, body = self._refusal(answer_headers)
            if self._cors_origins:
                headers += self._cors_headers(exchange.headers)
            exchange.refuse(status, headers, body)
        else:
            self._queue.put(exchange, self._clock())

    def drop_waiting(self) -> None:
        """Forget the calls that were read and not run: their connections are dropped."""
        self._queue.clear()

    @property
    def is_closed(self) -> bool:
        """Whether what comes now is to be refused: it could not be run soon, or the nodes' part."""
        return self._queue.is_behind or self._service.door_is_closed

    def refusal(self) -> tuple[int, bytes, bytes]:
        """Return the answer at the door to a request of the usual media type."""
        return self._refusal(ANSWER_HEADERS[MEDIA_TYPE])

    def body_bytes_max(self, exchange: Exchange) -> int:
        """Return how long the body may be of a request of which the header is here.

        Raises Refused for a call that would not be served: its body need not come.
        """
        headers = exchange.headers
        answer_headers = _answer_headers(headers)
        operation = _operation_of(headers.get(b"x-amz-target", b""))
        if exchange.method != b"POST" or answer_headers is None or not operation:
            return SMALL_BODY_BYTES_MAX
        if self.is_closed:
            raise Refused(*self._refusal(answer_headers))
        try:
            if self._authentication.is_required:
                self._authentication.check_header(exchange)
            bytes_max = self._service.body_bytes_max(operation) or SMALL_BODY_BYTES_MAX
            if int(exchange.headers.get(b"content-length", b"0")) > bytes_max:
                raise BodyTooLarge(f"A request of {operation} has {bytes_max} bytes at most.")
        except ModelError as error:
            request_id = request_id_of(headers.get(b"amz-sdk-invocation-id", b""))
            self._authentication.refusal_log.write(operation, exchange.peer, request_id, error)
            raise Refused(
                error.http_status,
                answer_headers
                % (
                    request_id.hex().upper().encode(),
                    crc32(error.document),
                    b"",
                    self._cors_headers(headers) if self._cors_origins else b"",
                ),
                error.document,
            ) from None
        return bytes_max

    def _refusal(self, answer_headers: bytes) -> tuple[int, bytes, bytes]:
        """Return the answer at the door. It must cost next to nothing: no call is made."""
        self._service.count_refusal()
        self._observer.answered(Overloaded)
        request_id = new_request_id().hex().upper().encode()
        headers = answer_headers % (request_id, REFUSED_CHECKSUM, b"", b"")
        return Overloaded.http_status, headers, REFUSED_BODY

    def _serve(self, exchange: Exchange, started: float) -> None:
        headers = exchange.headers
        answer_headers = _answer_headers(headers)
        if answer_headers is None:
            self._observer.answered(UnknownOperation)
            exchange.reply(404, b"Content-Type: text/plain\r\n", UNKNOWN_OPERATION_PAGE)
            return
        call = HttpCall(
            self._observer,
            request_id_of(headers.get(b"amz-sdk-invocation-id", b"")),
            started,
            started + self._timeout_seconds,
            exchange,
            answer_headers,
            self._cors_headers(headers) if self._cors_origins else b"",
        )
        operation = _operation_of(headers.get(b"x-amz-target", b""))
        if operation and not self._admit(exchange, call):
            return
        coding = headers.get(b"content-encoding", b"")
        self._service.execute_json(operation, exchange.body, call, coding)

    def _admit(self, exchange: Exchange, call: HttpCall) -> bool:
        """Return whether the request may be served; if not, it is answered."""
        try:
            call.user = self._authentication.admit_http(exchange)
        except ModelError as error:
            target = exchange.headers[b"x-amz-target"].decode("latin-1")
            self._authentication.refusal_log.write(target, exchange.peer, call.request_id, error)
            call.fail(error)
            return False
        return True

    def _handle_other(self, exchange: Exchange) -> None:
        """Serve what is not a call: liveness probes, CORS preflights."""
        method = exchange.method
        plain = b"Content-Type: text/plain\r\n"
        if method in (b"GET", b"HEAD"):
            if exchange.path not in (b"/", b"/?"):
                exchange.reply(404, plain, UNKNOWN_OPERATION_PAGE)
            elif self._probe_status == MissingAuthenticationToken.http_status:
                exchange.reply(self._probe_status, JSON, NO_TOKEN_BODY)
            else:
                host = exchange.headers.get(b"host", b"")
                exchange.reply(200, plain, b"healthy: %b " % host)
        elif method == b"OPTIONS":
            cors = self._cors_headers(exchange.headers)
            if cors:
                cors += (
                    b"Access-Control-Allow-Methods: POST, GET, OPTIONS\r\n"
                    b"Access-Control-Allow-Headers: *, authorization, content-type\r\n"
                    b"Access-Control-Max-Age: 600\r\n"
                )
            exchange.reply(200, b"Allow: POST, GET, HEAD, OPTIONS\r\n" + cors, b"")
        else:
            exchange.reply(405, plain + b"Allow: POST, GET, HEAD, OPTIONS\r\n", b"")

    def _cors_headers(self, headers: dict[bytes, bytes]) -> bytes:
        """Let pages of the origins that were named in the options read the answer; no others."""
        origin = headers.get(b"origin", b"")
        if not origin or (origin not in self._cors_origins and b"*" not in self._cors_origins):
            return b""
        return (
            b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n"
            b"Access-Control-Expose-Headers: x-amzn-RequestId, x-amz-crc32\r\n" % origin
        )


def _answer_headers(headers: dict[bytes, bytes]) -> bytes | None:
    """Return the headers to answer a request with, None if its media type is not a call's."""
    content_type = headers.get(b"content-type", b"")
    found = ANSWER_HEADERS.get(content_type)
    if found is None:  # in other words, maybe: RFC 9110, section 8.3.1
        found = ANSWER_HEADERS.get(content_type.partition(b";")[0].strip().lower())
    return found


def _operation_of(target: bytes) -> str:
    """Return the operation that X-Amz-Target names, empty if it is of another service."""
    service, _, name = target.partition(b".")
    operation = name.decode("ascii", "replace")
    if service == STREAMS_TARGET:
        return operation if operation in STREAM_OPERATIONS else ""
    return operation if service == TARGET and operation not in STREAM_OPERATIONS else ""


def _takes_gzip(accepted: bytes) -> bool:
    """Return whether an Accept-Encoding header names gzip, and not as what is not wanted."""
    for part in accepted.lower().translate(None, b" \t").split(b","):
        coding, _, weight = part.partition(b";")
        if coding in (b"gzip", b"x-gzip"):
            return ZERO_WEIGHT.fullmatch(weight) is None
    return False


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(COMPRESSION_LEVEL, wbits=31)  # 31: with a gzip header
    return packer.compress(body) + packer.flush()
