"""What a client may take of a router, over real sockets: rows of the table in docs/SECURITY.md."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import socket
import struct
import time
import tracemalloc
from pathlib import Path

import orjson
import pytest

from quorate.http.limits import HttpLimits
from tests.router.cluster import CLUSTER_ID
from tests.router.signed import KEY_ID, ada, sign
from tests.router.talk import SMALL, Talk, read_answer, status_of, tell
from tests.router.world import World
from tests.router.world import tell as tell_of_router

DEFAULT = HttpLimits()
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CALL = HEAD + (
    b"X-Amz-Target: DynamoDB_20120810.ListTables\r\nContent-Type: application/x-amz-json-1.0\r\n"
)
ROW_18_BYTES_HELD_MAX = 4 << 20
ROW_35_BYTES_LEFT_MAX = 1 << 20


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def settled(talk: Talk, connections: int) -> None:
    """Wait until the server has so many connections."""
    while talk.server.connection_count != connections:
        await asyncio.sleep(0.001)


# Row 18: bodies that are too large.


@pytest.mark.parametrize("length", [(16 << 20) + 1, 10_000_000_000])
def test_row_18_announced_body_is_refused_before_it_is_sent(length: int) -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(HEAD + b"Content-Length: %d\r\n\r\n" % length)

        assert status_of(answer) == 413
        assert b"Connection: close" in answer

    tell(story, DEFAULT)


def test_row_18_chunked_body_is_counted_while_it_is_read() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(17):
                writer.write(chunk(bytes(1 << 20)))
                await writer.drain()
        assert status_of(await reader.read()) == 413

        assert talk.server.books.body_bytes == 0, "nothing of it is held"
        assert not talk.seen

    tell(story, DEFAULT)


def test_row_18_largest_body_is_taken() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        _, writer = await talk.connect()
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % (16 << 20) + bytes(16 << 20))
        await writer.drain()
        while not talk.seen:
            await asyncio.sleep(0.005)
        assert len(talk.seen[0].body) == 16 << 20

    tell(story, DEFAULT)


def test_row_18_announced_bodies_take_no_memory_before_they_come() -> None:
    """A hundred clients announce 16 MiB each, send a byte and wait."""

    async def story(talk: Talk) -> None:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            _, writer = await talk.connect()
            writer.write(HEAD + b"Content-Length: %d\r\n\r\na" % (16 << 20))
        while sum(connection.is_busy for connection in talk.server.books) < 100:
            await asyncio.sleep(0.001)
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

        assert held < ROW_18_BYTES_HELD_MAX, "clients included"

    tell(story, DEFAULT)


def announced(operation: str, length: int, *lines: bytes) -> bytes:
    """Return the header of a call whose body does not come."""
    head = HEAD + b"X-Amz-Target: DynamoDB_20120810.%b\r\n" % operation.encode()
    return head + b"".join(
        line + b"\r\n"
        for line in (
            b"Content-Type: application/x-amz-json-1.0",
            b"Content-Length: %d" % length,
            *lines,
            b"",
        )
    )


async def refused_at_header(world: World, header: bytes) -> tuple[int, str]:
    """Return status and error of a request of which the header is sent alone."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
    writer.write(header)
    answer = await reader.read()
    writer.close()
    _, _, body = answer.partition(b"\r\n\r\n")
    document = orjson.loads(body) if body.startswith(b"{") else {}
    return status_of(answer), str(document.get("__type", "")).partition("#")[2]


@pytest.mark.parametrize(
    ("operation", "length"),
    [
        ("PutItem", (4 << 20) + 1),
        ("Query", (4 << 20) + 1),
        ("CreateTable", (1 << 20) + 1),
        ("NoSuchThing", (64 << 10) + 1),
    ],
)
def test_row_18_body_larger_than_its_operation_needs_is_refused_before_it_is_sent(
    operation: str, length: int
) -> None:
    async def story(world: World) -> None:
        assert await refused_at_header(world, announced(operation, length)) == (
            413,
            "SerializationException",
        )

    tell_of_router(story)


def test_row_18_chunked_body_larger_than_its_operation_needs_is_not_read_on() -> None:
    async def story(world: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
        writer.write(
            announced("PutItem", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        )
        with contextlib.suppress(ConnectionError):
            for _ in range(5):
                writer.write(chunk(bytes(1 << 20)))
                await writer.drain()
        assert status_of(await reader.read()) == 413
        writer.close()

    tell_of_router(story)


@pytest.mark.parametrize("length", [17 << 10, 16 << 20])
@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ((), "MissingAuthenticationTokenException"),
        ((b"Authorization: AWS4-HMAC-SHA256 Credential=x",), "IncompleteSignatureException"),
        ("unknown key", "UnrecognizedClientException"),
        ("old", "InvalidSignatureException"),
    ],
)
def test_who_must_sign_is_asked_before_a_body_comes_that_is_not_small(
    key_file: Path, lines: tuple[bytes, ...] | str, error: str, length: int
) -> None:
    if isinstance(lines, str):
        signed = sign(
            time.time() - (3600 if lines == "old" else 0),
            operation="BatchWriteItem",
            key_id="QRTEBBBBBBBBBBBBBBBB" if lines == "unknown key" else KEY_ID,
        )
        lines = tuple(
            b"%b: %b" % (name, value)
            for name, value in signed.fields.items()
            if name not in (b"host", b"content-type", b"x-amz-target")
        )

    async def story(world: World) -> None:
        header = announced("BatchWriteItem", length, *lines)
        assert await refused_at_header(world, header) == (400, error)

    tell_of_router(story, users=(ada(CLUSTER_ID),), key_file=key_file)


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"1;" + b"x" * 100_000, id="one endless extension"),
        pytest.param(b"1;x\r\na\r\n" * 20_000, id="extensions"),
        pytest.param(b"1\r\na\r\n" * 20_000, id="single bytes"),
        pytest.param(b"0\r\nX: " + b"x" * 100_000, id="an endless trailer"),
        pytest.param(b"0\r\n" + b"X: y\r\n" * 20_000, id="trailers"),
        pytest.param(b"3\r\nabc\r\n0\r\nX-Amz-Target: other\r\n\r\n", id="one trailer"),
    ],
)
def test_row_18_chunked_body_is_not_framing_for_the_most_part(framing: bytes) -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.01)
        writer.write(framing)
        assert status_of(await reader.read()) == 400
        assert not talk.seen

    tell(story, DEFAULT)


# Row 19: a bomb.


def test_row_19_gzip_bomb_is_refused_by_what_it_unpacks_to() -> None:
    async def story(world: World) -> None:
        bomb = gzip.compress(bytes(64 << 20), mtime=0)
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
        writer.write(
            CALL + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
        )
        assert (await read_answer(reader))[0] == 413
        writer.close()

    tell_of_router(story)


# Rows 25 and 26: what the parser must refuse. More of it is in test_http_protocol.py.


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", id="CL and TE"
        ),
        pytest.param(HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", id="two CL"),
        pytest.param(HEAD + b"Content-Length: 3, 3\r\n\r\nabc", id="CL list"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\n", id="negative CL"),
        pytest.param(HEAD + b"Content-Length: +3\r\n\r\nabc", id="signed CL"),
        pytest.param(HEAD + b"Content-Length: 3 3\r\n\r\nabc", id="CL with a blank in it"),
        pytest.param(HEAD + b"Content-Length: 0x3\r\n\r\nabc", id="hexadecimal CL"),
        pytest.param(HEAD + b"Content-Length: \r\n\r\n", id="empty CL"),
        pytest.param(HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", id="CL over 64 bits"),
        pytest.param(HEAD + b"Transfer-Encoding: xchunked\r\n\r\n", id="other TE"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n", id="two TE"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", id="negative chunk"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", id="chunk and LF"),
        pytest.param(b"POST / HTTP/1.1\nHost: h\nContent-Length: 0\n\n", id="bare LF"),
        pytest.param(b"POST / HTTP/1.1\rHost: h\r\r", id="bare CR"),
        pytest.param(HEAD + b"A: b\r\n c\r\n\r\n", id="obs-fold"),
        pytest.param(HEAD + b"A : b\r\n\r\n", id="space before colon"),
        pytest.param(HEAD + b"A: b\0c\r\n\r\n", id="NUL in a value"),
        pytest.param(HEAD + b"A\0: b\r\n\r\n", id="NUL in a name"),
        pytest.param(HEAD + b": b\r\n\r\n", id="no name"),
        pytest.param(b"POST /\r\nHost: h\r\n\r\n", id="no version"),
        pytest.param(b"POST / HTTP/3.7\r\nHost: h\r\n\r\n", id="other version"),
        pytest.param(b"POST  HTTP/1.1\r\nHost: h\r\n\r\n", id="no target"),
        pytest.param(b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", id="no method"),
        pytest.param(b"\x00" * 64, id="zeros"),
    ],
)  # fmt: skip
def test_row_25_ambiguous_request_is_refused_and_the_connection_closed(raw: bytes) -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(raw)

        assert status_of(answer) == 400
        assert b"Connection: close" in answer
        assert not talk.seen

    tell(story, DEFAULT)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(HEAD + b"A: " + b"x" * (1 << 20) + b"\r\n\r\n", id="1 MB of header"),
        pytest.param(HEAD + b"".join(b"A%d: b\r\n" % n for n in range(10_000)), id="10,000"),
        pytest.param(HEAD + b"".join(b"A%d: b\r\n" % n for n in range(100)) + b"\r\n", id="101"),
        pytest.param(b"POST /" + b"x" * (17 << 10) + b" HTTP/1.1\r\n\r\n", id="path of 17 KB"),
        pytest.param(b"POST /" + b"x" * (1 << 20), id="path of 1 MB, no end"),
        pytest.param(b"A" * (1 << 20), id="method of 1 MB"),
    ],
)  # fmt: skip
def test_row_26_header_that_is_too_large_is_refused(raw: bytes) -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(raw)

        assert status_of(answer) in (431, 400)
        assert not talk.seen

    tell(story, DEFAULT)


@pytest.mark.parametrize(
    "behind", [b"GET /second HTTP/1.1\r\n\r\n", b"no HTTP at all\r\n\r\n", b"\0"]
)
def test_row_25_nothing_is_served_or_answered_behind_an_answer_that_closes(behind: bytes) -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n" + behind)

        assert answer.count(b"HTTP/1.1 ") == 1
        assert len(talk.seen) == 1

    tell(story, DEFAULT)


# Row 27: slow clients.


@pytest.mark.parametrize(
    ("raw", "seconds_max"),
    [
        pytest.param(b"", 5.0, id="says nothing"),
        pytest.param(HEAD, 5.0, id="half a header"),
        pytest.param(HEAD + b"Content-Length: 10\r\n\r\nhalf", 10.1, id="half a body"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab", 10.1, id="half a chunk"),
        pytest.param(
            HEAD + b"Content-Length: %d\r\n\r\n" % (4 << 20), 14.1, id="4 MiB get 4 s more"
        ),
    ],
)
def test_row_27_slow_request_is_cut_off_in_time(raw: bytes, seconds_max: float) -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        await settled(talk, 1)
        writer.write(raw)
        await asyncio.sleep(0.02)

        talk.later(seconds_max - 0.2)
        await asyncio.sleep(0.01)
        assert talk.server.connection_count == 1
        talk.later(0.4)
        answer = await reader.read()
        assert answer == b"" or status_of(answer) == 408
        talk.later(2.1)
        await settled(talk, 0)

    tell(story, DEFAULT)


def test_row_27_a_byte_a_second_does_not_help() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        await settled(talk, 1)
        for byte in HEAD[:5]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.005)
            talk.later(1.01)
        assert status_of(await reader.read()) == 408

    tell(story, DEFAULT)


def test_row_27_half_a_header_behind_a_whole_request_gets_no_more_time() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        reader, writer = await talk.connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n" + HEAD)
        while not talk.seen:
            await asyncio.sleep(0.001)
        talk.later(100.0)
        talk.seen[0].reply(200, b"", b"answered")
        assert await read_answer(reader) == (200, b"answered")

        talk.later(5.1)
        assert status_of(await reader.read()) == 408

    tell(story, DEFAULT)


def test_row_27_silent_clients_do_not_disturb_others() -> None:
    """500 of one address; their time-outs free the places."""

    async def story(talk: Talk) -> None:
        writers = [(await talk.connect())[1] for _ in range(500)]
        for writer in writers:
            writer.write(HEAD)
        await settled(talk, 500)
        reader, writer = await talk.connect()
        for _ in range(20):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await read_answer(reader))[0] == 200

        talk.later(5.1)
        talk.later(2.1)
        await settled(talk, 1)

    tell(story, DEFAULT)


def test_row_27_one_address_does_not_get_all_connections() -> None:
    limits = HttpLimits(connections_max=10, connections_per_network_max=4)

    async def story(talk: Talk) -> None:
        for _ in range(4):
            await talk.connect()
        await settled(talk, 4)

        assert status_of(await talk.send(b"")) == 503
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.setblocking(False)  # noqa: FBT003  (the standard library's)
            await asyncio.get_running_loop().sock_connect(other, ("127.0.0.1", talk.server.port))
            await settled(talk, 5)

        talk.writers[0].close()
        await settled(talk, 3)
        await talk.connect()
        await settled(talk, 4)

    tell(story, limits)


@pytest.mark.parametrize(
    "limits", [HttpLimits(connections_per_network_max=4), HttpLimits(connections_max=4)]
)
def test_row_27_whoever_asks_nothing_makes_room(limits: HttpLimits) -> None:
    """The one that has waited longest; not one whose call is answered."""

    async def story(talk: Talk) -> None:
        talk.hold = True
        readers = [(await talk.connect())[0] for _ in range(4)]
        talk.writers[0].write(HEAD + b"Content-Length: 0\r\n\r\n")
        while not talk.seen:
            await asyncio.sleep(0.001)
        assert status_of(await talk.send(b"")) == 503, "all have only just come"

        talk.later(1.0)
        talk.hold = False
        assert status_of(await talk.send(b"GET / HTTP/1.0\r\n\r\n")) == 200
        assert await readers[1].read() == b"", "the one that has waited longest"
        talk.seen[0].reply(200, b"", b"")
        assert (await read_answer(readers[0]))[0] == 200

    tell(story, limits)


def test_row_27_connections_over_the_limit_are_not_held() -> None:
    """They get their answer and go: none of them stays to be drained."""

    async def story(talk: Talk) -> None:
        for _ in range(3):
            await talk.connect()
        for _ in range(50):
            assert status_of(await talk.send(HEAD)) == 503
        assert talk.server.connection_count == 3

    tell(story, SMALL)


# Row 28: clients that do not read.


def test_row_28_slow_reader_of_a_large_answer_is_cut_off() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        _, writer = await talk.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a StreamWriter's is both
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        while not talk.seen:
            await asyncio.sleep(0.001)
        talk.seen[0].reply(200, b"", bytes(16 << 20))
        assert talk.server.books.unsent_bytes > 8 << 20

        talk.later(9.9)
        await asyncio.sleep(0.01)
        assert talk.server.connection_count == 1
        talk.later(0.2)
        await settled(talk, 0)
        assert talk.server.books.unsent_bytes == 0

    tell(story, DEFAULT)


def test_row_28_unread_answers_of_all_clients_together_are_bounded() -> None:
    limits = HttpLimits(unsent_bytes_all_max=20 << 20)

    async def story(talk: Talk) -> None:
        talk.hold = True
        for number in range(3):
            _, writer = await talk.connect()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            while len(talk.seen) <= number:
                await asyncio.sleep(0.001)
            talk.seen[number].reply(200, b"", bytes(16 << 20))

        await settled(talk, 1)
        assert talk.server.books.unsent_bytes <= 20 << 20

    tell(story, limits)


def test_row_28_answer_that_is_read_in_time_is_whole() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        reader, writer = await talk.connect()
        for number in range(2):
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            while len(talk.seen) <= number:
                await asyncio.sleep(0.001)
            talk.seen[number].reply(200, b"", bytes(4 << 20))
            assert await read_answer(reader) == (200, bytes(4 << 20))
        assert talk.server.books.unsent_bytes == 0

    tell(story, DEFAULT)


# Row 30: other methods and paths.


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /../../etc/passwd", 404),
        (b"GET /metrics", 404),
        (b"TRACE /", 405),
        (b"CONNECT router:80", 405),
        (b"PUT /", 405),
        (b"DELETE /", 405),
        (b"OPTIONS /", 200),
        (b"GET /", 200),
    ],
)
def test_row_30_what_is_no_call(request_line: bytes, status: int) -> None:
    async def story(world: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
        writer.write(request_line + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

        assert status_of(answer) == status
        assert b"root:" not in answer

    tell_of_router(story)


# Row 35: clients that leave.


def leave_in_the_middle(port: int, count: int) -> None:
    """Connect, send a part of a request or all of it, and reset the connection; `count` times."""
    whole = CALL + b"Content-Length: 2\r\n\r\n{}"
    for number in range(count):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(whole[: number * 7 % (len(whole) + 1)])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_row_35_clients_that_leave_in_the_middle_leave_nothing_behind() -> None:
    async def story(world: World) -> None:
        await asyncio.to_thread(leave_in_the_middle, world.router.http_port, 100)  # warm
        files, tasks = open_files(), len(asyncio.all_tasks())
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        await asyncio.to_thread(leave_in_the_middle, world.router.http_port, 10_000)
        while open_files() > files:
            await asyncio.sleep(0.01)
        left = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()

        assert len(asyncio.all_tasks()) <= tasks
        assert left < ROW_35_BYTES_LEFT_MAX
        assert (await world.http("ListTables", {}))[0] == 200

    tell_of_router(story)


def test_length_with_more_zeros_than_python_reads_is_refused() -> None:
    """Python reads 4,300 digits at most, and says so with an exception."""

    async def story(talk: Talk) -> None:
        answer = await talk.send(HEAD + b"Content-Length: " + b"0" * 5_000 + b"3\r\n\r\nabc")
        assert status_of(answer) == 413
        assert not talk.seen

    tell(story, DEFAULT)
