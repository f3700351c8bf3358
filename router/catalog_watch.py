"""Keeps the catalog view up to date: it is followed all the time, and refreshed on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from router.catalog_view import CatalogView
from router.control import NodeControl

REFRESH_PAUSE_SECONDS: Final = 0.05
"""Least time between two refreshes, however many ask. Ours."""

REFRESH_WAITERS_MAX: Final = 10_000
"""Most callers that wait for a refresh. Ours."""


class CatalogWatch:
    """Feeds a `CatalogView`; owns no decision on what to do with a catalog."""

    def __init__(self, view: CatalogView, control: NodeControl) -> None:
        self._view = view
        self._control = control
        self._wanted = asyncio.Event()
        self._waiters: list[Callable[[], None]] = []

    async def watch_forever(self) -> None:
        """Follow the catalog at the nodes, one after the other."""
        await self._control.follow_catalog(self._view.adopt)

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
