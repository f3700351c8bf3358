"""Row 36: pages whose names are made to mean 127.0.0.1, and a router that asks for no key."""

from __future__ import annotations

import asyncio
import http.client
import time
from pathlib import Path

import pytest

from tests.router.cluster import CLUSTER_ID
from tests.router.signed import ada, sign
from tests.router.world import World, tell

HEADERS = {
    "X-Amz-Target": "DynamoDB_20120810.ListTables",
    "Content-Type": "text/plain",  # what a page may send without asking first
}


def call(port: int, host: str, headers: dict[str, str]) -> tuple[int, str]:
    """Make a call under a Host; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.putrequest("POST", "/", skip_host=True)
        for name, value in {**headers, "Host": host, "Content-Length": "2"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"{}")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def answer(world: World, host: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    given = headers or {**HEADERS, "Content-Type": "application/x-amz-json-1.0"}
    return await asyncio.to_thread(call, world.router.http_port, host, given)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8000",
        "notlocalhost",
        "[::1].evil.example",
        "localhost@evil.example",
        "evil.example:127.0.0.1",
        "\xe9vil.example",
    ],
)
def test_row_36_names_that_anybody_may_let_lead_here_are_refused(host: str) -> None:
    async def story(world: World) -> None:
        status, body = await answer(world, host)
        assert status == 400
        assert "AccessDeniedException" in body
        assert "Music" not in body
        status, body = await answer(world, host, HEADERS)
        assert "Music" not in body

    tell(story)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8000",
        "localhost.",
        "tables.localhost:8000",
        "127.0.0.1:8000",
        "127.1.2.3",
        "[::1]:8000",
        "192.168.1.5:8000",  # through a tunnel, or a port that somebody forwards
    ],
)
def test_row_36_this_machine_is_served_under_its_own_names(host: str) -> None:
    async def story(world: World) -> None:
        status, body = await answer(world, host)
        assert (status, body) == (200, '{"TableNames":["Music"]}')

    tell(story)


def test_row_36_who_signs_may_use_any_name(key_file: Path) -> None:
    async def story(world: World) -> None:
        request = sign(time.time(), host="evil.example")
        del request.headers["Host"]
        assert (await answer(world, "evil.example", request.headers))[0] == 200

    tell(story, users=(ada(CLUSTER_ID),), key_file=key_file)


def test_row_36_router_that_serves_other_machines_has_any_name() -> None:
    """In containers and on Kubernetes it is called by the names that services have there."""

    async def story(world: World) -> None:
        assert (await answer(world, "router.quorate.svc"))[0] == 200

    tell(story, http="0.0.0.0:0", insecure=True)
