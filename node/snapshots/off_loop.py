"""Work on a thread, for what may wait for a disk; and the way back to the host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

Call = Callable[..., Any]
"""Calls what it is given with what follows: how the host is called, whose every exception is a bug
that must end the process."""


async def off_loop(work: Callable[[], T]) -> T:
    """Run `work` on a thread. If cancelled, end only after it: what it uses is then free."""
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
