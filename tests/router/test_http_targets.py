"""Targets that are whole URLs, as proxies send them: served, and the URL says the host."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from quorate.http.target import BadTarget, host_and_path
from tests.router.cluster import CLUSTER_ID
from tests.router.signed import KEY_FILE_TEXT, ada, sign
from tests.router.talk import Talk, status_of, tell
from tests.router.world import World
from tests.router.world import tell as tell_of_router


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://h:8000/", b"h:8000", b"/"),
        (b"http://h:8000", b"h:8000", b"/"),
        (b"HTTP://h/a/b", b"h", b"/a/b"),
        (b"hTTpS://h/", b"h", b"/"),
        (b"http://h?x=1&y", b"h", b"/?x=1&y"),
        (b"http://h/?x=http://other/", b"h", b"/?x=http://other/"),
        (b"http://[::1]:8000/", b"[::1]:8000", b"/"),
        (b"http://h//a", b"h", b"//a"),
    ],
)
def test_url_is_the_host_and_the_path_it_stands_for(
    target: bytes, host: bytes, path: bytes
) -> None:
    async def story(talk: Talk) -> None:
        answer = await talk.send(
            b"POST %b HTTP/1.1\r\nHost: another\r\nConnection: close\r\n\r\n" % target
        )

        assert status_of(answer) == 200
        assert talk.seen[0].path == path
        assert talk.seen[0].headers[b"host"] == host

    tell(story)


def test_url_says_the_host_when_no_header_does() -> None:
    async def story(talk: Talk) -> None:
        await talk.send(b"GET http://h:8000/ HTTP/1.0\r\n\r\n")

        assert talk.seen[0].headers[b"host"] == b"h:8000"

    tell(story)


@pytest.mark.parametrize(
    ("target", "host", "signed"),
    [
        (b"http://h:80/", b"h", b"h"),
        (b"http://h/", b"h:80", b"h"),
        (b"HTTP://h:80/", b"h:80", b"h"),
        (b"https://h:443/", b"h:443", b"h"),
        (b"http://h:8000/", b"H:8000", b"H:8000"),
        (b"http://H/", b"h", b"h"),
        (b"http://[::80]:80/", b"", b"[::80]"),
        (b"http://h:443/", b"h", b"h:443"),
        (b"https://h:80/", b"h", b"h:80"),
    ],
)
def test_host_of_the_same_place_is_as_it_was_signed(
    target: bytes, host: bytes, signed: bytes
) -> None:
    """That is as its header has it, save for a port that is understood."""
    assert host_and_path(target, host) == (signed, b"/")


@pytest.mark.parametrize(
    "target", [b"ftp://h/", b"http:///x", b"http://user@h/", b"http://user:secret@h/", b"h"]
)
def test_what_is_no_url_of_this_protocol_is_refused(target: bytes) -> None:
    with pytest.raises(BadTarget):
        host_and_path(target, b"h")

    async def story(talk: Talk) -> None:
        assert status_of(await talk.send(b"POST %b HTTP/1.1\r\n\r\n" % target)) == 400
        assert not talk.seen

    tell(story)


def test_asterisk_is_a_target_of_its_own() -> None:
    async def story(talk: Talk) -> None:
        await talk.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")

        assert talk.seen[0].path == b"*"
        assert talk.seen[0].headers[b"host"] == b"h"

    tell(story)


@pytest.mark.parametrize(
    ("target", "host_header", "status"),
    [
        ("http://router.example:8000/", "router.example:8000", 200),
        ("HTTP://router.example:8000", "router.example:8000", 200),
        ("http://router.example:8000/", "proxy.example:3128", 200),
        ("https://router.example:8000/", "router.example:8000", 200),
        ("http://other.example:8000/", "router.example:8000", 400),
        ("http://router.example:8000/?x=1", "router.example:8000", 400),
    ],
)
def test_signature_is_of_the_urls_path_and_host(
    tmp_path: Path, target: str, host_header: str, status: int
) -> None:
    async def story(world: World) -> None:
        request = sign(time.time())
        request.target = target
        request.headers["Host"] = host_header
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
        writer.write(request.raw)
        answer = await reader.read()
        writer.close()

        assert status_of(answer) == status, answer
        assert status == 200 or b"InvalidSignatureException" in answer

    key_file = tmp_path / "key"
    key_file.write_text(KEY_FILE_TEXT)
    key_file.chmod(0o600)
    tell_of_router(story, users=(ada(CLUSTER_ID),), key_file=key_file)


@pytest.mark.parametrize(("status", "ending"), [(200, b"healthy: h:8000 "), (400, b'Token"}')])
def test_probe_by_url_learns_what_the_router_is_told_to_say(status: int, ending: bytes) -> None:
    async def story(world: World) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.http_port)
        writer.write(b"GET http://h:8000 HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()

        assert status_of(answer) == status
        assert answer.endswith(ending)

    tell_of_router(story, probe_status=status)
