"""Messages that come over gRPC: how many at a time, for how long, and from whom.

gRPC reads a message only when it is asked for; until then a call costs one flow-control window.
So calls are judged by their metadata, and then wait for a place in which their message comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from model.errors import SerializationFailed, Throttled
from quorate.shares import Shares

REQUEST_BYTES_MAX: Final = (4 << 20) + (64 << 10)
"""Largest message that is taken: gRPC's usual limit, and an envelope. Ours."""

COMING_MAX: Final = 64
"""Most messages that come at a time: 260 MiB, if all are as large as they may be. Ours."""

COMING_PER_NETWORK_MAX: Final = 16
"""Most of them from one network. Ours."""

MESSAGE_SECONDS_MAX: Final = 10.0
"""Longest time for a message to come, its wait for a place included. Ours: as a body's on HTTP."""

PATIENCE_SECONDS: Final = 0.5
"""A message that has been coming for so long gives up its place if others wait. Ours: most are
there before they are asked for."""

TOO_SLOW: Final = "The message did not come in time, while others waited for its place."


@dataclass(slots=True, eq=False)
class _Coming:
    network: str
    limit: asyncio.Timeout
    since: float = 0.0  # on the loop's clock: when it got its place
    has_place: asyncio.Future[None] | None = field(default=None)


class Arrivals:
    """The places, and the calls that wait for one."""

    def __init__(self) -> None:
        self._places = Shares(COMING_PER_NETWORK_MAX, COMING_MAX)
        self._coming: dict[_Coming, None] = {}  # the oldest first
        self._waiting: deque[_Coming] = deque()

    async def receive(self, network: str, messages: AsyncIterator[bytes]) -> bytes:
        """Return a call's message. Raises Throttled, or SerializationFailed if there is none."""
        try:
            async with asyncio.timeout(MESSAGE_SECONDS_MAX) as limit:
                coming = _Coming(network, limit)
                try:
                    if self._waiting or not self._enter(coming):
                        await self._wait_for_place(coming)
                    return await anext(messages)
                finally:
                    self._leave(coming)
        except TimeoutError:
            raise Throttled(TOO_SLOW) from None
        except StopAsyncIteration:
            raise SerializationFailed("The call has no message.") from None

    def _enter(self, coming: _Coming) -> bool:
        if not self._places.take(coming.network):
            return False
        coming.since = asyncio.get_running_loop().time()
        self._coming[coming] = None
        return True

    async def _wait_for_place(self, coming: _Coming) -> None:
        loop = asyncio.get_running_loop()
        has_place: asyncio.Future[None] = loop.create_future()
        coming.has_place = has_place
        self._waiting.append(coming)
        self._let_in()
        while not has_place.done():
            self._end_slow(loop.time())
            await asyncio.wait([has_place], timeout=PATIENCE_SECONDS / 2)

    def _end_slow(self, now: float) -> None:
        """End as many messages that take their time as there are calls that wait."""
        slow = [each for each in self._coming if now - each.since >= PATIENCE_SECONDS]
        for coming in slow[: len(self._waiting)]:
            coming.limit.reschedule(now)

    def _leave(self, coming: _Coming) -> None:
        if coming in self._coming:
            del self._coming[coming]
            self._places.give_back(coming.network)
        elif coming in self._waiting:
            self._waiting.remove(coming)
        if self._waiting:
            self._let_in()

    def _let_in(self) -> None:
        """Give places to those who wait, in turn, but for networks that have theirs."""
        for coming in list(self._waiting):
            if self._enter(coming):
                self._waiting.remove(coming)
                assert coming.has_place is not None
                if not coming.has_place.done():
                    coming.has_place.set_result(None)
