"""A node gets the catalog from whoever has it, though others hang or are behind. Real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import grpc.aio
import pytest

from node import catalog_follower
from node.acquaintances import Acquaintances
from node.catalog_follower import CatalogFollower
from node.errands import Errands
from node.guard import Guard
from node.join import Seeds
from node.server import NodeServicer
from node.storage.identity import Identity
from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_leader import NodeChannels
from quorate.cluster.channels import Dialer

OLD, NEW = 3, 5


@dataclass
class Host:
    """The part of a host, and of its shell, that has a catalog."""

    catalog: Catalog = field(default_factory=Catalog)

    @property
    def host(self) -> Host:
        return self

    def adopt_catalog(self, catalog: Catalog) -> None:
        if catalog.epoch > self.catalog.epoch:
            self.catalog = catalog


@asynccontextmanager
async def serving(epoch: int, tmp_path: Path) -> AsyncIterator[str]:
    """Serve a node that has a catalog of this epoch; yield its address."""
    guard = Guard("")
    servicer = NodeServicer(Acquaintances(identity(), lambda _: None), tmp_path, guard)
    servicer.shell = cast("Any", Host(Catalog(epoch=epoch)))
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((guard.handlers(servicer),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    """Take connections and say nothing, as behind a cut; yield the address."""
    ended = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        ended.set()
        server.close()


def identity(addresses: dict[int, str] | None = None) -> Identity:
    return Identity("cluster", 1, "n1", "az", "i1", joined=True, addresses=addresses or {})


Story = Callable[[CatalogFollower, Host, Errands], Awaitable[None]]


def run_story(tmp_path: Path, story: Story, *, epochs: tuple[int, ...]) -> None:
    """Run a story of node 1, which knows one node that hangs and some with these epochs."""

    async def run() -> None:
        async with (
            asyncio.timeout(20),
            hanging() as hung,
            serving(epochs[0], tmp_path) as first,
            serving(epochs[-1], tmp_path) as last,
            NodeChannels(Dialer()) as channels,
            Errands() as errands,
        ):
            host = Host()
            follower = CatalogFollower(
                identity({2: hung, 3: first, 4: last}),
                Seeds(),
                Dialer(),
                channels,
                errands,
                cast("Any", host),
                lambda act, *arguments: act(*arguments),
            )
            await story(follower, host, errands)

    asyncio.run(run())


async def until_it_has(host: Host, epoch: int) -> None:
    while host.catalog.epoch != epoch:
        await asyncio.sleep(0.005)


def test_node_that_is_behind_gets_the_catalog_from_any_node_that_has_it(tmp_path: Path) -> None:
    """One that hangs, and one that is behind, are asked, too, and hold nothing up."""

    async def story(follower: CatalogFollower, host: Host, _: Errands) -> None:
        follower.want(NEW)
        await until_it_has(host, NEW)

    run_story(tmp_path, story, epochs=(OLD, NEW))


def test_node_asks_again_as_long_as_it_is_wanted_to_know_more(tmp_path: Path) -> None:
    """Nobody has heard of that yet: it asks no more until it is wanted again."""

    async def story(follower: CatalogFollower, host: Host, _: Errands) -> None:
        follower.want(NEW + 1)
        await until_it_has(host, NEW)
        host.catalog = Catalog(epoch=OLD)
        follower.want(NEW)
        await until_it_has(host, NEW)

    run_story(tmp_path, story, epochs=(NEW, NEW))


def test_watch_of_a_node_that_is_behind_for_ever_does_not_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was replaced and watches this one: both would never hear of it."""
    monkeypatch.setattr(catalog_follower, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(catalog_follower, "WATCH_RETRY_SECONDS", 0.0)

    async def story(follower: CatalogFollower, host: Host, errands: Errands) -> None:
        errands.start(follower.watch())
        await until_it_has(host, OLD)
        await until_it_has(host, NEW)

    run_story(tmp_path, story, epochs=(OLD, NEW))


def test_node_that_is_cut_off_says_so_once_and_once_that_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its watches fail several times a second."""
    monkeypatch.setattr(catalog_follower, "WATCH_RETRY_SECONDS", 0.0)
    caplog.set_level("INFO", logger="quorate.events")

    async def run() -> None:
        async with (
            asyncio.timeout(20),
            refusing(watches=20) as (address, refused),
            NodeChannels(Dialer()) as channels,
            Errands() as errands,
        ):
            own, host = identity({2: address}), Host()
            follower = CatalogFollower(
                own, Seeds(), Dialer(), channels, errands, cast("Any", host), lambda *_: None
            )
            errands.start(follower.watch())
            await refused.wait()
            async with serving(NEW, tmp_path) as there:
                own.addresses[2] = there
                while not any("catalog_watched" in line for line in caplog.messages):
                    await asyncio.sleep(0.005)

    asyncio.run(run())

    begun, ended = caplog.messages
    assert begun.startswith("catalog_watch_ended ")
    times = int(ended.split("times=")[1].split()[0])
    assert ended.startswith("catalog_watched ")
    assert times > 1


@asynccontextmanager
async def refusing(*, watches: int) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Hang up on whoever calls; yield the address, and what is set after so many calls."""
    refused = asyncio.Event()
    count = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count > watches:
            refused.set()
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", refused
    finally:
        server.close()
