"""Blanks around a field's value are no part of it: RFC 9110, section 5.5. Of every field."""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path

import pytest

from quorate.http.whole_request import is_whole_request
from tests.router.cluster import CLUSTER_ID
from tests.router.signed import KEY_FILE_TEXT, ada, sign
from tests.router.talk import Talk, read_answer, status_of, tell
from tests.router.world import World
from tests.router.world import tell as tell_of_router

BLANKS = [b" ", b"\t", b" \t  "]


@pytest.mark.parametrize("blanks", BLANKS)
def test_value_has_no_blanks_around_it(blanks: bytes) -> None:
    async def story(talk: Talk) -> None:
        value = b"".join((blanks, b"a  b", blanks))
        await talk.send(
            b"GET / HTTP/1.1\r\nX:%b\r\nY:%b\r\nConnection:%bclose%b\r\n\r\n"
            % (value, blanks, blanks, blanks)
        )

        assert talk.seen[0].headers[b"x"] == b"a  b"
        assert talk.seen[0].headers[b"y"] == b""
        assert not talk.seen[0].keep_alive

    tell(story)


def test_value_that_comes_in_pieces_has_none_either() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        for byte in b"GET / HTTP/1.1\r\nX: \ta b \t \r\nY: c \r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await read_answer(reader))[0] == 200
        assert talk.seen[0].headers == {b"x": b"a b", b"y": b"c"}

    tell(story)


def test_each_line_of_a_field_that_has_several_is_without_them() -> None:
    async def story(talk: Talk) -> None:
        await talk.send(
            b"GET / HTTP/1.1\r\nX: a \r\nConnection: close \r\nX:\tb\t\r\nX:  \r\nX: c\r\n\r\n"
        )

        assert talk.seen[0].headers[b"x"] == b"a,b,,c"

    tell(story)


@pytest.mark.parametrize("blanks", BLANKS)
def test_length_expectation_and_connection_are_understood_with_blanks_behind_them(
    blanks: bytes,
) -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nContent-Length:%b4%b\r\nExpect: 100-Continue%b\r\n"
            b"Connection: keep-alive%b\r\n\r\n" % (blanks, blanks, blanks, blanks)
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert await read_answer(reader) == (200, b"body")
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3 \r\n\r\nand")
        assert await read_answer(reader) == (200, b"and")

    tell(story)


@pytest.mark.parametrize("blanks", BLANKS)
@pytest.mark.parametrize("cut", [0, 1, 2, 10])
def test_chunked_is_understood_with_blanks_behind_it(blanks: bytes, cut: int) -> None:
    raw = (
        b"POST / HTTP/1.1\r\nTransfer-Encoding:\tChunked%b\r\nX: y\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n" % blanks
    )

    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        for _ in range(2):
            writer.write(raw[: len(raw) - cut])
            await asyncio.sleep(0)
            writer.write(raw[len(raw) - cut :])
            assert await read_answer(reader) == (200, b"abc")
        writer.write(raw + b"GET / HTTP/1.1\r\n\r\n")
        assert await read_answer(reader) == (200, b"abc")
        assert await read_answer(reader) == (200, b"nothing")

    tell(story)


@pytest.mark.parametrize(
    "coding", [b"gzip, chunked\t", b"chunked, chunked\t", b"chunked\tx", b"\t", b"identity\t"]
)
def test_other_transfer_codings_are_refused_with_blanks_behind_them_too(coding: bytes) -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: %b\r\n\r\n0\r\n\r\n" % coding
        )
        assert status_of(answer) == 400
        assert not talk.seen

    tell(story)


def test_trailers_are_refused_with_blanks_behind_the_coding_too() -> None:
    """What is wrong behind the tab is the client's fault, as it is without one."""

    async def story(talk: Talk) -> None:
        answer = await talk.send(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\nTrailer: t\r\n\r\n"
        )
        assert status_of(answer) == 400
        assert not talk.seen

    tell(story)


def test_chunked_and_a_length_are_refused_with_blanks_behind_them_too() -> None:
    async def story(talk: Talk) -> None:
        for lines in (
            b"Transfer-Encoding: chunked\t\r\nContent-Length: 3 \r\n",
            b"Content-Length: 3\t\r\nTransfer-Encoding: chunked\t\r\n",
        ):
            answer = await talk.send(b"POST / HTTP/1.1\r\n%b\r\nabc" % lines)
            assert status_of(answer) == 400
        assert not talk.seen

    tell(story)


@pytest.mark.parametrize("blanks", BLANKS)
def test_whole_request_may_have_blanks_behind_its_length(blanks: bytes) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: h \r\nContent-Length:%b4%b\r\n\r\nbody" % (blanks, blanks)

    assert is_whole_request(raw, 1024)
    assert not is_whole_request(raw.replace(b"4", b"4 4"), 1024)


@pytest.mark.parametrize("blanks", BLANKS)
def test_call_is_served_with_blanks_behind_all_its_fields(tmp_path: Path, blanks: bytes) -> None:
    """Signed, too: what is signed is the value without them."""

    async def story(world: World) -> None:
        body = gzip.compress(b"{}", mtime=0)
        request = sign(
            time.time(),
            body=body,
            headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip", "X-Amz-Note": "a  b"},
        )
        head = b"\r\n".join(
            line + blanks if b": " in line else line
            for line in request.raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
        writer.write(head + b"\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()

        assert status_of(answer) == 200, answer
        assert answer.endswith(b'{"TableNames":["Music"]}')

    key_file = tmp_path / "key"
    key_file.write_text(KEY_FILE_TEXT)
    key_file.chmod(0o600)
    tell_of_router(story, users=(ada(CLUSTER_ID),), key_file=key_file)
