"""A closed door: whole requests are refused unparsed, everything else as the parser reads it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quorate.http.exchange import Exchange
from quorate.http.limits import HttpLimits
from quorate.http.protocol import HttpConnection
from quorate.http.server import HttpServer
from quorate.http.whole_request import is_whole_request
from tests.fuzz.targets import Transport
from tests.router.talk import Talk, read_answer, tell

WHOLE = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nX-Amz-Target: T\r\n\r\nbody"

NOT_WHOLE = {
    "empty": b"",
    "in the header": WHOLE[:30],
    "in the body": WHOLE[:-1],
    "more follows": WHOLE + b"P",
    "two": WHOLE + WHOLE,
    "another method": WHOLE.replace(b"POST", b"GET"),
    "another path": WHOLE.replace(b"/ ", b"/path "),
    "HTTP/1.0": WHOLE.replace(b"1.1", b"1.0"),
    "no length": WHOLE.replace(b"Content-Length: 4\r\n", b""),
    "two lengths": WHOLE.replace(b"Host: h", b"Content-Length: 4"),
    "a length that is none": WHOLE.replace(b"h: 4", b"h: 4, 4"),
    "a signed length": WHOLE.replace(b"h: 4", b"h: +4"),
    "chunked": WHOLE.replace(b"Host: h", b"Transfer-Encoding: chunked"),
    "the last on its connection": WHOLE.replace(b"Host: h", b"cONNECTION: close"),
    "an upgrade": WHOLE.replace(b"Host: h", b"Upgrade: h2c"),
    "expects to be told": WHOLE.replace(b"Host: h", b"Expect: 100-continue"),
    "a page's": WHOLE.replace(b"Host: h", b"Origin: http://page"),
    "another media type": WHOLE.replace(b"Host: h", b"Content-Type: application/json"),
    "almost the usual media type": WHOLE.replace(
        b"Host: h", b"content-type:application/x-amz-json-1.00"
    ),
    "a header that is too long": WHOLE.replace(b"Host: h", b"Host: " + b"h" * 1024),
}


class ClosedDoor:
    """Refuses what comes while it is closed."""

    def __init__(self) -> None:
        self.is_closed = True
        self.refused = 0

    def refusal(self) -> tuple[int, bytes, bytes]:
        self.refused += 1
        return 400, b"X-Door: closed\r\n", b"later"

    def body_bytes_max(self, exchange: Exchange) -> int:
        raise AssertionError("these have no bodies that are not small")


def test_whole_request_is_told_from_all_others() -> None:
    assert is_whole_request(WHOLE, 1024)
    assert is_whole_request(WHOLE.replace(b"Content-Length", b"content-length"), 1024)
    assert is_whole_request(WHOLE.replace(b"h: 4", b"h:4"), 1024)
    for media_type in (b": application/x-amz-json-1.0", b":Application/X-Amz-JSON-1.0 ;charset=x"):
        line = b"Content-Type" + media_type
        assert is_whole_request(WHOLE.replace(b"Host: h", line), 1024)
        assert is_whole_request(WHOLE.replace(b"X-Amz-Target: T", line), 1024)


@pytest.mark.parametrize("data", NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_in_doubt_it_is_no_whole_request(data: bytes) -> None:
    assert not is_whole_request(data, 1024)


FIELDS = st.sampled_from(
    [
        b"Content-Length: 4",
        b"Content-Length: 3",
        b"content-length:4 ",
        b"Content-Length\t: 4",
        b" Content-Length: 4",
        b"X: y\nContent-Length: 4",
        b"X: Content-Length: 4",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection : close",
        b"Content-Length: 4\t",
        b"Content-Type: application/x-amz-json-1.0",
        b"Content-Type: application/json",
        b"Upgrade: h2c",
        b"Host: h",
        b": ",
        b"\x00: y",
        b"X: y\r",
    ]
)


@given(
    fields=st.lists(FIELDS, max_size=4),
    body=st.sampled_from([b"body", b"bod", b"4\r\nbody\r\n0\r\n\r\n", WHOLE]),
)
@example(fields=[b"Content-Length: 4"], body=b"body")
def test_what_is_called_whole_is_one_request_to_the_parser_too_or_an_error(
    fields: list[bytes], body: bytes
) -> None:
    """Else what one side takes for a body could be a request to the other."""
    data = b"".join(b"%b\r\n" % line for line in (b"POST / HTTP/1.1", *fields)) + b"\r\n" + body
    if not is_whole_request(data, 1024):
        return
    bodies: list[bytes] = []
    refusals = HttpServer(lambda exchange: bodies.append(bytes(exchange.body)), HttpLimits())
    connection = HttpConnection(refusals)
    connection.connection_made(Transport())

    connection.data_received(data)

    assert bodies == [body] or refusals.refusals == {400: 1}
    assert not bodies or connection._current.keep_alive  # type: ignore[union-attr]


def test_closed_door_refuses_unparsed_and_the_connection_goes_on() -> None:
    async def story(talk: Talk) -> None:
        door = talk.server.door = ClosedDoor()
        reader, writer = await talk.connect()
        for _ in range(3):
            writer.write(WHOLE)
            assert await read_answer(reader) == (400, b"later")
        assert talk.seen == []
        assert door.refused == 3

        door.is_closed = False
        writer.write(WHOLE)
        assert await read_answer(reader) == (200, b"body")

    tell(story)


@pytest.mark.parametrize("cut", [1, 20, len(WHOLE) - 1])
def test_request_that_comes_in_pieces_goes_to_the_handler(cut: int) -> None:
    """Which refuses it as well; this door is not asked then."""
    taken: list[Exchange] = []
    door = ClosedDoor()
    connection = HttpConnection(HttpServer(taken.append, HttpLimits(), door=door))
    connection.connection_made(Transport())

    connection.data_received(WHOLE[:cut])
    connection.data_received(WHOLE[cut:])

    assert [exchange.body for exchange in taken] == [b"body"]
    assert door.refused == 0


def test_nothing_is_refused_before_the_answer_to_what_came_before_it() -> None:
    taken: list[Exchange] = []
    door = ClosedDoor()
    connection = HttpConnection(HttpServer(taken.append, HttpLimits(), door=door))
    transport = Transport()
    connection.connection_made(transport)
    door.is_closed = False
    connection.data_received(WHOLE)
    door.is_closed = True

    connection.data_received(WHOLE)

    assert len(taken) == 1
    assert transport.written == b""
    assert door.refused == 0


def test_stopping_server_tells_even_the_refused_that_the_connection_ends() -> None:
    async def story(talk: Talk) -> None:
        talk.server.door = ClosedDoor()
        reader, writer = await talk.connect()
        talk.server.stopping = True
        writer.write(WHOLE)
        assert b"Connection: close" in await reader.read()

    tell(story)
