"""The node's admin face: /metrics, /health and /ready, if it is told where."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from node.metrics.page import MetricsPage
from node.shell import ProcessShell
from quorate.http.addresses import split_address
from quorate.http.admin import ADMIN_LIMITS, AdminFace
from quorate.http.server import HttpServer


@asynccontextmanager
async def serve_admin(
    address: str, metrics: MetricsPage, shell: Callable[[], ProcessShell | None]
) -> AsyncIterator[str]:
    """Serve at host:port, "" for nowhere, while the block runs.

    `shell` returns None before the node takes part in the cluster. The block is told "", or why
    the address cannot be had.
    """
    if not address:
        yield ""
        return

    def unready_reason() -> str:
        running = shell()
        return "it does not take part yet" if running is None else running.unready_reason()

    async with asyncio.TaskGroup() as tasks:
        face = AdminFace(
            {b"/metrics": lambda headers: metrics.scrape(shell(), headers)},
            unready_reason=unready_reason,
            tasks=tasks,
        )
        server = HttpServer(face.handle, ADMIN_LIMITS)
        try:
            await server.start(*split_address(address))
        except OSError as error:
            yield f"cannot listen on {address} for admin: {error.strerror or error}"
            return
        sweeping = tasks.create_task(server.sweep_forever())
        try:
            yield ""
        finally:
            server.stop_accepting()
            server.abort_all()
            sweeping.cancel()
