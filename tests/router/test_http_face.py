"""The HTTP face: what it takes for a call, what it hands on, and how its answers look."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Collection
from zlib import crc32

import orjson
import pytest

from model.errors import ConditionFailed, InternalServerError, ModelError
from quorate.http.exchange import Exchange
from router.authentication import Authentication
from router.call import Call
from router.content_coding import UnknownCoding
from router.http_face import HttpFace
from tests.router.loops import run


class Connection:
    """Takes the place of a connection: keeps what is replied."""

    def __init__(self) -> None:
        self.replies: list[tuple[int, bytes, bytes]] = []

    def reply(self, exchange: Exchange, status: int, headers: bytes, body: bytes) -> None:
        self.replies.append((status, headers, body))

    def rest(self) -> None:
        pass


class Calls:
    """Takes the place of the service: answers each call as told."""

    def __init__(self, answer: bytes | ModelError = b"{}") -> None:
        self.answer = answer
        self.taken: list[tuple[str, bytes, Call]] = []
        self.codings: list[bytes] = []
        self.ended: list[str] = []
        self.uncalled: list[str] = []  # answers without a call
        self.door_is_closed = False
        self.refused = 0

    def count_refusal(self) -> None:
        self.refused += 1

    def body_bytes_max(self, operation: str) -> int:
        return {"PutItem": 1 << 20}.get(operation, 0)

    def execute_json(
        self, operation: str, raw: bytes | bytearray, call: Call, coding: bytes = b""
    ) -> None:
        self.taken.append((operation, bytes(raw), call))
        self.codings.append(coding)
        if isinstance(self.answer, ModelError):
            call.fail(self.answer)
        else:
            call.succeed(self.answer)

    def call_ended(self, call: Call, error: ModelError | None) -> None:
        self.ended.append("OK" if error is None else error.code)

    def answered(self, error: type[ModelError]) -> None:
        self.uncalled.append(error.code)


TARGET = b"DynamoDB_20120810.PutItem"
CALL_HEADERS = {b"x-amz-target": TARGET, b"content-type": b"application/x-amz-json-1.0"}


def make_face(
    calls: Calls, *, cors_origins: Collection[str] = (), probe_status: int = 200
) -> HttpFace:
    authentication = Authentication(
        key_file=None, always_required=False, region=None, wall_clock=lambda: 0.0
    )
    return HttpFace(
        calls,
        calls,
        lambda: 10.0,
        authentication=authentication,
        request_timeout_ms=4000,
        call_soon=lambda run: run(),
        cors_origins=cors_origins,
        probe_status=probe_status,
    )


def send(
    calls: Calls,
    *,
    method: bytes = b"POST",
    path: bytes = b"/",
    headers: dict[bytes, bytes] = CALL_HEADERS,
    body: bytes = b"{}",
    cors_origins: Collection[str] = (),
) -> tuple[int, bytes, bytes]:
    connection = Connection()
    exchange = Exchange(connection, method, path, headers, keep_alive=True)  # type: ignore[arg-type]
    exchange.body = body
    face = make_face(calls, cors_origins=cors_origins)
    face.handle(exchange)
    (reply,) = connection.replies
    return reply


def test_call_goes_to_the_operation_it_names_with_its_body_and_a_deadline() -> None:
    calls = Calls()

    send(calls, body=b'{"a":1}')

    ((operation, raw, call),) = calls.taken
    assert (operation, raw) == ("PutItem", b'{"a":1}')
    assert call.deadline == 14.0
    assert len(call.request_id) == 16


def test_answer_carries_its_checksum_and_a_request_id_of_52_characters() -> None:
    status, headers, body = send(Calls(b'{"Attributes":{}}'))

    fields = dict(line.split(b": ", 1) for line in headers.strip().split(b"\r\n"))
    assert (status, body) == (200, b'{"Attributes":{}}')
    assert fields[b"Content-Type"] == b"application/x-amz-json-1.0"
    assert int(fields[b"x-amz-crc32"]) == crc32(body)
    assert len(fields[b"x-amzn-RequestId"]) == 52
    assert set(fields[b"x-amzn-RequestId"]) <= set(b"0123456789ABCDEFGHIJKLMNOPQRSTUV")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ConditionFailed(b'{"p":{"S":"a"}}'), 400, b"ConditionalCheckFailedException"),
        (InternalServerError(), 500, b"InternalServerError"),
    ],
)
def test_error_is_a_document_with_its_type(error: ModelError, status: int, kind: bytes) -> None:
    calls = Calls(error)

    code, headers, body = send(calls)

    assert code == status
    assert b"#" + kind in body
    assert b"x-amz-crc32: %d\r\n" % crc32(body) in headers
    assert calls.ended == [kind.decode()]


@pytest.mark.parametrize("target", [b"", b"PutItem", b"DynamoDB_20111205.PutItem", b"\xff" * 99])
def test_target_of_another_service_names_no_operation(target: bytes) -> None:
    """It is refused when its JSON has been looked at."""
    calls = Calls()
    send(calls, headers=CALL_HEADERS | {b"x-amz-target": target})

    ((operation, _, _),) = calls.taken
    assert operation == ""


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"text/plain",
        b"text/plain; application/json",
        b"text/plain, application/json",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=application/json",
        b"application/jsonx",
        b"application/x-amz-json-1.00",
        b"application/cbor",
        b"json",
        b";application/json",
    ],
)
def test_post_that_a_web_form_could_make_is_not_a_call(content_type: bytes) -> None:
    """A page of another site can send these without asking; the right types it cannot."""
    calls = Calls()

    status, _, body = send(calls, headers=CALL_HEADERS | {b"content-type": content_type})

    assert (status, body) == (404, b"<UnknownOperationException/>\n")
    assert not calls.taken


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"application/x-amz-json-1.0", b"application/x-amz-json-1.0"),
        (b"application/x-amz-json-1.1", b"application/x-amz-json-1.1"),
        (b"application/json", b"application/json"),
        (b"application/json; charset=utf-8", b"application/json"),
        (b"application/json;charset=UTF-8", b"application/json"),
        (b"Application/JSON ; charset=utf-8", b"application/json"),
        (b"application/X-AMZ-JSON-1.0;charset=utf-8", b"application/x-amz-json-1.0"),
        (b"application/json;", b"application/json"),
    ],
)
def test_answer_has_the_media_type_of_the_request(asked: bytes, answered: bytes) -> None:
    headers = CALL_HEADERS | {b"content-type": asked}
    full = Calls()
    full.door_is_closed = True

    for calls in (Calls(), Calls(ConditionFailed()), full):
        _, lines, _ = send(calls, headers=headers)
        assert lines.startswith(b"Content-Type: %b\r\n" % answered)
    unknown = headers | {b"x-amz-target": b""}
    assert send(Calls(), headers=unknown)[1].startswith(b"Content-Type: %b\r\n" % answered)


def test_compressed_body_goes_on_with_its_coding() -> None:
    """What the codings are is in test_content_coding.py."""
    calls = Calls()

    send(calls, headers=CALL_HEADERS | {b"content-encoding": b"gzip"}, body=b"packed")

    assert calls.taken[0][1] == b"packed"
    assert calls.codings == [b"gzip"]


def test_what_is_understood_is_said_to_whoever_sends_another_coding() -> None:
    reply = send(Calls(UnknownCoding("unknown")))

    assert reply[0] == 415
    assert b"\r\nAccept-Encoding: gzip, deflate\r\n" in reply[1]


def test_probe_learns_that_the_router_is_healthy() -> None:
    reply = send(Calls(), method=b"GET", headers={b"host": b"localhost:8000"})

    assert (reply[0], reply[2]) == (200, b"healthy: localhost:8000 ")


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_probe_may_be_answered_as_by_dynamodb_local(method: bytes) -> None:
    connection = Connection()
    face = make_face(Calls(), probe_status=400)
    for path in (b"/", b"/other"):
        face.handle(Exchange(connection, method, path, {}, keep_alive=True))  # type: ignore[arg-type]

    (status, headers, body), (other, _, _) = connection.replies
    assert (status, other) == (400, 404)
    assert headers == b"Content-Type: application/x-amz-json-1.0\r\n"
    assert orjson.loads(body)["__type"].endswith("#MissingAuthenticationTokenException")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        (b"GET", b"/../../etc/passwd", 404),
        (b"TRACE", b"/", 405),
        (b"PUT", b"/", 405),
        (b"DELETE", b"/", 405),
        (b"OPTIONS", b"/", 200),
    ],
)
def test_what_is_no_call_is_answered_plainly(method: bytes, path: bytes, status: int) -> None:
    calls = Calls()

    assert send(calls, method=method, path=path, headers={})[0] == status
    assert not calls.taken


def test_web_pages_may_call_only_from_origins_that_were_named() -> None:
    origin = {b"origin": b"https://console.example"}

    for origins, allowed in ((), False), (("https://console.example",), True), (("*",), True):
        _, preflight, _ = send(Calls(), method=b"OPTIONS", headers=origin, cors_origins=origins)
        _, answer, _ = send(Calls(), headers=CALL_HEADERS | origin, cors_origins=origins)
        expected = b"Access-Control-Allow-Origin: https://console.example\r\n"
        assert (expected in preflight) is allowed
        assert (expected in answer) is allowed
        assert (b"Access-Control-Allow-Headers" in preflight) is allowed


# Compressed answers

LARGE = b'{"Items":[%s]}' % b",".join([b'{"p":{"S":"the same again"}}'] * 200)


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [
        (b"gzip", True),
        (b"deflate, gzip;q=0.5", True),
        (b"GZIP", True),
        (b"br,\tgzip", True),
        (b"x-gzip", True),
        (b"gzip;\tq=0", False),
        (b"identity", False),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"br, deflate", False),
        (b"", False),
        (b"xgzip", False),
    ],
)
def test_large_answer_is_compressed_for_who_takes_that(
    *, accepted: bytes, is_compressed: bool
) -> None:
    headers = CALL_HEADERS | {b"accept-encoding": accepted}

    status, lines, body = send(Calls(LARGE), headers=headers)

    assert status == 200
    assert (b"Content-Encoding: gzip" in lines) is is_compressed
    assert (gzip.decompress(body) if is_compressed else body) == LARGE
    assert b"x-amz-crc32: %d\r\n" % crc32(body) in lines, "the checksum is of what is sent"


def test_small_answer_is_not_compressed() -> None:
    _, lines, body = send(Calls(b"{}"), headers=CALL_HEADERS | {b"accept-encoding": b"gzip"})

    assert body == b"{}"
    assert b"Content-Encoding" not in lines


def test_very_large_answer_is_compressed_beside_the_loop() -> None:
    answer = LARGE * 20
    connection = Connection()

    async def story() -> None:
        headers = CALL_HEADERS | {b"accept-encoding": b"gzip"}
        exchange = Exchange(connection, b"POST", b"/", headers, keep_alive=True)  # type: ignore[arg-type]
        exchange.body = b"{}"
        make_face(Calls(answer)).handle(exchange)
        assert not connection.replies, "the loop is free meanwhile"
        while not connection.replies:
            await asyncio.sleep(0.001)

    run(story())

    ((_, lines, body),) = connection.replies
    assert gzip.decompress(body) == answer
    assert b"x-amz-crc32: %d\r\n" % crc32(body) in lines


def test_full_router_refuses_at_the_door_and_does_nothing_else() -> None:
    calls = Calls()
    calls.door_is_closed = True

    status, headers, body = send(calls, headers={**CALL_HEADERS, b"authorization": b"nonsense"})

    assert status == 400
    assert b"com.amazon.coral.availability#ThrottlingException" in body
    assert b"x-amz-crc32: %d\r\n" % crc32(body) in headers
    assert calls.taken == []
    assert calls.ended == []
    assert calls.uncalled == ["ThrottlingException"], "and it is counted all the same"


def test_full_router_still_answers_health_checks() -> None:
    calls = Calls()
    calls.door_is_closed = True

    status, _, _ = send(calls, method=b"GET")

    assert status == 200
