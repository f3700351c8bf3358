"""How connections come in: soon, though the loop is busy; with bounds; also when files run out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from quorate.http import acceptor
from quorate.http.acceptor import Acceptor
from quorate.http.limits import HttpLimits
from quorate.http.server import ACCEPTED_MAX, HANDSHAKES_MAX
from tests.router.loops import run
from tests.router.talk import Talk, tell
from tests.router.world import World
from tests.router.world import tell as tell_of_router

ROOMY = HttpLimits()


@contextlib.contextmanager
def clients(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections; the loop does not run meanwhile, so the kernel keeps them."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)
        ]


async def counts_by_pass(talk: Talk, until: Callable[[], bool]) -> list[int]:
    """Return how many connections there were in each pass of the loop, until something is true."""
    counts = [talk.server.connection_count]
    while not until():
        await asyncio.sleep(0)
        counts.append(talk.server.connection_count)
    return counts


@pytest.mark.parametrize(
    ("tls", "count_max"),
    [(None, ACCEPTED_MAX), (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), HANDSHAKES_MAX)],
    ids=["plain", "TLS"],
)
def test_clients_that_come_at_once_are_taken_in_few_passes_and_not_all_in_one(
    tls: ssl.SSLContext | None, count_max: int
) -> None:
    async def story(talk: Talk) -> None:
        count = 4 * count_max  # with their other ends fewer than the usual limit of files
        with clients(talk.server.port, count):
            counts = await counts_by_pass(talk, lambda: talk.server.connection_count == count)

        assert max(after - before for before, after in pairwise(counts)) == count_max
        assert len(counts) < 20, "not one in each pass"

    tell(story, ROOMY, tls=tls)


def test_when_files_run_out_clients_wait_until_there_are_some(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acceptor, "REST_SECONDS", 0.001)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def story(talk: Talk) -> None:
        with clients(talk.server.port, 3):
            highest = max(map(int, os.listdir("/proc/self/fd")))
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
            taken = list(all_files())
            await counts_by_pass(talk, lambda: "connections_wait" in caplog.text)
            assert talk.server.connection_count == 0
            for each in taken:
                os.close(each)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await counts_by_pass(talk, lambda: talk.server.connection_count == 3)

    try:
        tell(story, ROOMY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def all_files() -> Iterator[int]:
    """Take every file descriptor that is left."""
    with contextlib.suppress(OSError):
        while True:
            yield os.dup(0)


def test_every_address_is_those_of_both_families() -> None:
    """As gRPC's listeners: else one port would take both, and the other IPv6 alone."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")

    async def story() -> None:
        listening = Acceptor(asyncio.Protocol, lambda _: None, count_max=1)
        await listening.listen("::", 0)
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, listening.port)
            writer.close()
        listening.close()

    run(story())


def test_a_router_on_every_address_takes_both_families_on_all_faces() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")

    async def story(world: World) -> None:
        router = world.router
        for port in (router.http_port, router.grpc_port, router.admin_port):
            for host in ("127.0.0.1", "::1"):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()

    tell_of_router(story, http="[::]:0", grpc="[::]:0", admin="[::]:0", insecure=True)


def test_all_addresses_of_a_host_are_listened_on_or_none() -> None:
    async def story() -> None:
        taken = socket.create_server(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        listening = Acceptor(asyncio.Protocol, lambda _: None, count_max=1)
        with taken, pytest.raises(OSError, match="in use"):
            await listening.listen("localhost", port)
        await listening.listen("localhost", port)
        assert listening.port == port
        with clients(port, 1):
            pass
        listening.close()
        with pytest.raises(ConnectionRefusedError), clients(port, 1):
            pass

    run(story())


def test_who_is_turned_away_hears_it_whole_though_it_has_sent_something() -> None:
    async def story() -> None:
        listening = Acceptor(
            asyncio.Protocol, lambda address: b"not you, " + address.encode(), count_max=1
        )
        await listening.listen("127.0.0.1", 0)
        with clients(listening.port, 1) as [client]:
            client.send(b"hello")
            client.settimeout(0)
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(client, 100) == b"not you, 127.0.0.1"
            assert await loop.sock_recv(client, 100) == b""
        listening.close()

    run(story())
