"""Offers of another protocol: declined by serving the request, however its body is framed."""

from __future__ import annotations

import asyncio

import pytest

from tests.router.talk import SMALL, Talk, read_answer, status_of, tell

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAA\r\n"
OFFERS = {
    "h2c": H2C,
    "websocket": b"Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n",
    "TLS": b"Upgrade: TLS/1.2, HTTP/2.0\r\nConnection: Upgrade \r\n",
    "no protocol": b"Connection: upgrade\r\nUpgrade:\r\n",
    "none, without Connection": b"Upgrade: h2c\r\n",
}
FRAMINGS = {
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n", b"abcd"),
    "no chunks": (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"nothing"),
    "length": (b"Content-Length: 7\r\n\r\nabcdefg", b"abcdefg"),
    "length 0": (b"Content-Length: 0\r\n\r\n", b"nothing"),
    "no body": (b"\r\n", b"nothing"),
}  # fmt: skip
BEGIN = b"POST / HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_request_with_an_offer_is_served_and_so_is_the_next(
    offer: bytes, framing: tuple[bytes, bytes]
) -> None:
    body, expected = framing
    raw = BEGIN + offer + body

    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        for _ in range(2):
            writer.write(raw)
            assert await read_answer(reader) == (200, expected)
        writer.write(raw + BEGIN + b"Content-Length: 5\r\n\r\nplain" + raw)
        assert [await read_answer(reader) for _ in range(3)] == [
            (200, expected),
            (200, b"plain"),
            (200, expected),
        ]
        assert talk.seen[0].path == b"/"
        assert talk.seen[0].headers[b"host"] == b"h"
        assert b"upgrade" in talk.seen[0].headers, "a signature may cover it"

    tell(story)


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_request_with_an_offer_may_come_in_single_bytes(framing: tuple[bytes, bytes]) -> None:
    body, expected = framing

    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        for byte in BEGIN + H2C + body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert await read_answer(reader) == (200, expected)

    tell(story)


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_body_behind_an_offer_is_announced_with_100_continue_once(framing: str) -> None:
    header, _, body = FRAMINGS[framing][0].partition(b"\r\n\r\n")

    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(BEGIN + H2C + b"Expect: 100-continue\r\n" + header + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert await read_answer(reader) == (200, FRAMINGS[framing][1])

    tell(story)


def test_http_1_0_knows_no_100_continue() -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(
            b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok"
        )
        assert status_of(answer) == 200

    tell(story)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"Content-Length: 4097\r\n\r\n", 413),
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"801\r\n" + b"a" * 0x801 + b"\r\n" * 1
         + b"801\r\n" + b"a" * 0x801 + b"\r\n0\r\n\r\n", 413),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\nno size\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n", 400),
        (b"X: " + b"x" * 1024 + b"\r\n\r\n", 431),
    ],
)  # fmt: skip
def test_offer_widens_no_limit(raw: bytes, status: int) -> None:
    async def story(talk: Talk) -> None:
        assert status_of(await talk.send(BEGIN + H2C + raw)) == status
        assert not talk.seen

    tell(story)


def test_body_behind_an_offer_must_come_in_time() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(BEGIN + H2C + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab")
        while not talk.server.busy_count:
            await asyncio.sleep(0.001)
        talk.later(SMALL.body_seconds_max - 1)
        assert talk.server.busy_count == 1
        talk.later(2.0)
        assert status_of(await reader.read()) == 408

    tell(story)
