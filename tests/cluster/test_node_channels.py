"""Channels that are kept: new certificates make new ones, and what is open on the old goes on."""

from __future__ import annotations

import asyncio

import grpc.aio

from quorate.cluster.catalog_leader import NodeChannels
from quorate.cluster.channels import Dialer

ADDRESS = "127.0.0.1:1"


class Renewing(Dialer):
    """A dialer whose credentials are an object of the test's; it keeps what it has opened."""

    def __init__(self) -> None:
        super().__init__()
        self.newest = object()
        self.opened: list[Noting] = []

    @property
    def credentials(self) -> object:  # type: ignore[override]
        return self.newest

    def open(self, address: str, node_name: str = "") -> grpc.aio.Channel:
        del address, node_name
        self.opened.append(Noting())
        return self.opened[-1]  # type: ignore[return-value]


class Noting:
    """A channel that notes whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: None  # what a stub asks of it

    async def close(self) -> None:
        self.closed = True


def test_new_certificates_make_new_channels_and_only_the_last_but_one_are_closed() -> None:
    async def story() -> None:
        dialer = Renewing()
        async with NodeChannels(dialer) as channels:
            first = channels.stub(ADDRESS)
            assert channels.stub(ADDRESS) is first
            dialer.newest = object()
            assert channels.stub(ADDRESS) is not first
            await asyncio.sleep(0)
            assert [each.closed for each in dialer.opened] == [False, False]
            dialer.newest = object()
            channels.stub(ADDRESS)
            await asyncio.sleep(0)
            assert [each.closed for each in dialer.opened] == [True, False, False]
        assert all(each.closed for each in dialer.opened)

    asyncio.run(story())
