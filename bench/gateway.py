"""One address for several routers, as a balancer in front of them is: TCP, passed on as it is.

A new connection goes to the router whose turn it is, or to the next one that takes it. Ends are
passed on; nothing is looked at, retried or checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from quorate.local.topology import HOST

CHUNK_BYTES = 64 << 10
START_SECONDS = 5.0


class Gateway:
    """Runs in a thread of its own while the block lasts; `port` is where it listens."""

    def __init__(self, ports: Sequence[int]) -> None:
        """Pass connections on to routers on these ports of this machine."""
        self.port = 0
        self._ports = tuple(ports)
        self._turn = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        assert self._started.wait(START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drop every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._pass_on, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        while passing := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.wait(passing, timeout=1.0)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected = await self._connected()
        if connected is None:
            writer.close()
            return
        router_reader, router_writer = connected
        pair = {writer, router_writer}
        self._writers |= pair
        await asyncio.gather(_copy(reader, router_writer), _copy(router_reader, writer))
        self._writers -= pair

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection to a router, None if none takes it."""
        self._turn += 1
        for number in range(len(self._ports)):
            port = self._ports[(self._turn + number) % len(self._ports)]
            with contextlib.suppress(ConnectionError):
                return await asyncio.open_connection(HOST, port)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()
