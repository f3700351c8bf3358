"""Running a test's coroutine in the loop that the router uses, with a bound on its time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import uvloop

Result = TypeVar("Result")

SECONDS_MAX = 20.0


def run(story: Coroutine[object, object, Result]) -> Result:
    """Run a coroutine to its end in a uvloop."""

    async def bounded() -> Result:
        async with asyncio.timeout(SECONDS_MAX):
            return await story

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())
