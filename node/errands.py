"""What a node does beside its turns: tasks that end, at the latest, when the node comes to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

End = Callable[[], object]
"""Ends one errand early; harmless when it has ended."""


class Errands:
    """Tasks that run while a block runs; an exception in one of them ends the block.

    They may be started at any time. Once they are over, the end of a new one comes before its
    beginning: so nobody who starts one has to know whether this node is stopping.
    """

    def __init__(self) -> None:
        """Start with none; the block is entered before the first."""
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._are_over = False

    async def __aenter__(self) -> Self:
        """Enter the block."""
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what runs. Raises what an errand has raised, in a group."""
        self._cancel()
        await self._group.__aexit__(kind, error, traceback)

    def start(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> End:
        """Begin something; return what ends it early."""
        if self._are_over:
            errand = asyncio.get_running_loop().create_task(work, name=name)
            errand.cancel()
        else:
            errand = self._group.create_task(work, name=name)
        self._running.add(errand)
        errand.add_done_callback(self._ended)
        return errand.cancel

    async def end(self) -> None:
        """End what runs, and wait until it has: from here on nothing runs."""
        self._cancel()
        while self._running:
            await asyncio.wait(self._running)

    def _cancel(self) -> None:
        self._are_over = True
        for errand in self._running:
            errand.cancel()

    def _ended(self, errand: asyncio.Task[None]) -> None:
        self._running.discard(errand)
        if not errand.cancelled() and errand.exception() is not None:
            self._are_over = True  # the group begins nothing any more
