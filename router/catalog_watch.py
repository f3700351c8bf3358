"""Keeps the catalog view up to date: a WatchCatalog stream from one node, refreshes on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import grpc.aio

from quorate.cluster.codec import decode_catalog
from quorate.troubles import Troubles
from quorate.v1 import node_pb2
from router.catalog_view import CatalogView
from router.control import NodeControl

FIRST_SECONDS_MAX: Final = 1.0
"""Longest wait for the first catalog of a stream before the next node is tried. Ours."""

PAUSE_SECONDS: Final = 0.1
"""Pause between two nodes. Ours."""

REFRESH_PAUSE_SECONDS: Final = 0.05
"""Least time between two refreshes, however many ask. Ours."""

REFRESH_WAITERS_MAX: Final = 10_000
"""Most callers that wait for a refresh. Ours."""


class CatalogWatch:
    """Feeds a `CatalogView`; owns no decision on what to do with a catalog."""

    def __init__(self, view: CatalogView, control: NodeControl) -> None:
        self._view = view
        self._control = control
        self._ended = Troubles("catalog_stream_ended", "catalog_stream_open")
        self._wanted = asyncio.Event()
        self._waiters: list[Callable[[], None]] = []

    async def watch_forever(self) -> None:
        """Follow one node's stream; when it breaks, the next node's."""
        turn = 0
        while True:
            addresses = self._control.addresses()
            await self._follow(addresses[turn % len(addresses)])
            turn += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _follow(self, address: str) -> None:
        call = self._control.stub(address).WatchCatalog(node_pb2.WatchCatalogRequest())
        try:
            async with asyncio.timeout(FIRST_SECONDS_MAX):
                message = await call.read()
            while message is not grpc.aio.EOF:
                self._ended.over(node=address)
                self._view.adopt(decode_catalog(message.catalog))
                message = await call.read()
            self._ended.met(node=address, reason="the node closed it")
        except TimeoutError:
            reason = f"no catalog came within {FIRST_SECONDS_MAX} s"
            self._ended.met(node=address, reason=reason)
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            self._ended.met(node=address, reason=reason)
        finally:
            call.cancel()

    def refresh(self, done: Callable[[], None] | None = None) -> bool:
        """Ask the nodes for a newer catalog soon; `done` is called when they have been asked.

        Returns False, and does nothing, if too many wait already.
        """
        if done is not None:
            if len(self._waiters) >= REFRESH_WAITERS_MAX:
                return False
            self._waiters.append(done)
        self._wanted.set()
        return True

    async def refresh_forever(self) -> None:
        """Serve refreshes, all that wait in one go."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiters, self._waiters = self._waiters, []
            newest = await self._control.newest_catalog()
            if newest is not None:
                self._view.adopt(newest)
            for done in waiters:
                done()
            await asyncio.sleep(REFRESH_PAUSE_SECONDS)

    def noticed_epoch(self, epoch: int) -> None:
        """Take a node's word that there is a newer catalog: the stream may be hung."""
        if epoch > self._view.epoch:
            self.refresh()
