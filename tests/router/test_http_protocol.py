"""The HTTP protocol against real sockets: what it parses, and every limit it must keep."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from quorate.http import server
from quorate.http.exchange import Exchange
from quorate.http.limits import HttpLimits
from tests.router.talk import SMALL, Talk, read_answer, status_of, tell


def test_requests_on_one_connection_are_answered_in_turn() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        for body in (b"one", b"two"):
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n" + body)
            assert await read_answer(reader) == (200, body)

        assert talk.seen[0].method == b"POST"
        assert talk.seen[0].headers == {b"host": b"h", b"content-length": b"3"}

    tell(story)


def test_request_in_single_bytes_is_the_same_request() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        for byte in b"POST /p HTTP/1.1\r\nX-Amz-Target: T\r\nContent-Length: 4\r\n\r\nbody":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert await read_answer(reader) == (200, b"body")
        assert talk.seen[0].path == b"/p"
        assert talk.seen[0].headers[b"x-amz-target"] == b"T"

    tell(story)


def test_chunked_body_arrives_whole() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        )
        assert await read_answer(reader) == (200, b"abcdefg")

    tell(story)


def test_pipelined_requests_wait_for_their_turn() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        reader, writer = await talk.connect()
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(3)))
        while not talk.seen:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        assert len(talk.seen) == 1, "one exchange at a time"

        for number in range(3):
            while len(talk.seen) <= number:
                await asyncio.sleep(0.001)
            assert talk.seen[number].path == b"/%d" % number
            talk.seen[number].reply(200, b"", b"%d" % number)
            assert await read_answer(reader) == (200, b"%d" % number)

    tell(story)


def test_too_many_pipelined_requests_end_the_connection() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        reader, writer = await talk.connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 20)
        while not talk.seen:
            await asyncio.sleep(0.001)
        talk.seen[0].reply(200, b"", b"first")

        assert b"Connection: close" in await reader.read()
        assert len(talk.seen) == 1

    tell(story)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 2000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: 1\r\n" % n for n in range(11)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: 123456789\r\n" * 200 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 4097\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 10000000000\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"0" * 900 + b"1\r\n\r\na", 413),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"800\r\n" + b"a" * 0x800 + b"\r\n" + b"801\r\n" + b"a" * 0x801 + b"\r\n0\r\n\r\n",
            413,
        ),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"CONNECT h:80 HTTP/1.1\r\n\r\n", 405),
    ],
)  # fmt: skip
def test_bad_request_is_refused_and_the_connection_closed(raw: bytes, status: int) -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(raw)

        assert status_of(answer) == status
        assert b"Connection: close" in answer
        assert not talk.seen

    tell(story)


def test_header_that_never_ends_is_refused_before_it_is_held() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(40):
            writer.write(b"a" * 100)
            await asyncio.sleep(0.001)

        assert status_of(await reader.read()) == 431

    tell(story)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf",
    ],
)
def test_slow_client_is_cut_off(raw: bytes) -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(raw)
        await asyncio.sleep(0.02)

        talk.later(12.0)
        talk.later(5.0)

        answer = await reader.read()
        assert answer == b"" or status_of(answer) == 408
        await asyncio.sleep(0.01)
        assert talk.server.connection_count == 0

    tell(story)


def test_idle_connection_stays_for_a_minute_and_no_longer() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await read_answer(reader)

        talk.later(59.0)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
        talk.later(61.0)

        assert await reader.read() == b""

    tell(story)


def test_client_that_does_not_read_its_answers_is_cut_off() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        _, writer = await talk.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a StreamWriter's is both
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        while not talk.seen:
            await asyncio.sleep(0.001)
        talk.seen[0].reply(200, b"", b"x" * (32 << 20))
        assert talk.server.busy_count == 1

        talk.later(11.0)
        await asyncio.sleep(0.01)

        assert talk.server.connection_count == 0

    tell(story)


def test_connections_beyond_the_limit_are_turned_away() -> None:
    async def story(talk: Talk) -> None:
        for _ in range(3):
            await talk.connect()
        await asyncio.sleep(0.01)

        assert status_of(await talk.send(b"")) == 503

    tell(story)


def body_limits(**limits: int) -> HttpLimits:
    return replace(SMALL, connections_max=10, body_bytes_small=10, **limits)


BODY = b"POST / HTTP/1.1\r\nContent-Length: 4096\r\n\r\n"


def test_bodies_of_one_network_have_its_share() -> None:
    async def story(talk: Talk) -> None:
        _, first = await talk.connect()
        first.write(BODY + b"a" * 4095)
        while talk.server.books.body_bytes < 4095:
            await asyncio.sleep(0.001)

        assert status_of(await talk.send(BODY + b"b" * 4095)) == 503
        small = await talk.send(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nsmall")
        assert small.endswith(b"small")
        first.write(b"a")
        while not talk.seen[1:]:
            await asyncio.sleep(0.001)

    tell(story, body_limits(body_bytes_per_network_max=6000))


def test_largest_body_that_has_not_come_makes_room_for_others() -> None:
    async def story(talk: Talk) -> None:
        slow, first = await talk.connect()
        first.write(BODY + b"a" * 4095)
        while talk.server.books.body_bytes < 4095:
            await asyncio.sleep(0.001)

        reader, writer = await talk.connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3000\r\n\r\n" + b"b" * 3000)
        assert (await read_answer(reader))[0] == 200
        assert (await read_answer(slow))[0] == 503
        assert talk.server.books.body_bytes == 0

    tell(story, body_limits(body_bytes_all_max=6000))


def test_answer_to_a_client_that_left_goes_nowhere() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        _, writer = await talk.connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
        while not talk.seen:
            await asyncio.sleep(0.001)
        writer.transport.abort()
        await asyncio.sleep(0.01)

        talk.seen[0].reply(200, b"", b"late")
        while talk.server.connection_count:
            await asyncio.sleep(0.001)
        talk.seen[0].reply(200, b"", b"twice")

    tell(story)


def test_upgrade_to_another_protocol_is_not_taken_up() -> None:
    """Java's HTTP client offers HTTP/2 with every request; the answer may simply be HTTP/1.1."""

    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        for body in (b"one", b"two"):
            writer.write(
                b"POST / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 3\r\n\r\n" + body
            )
            assert await read_answer(reader) == (200, body)

    tell(story)


def test_large_body_is_announced_with_100_continue() -> None:
    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert await read_answer(reader) == (200, b"ok")

    tell(story)


def test_stopping_server_serves_a_request_that_is_still_coming_and_one_on_an_idle_connection() -> (
    None
):
    """A client that finds its connection closed has to guess what became of its request."""

    async def story(talk: Talk) -> None:
        reader, writer = await talk.connect()
        idle_reader, idle_writer = await talk.connect()
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nha")
        idle_writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await read_answer(idle_reader) == (200, b"nothing")

        talk.server.stop_accepting()
        idle_writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"Connection: close" in await idle_reader.read()
        talk.server.close_idle()
        assert talk.server.busy_count == 1
        writer.write(b"lf")

        answer = await reader.read()
        assert b"Connection: close" in answer
        assert answer.endswith(b"half")
        assert talk.server.busy_count == 0

    tell(story)


def test_stopping_server_answers_what_it_has_and_closes() -> None:
    async def story(talk: Talk) -> None:
        talk.hold = True
        idle_reader, _ = await talk.connect()
        reader, writer = await talk.connect()
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        while not talk.seen:
            await asyncio.sleep(0.001)

        talk.server.stop_accepting()
        talk.server.close_idle()
        assert await idle_reader.read() == b""
        assert talk.server.busy_count == 1
        talk.seen[0].reply(200, b"", b"last")

        assert b"last" in await reader.read()

    tell(story)


def test_refused_connection_rests_for_a_pass_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast clients send again, the loop gets to its other work in between."""
    monkeypatch.setattr(server, "REFUSALS_MAX", 1)

    async def story(talk: Talk) -> None:
        passes = 0
        refused_in: dict[bytes, list[int]] = {}

        def refuse(exchange: Exchange) -> None:
            refused_in.setdefault(exchange.path, []).append(passes)
            exchange.refuse(503, b"", b"")

        async def count() -> None:
            nonlocal passes
            while True:
                passes += 1
                await asyncio.sleep(0)

        talk.server.handler = refuse
        async with asyncio.TaskGroup() as tasks:
            counting = tasks.create_task(count())
            connections = [await talk.connect() for _ in range(3)]
            for number, (_, writer) in enumerate(connections):
                writer.write(b"GET /%d HTTP/1.1\r\n\r\n" % number * 3)
            for reader, _ in connections:
                assert [await read_answer(reader) for _ in range(3)] == [(503, b"")] * 3
            counting.cancel()
        assert len(refused_in) == 3
        for path, at in refused_in.items():
            assert max(Counter(at).values()) <= 2, (path, at)  # the first of all need not rest
        assert len({passed for at in refused_in.values() for passed in at}) > 3

    tell(story)


def test_of_many_refused_connections_few_are_read_again_in_one_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "REFUSALS_MAX", 2)

    async def story(talk: Talk) -> None:
        woken: list[int] = []

        class Refused:
            def __init__(self, number: int) -> None:
                self.number = number

            def rests(self) -> bool:
                return talk.server.rest_after_refusal(self)  # type: ignore[arg-type]

            def wake(self) -> None:
                woken.append(self.number)
                if self.number == 2:
                    self.number = 20
                    assert not self.rests(), "the first of this pass"

        assert [Refused(number).rests() for number in range(7)] == [False] * 2 + [True] * 5
        for expected in ([2, 3], [2, 3, 4, 5], [2, 3, 4, 5, 6]):
            await asyncio.sleep(0)
            assert woken == expected
        assert not Refused(8).rests(), "all of this is over"

    tell(story)
