"""The admin face: /health, /serving and /ready for probes, and pages made when asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from quorate.http.exchange import Exchange
from quorate.http.limits import HttpLimits
from quorate.logs import bug

JSON: Final = b"Content-Type: application/json\r\n"
PLAIN: Final = b"Content-Type: text/plain; charset=utf-8\r\n"

PAGES_MAX: Final = 16
"""Most pages made at a time: some ask every node. Ours."""

ADMIN_LIMITS: Final = HttpLimits(
    body_bytes_max=16 << 10,
    connections_max=64,  # probes, a scraper or two, people
    connections_per_network_max=16,
    idle_seconds_max=10.0,
)
"""What may be taken of an admin face. Ours: whoever fills it must not keep probes out."""


Page = Callable[[Mapping[bytes, bytes]], Awaitable[tuple[bytes, bytes]]]
"""Makes a page: takes the request's headers, returns complete header lines and the body."""


class AdminFace:
    """Serves operators and probes. `handle` is the handler of an `HttpServer`."""

    def __init__(
        self,
        pages: Mapping[bytes, Page],
        *,
        unready_reason: Callable[[], str],
        tasks: asyncio.TaskGroup,
        unserving_reason: Callable[[], str] | None = None,
    ) -> None:
        """`pages` are by path; `unready_reason` returns "" when the process is ready.

        With `unserving_reason` there is /serving: whether clients are let in.
        """
        self._pages = pages
        self._reasons = {b"/ready": (unready_reason, b"ready\n")}
        if unserving_reason is not None:
            self._reasons[b"/serving"] = (unserving_reason, b"serving\n")
        self._tasks = tasks
        self._making = 0  # pages
        paths = b", ".join((b"/health", *self._reasons, *pages))
        self._not_found = b"there are " + paths + b"\n"

    def handle(self, exchange: Exchange) -> None:
        """Serve one request.

        /health is true whenever it is answered: the loop that answers does all of the work.
        """
        if exchange.method not in (b"GET", b"HEAD"):
            exchange.reply(405, PLAIN + b"Allow: GET, HEAD\r\n", b"")
            return
        path = exchange.path.partition(b"?")[0]
        if path == b"/health":
            exchange.reply(200, PLAIN, b"ok\n")
        elif path in self._reasons:
            find_reason, good = self._reasons[path]
            reason = find_reason()
            if reason:
                exchange.reply(503, PLAIN, reason.encode() + b"\n")
            else:
                exchange.reply(200, PLAIN, good)
        elif path in self._pages:
            self._serve_page(exchange, self._pages[path])
        else:
            exchange.reply(404, PLAIN, self._not_found)

    def _serve_page(self, exchange: Exchange, page: Page) -> None:
        if self._making >= PAGES_MAX:
            exchange.reply(503, PLAIN, b"too many at once\n")
            return
        self._making += 1
        self._tasks.create_task(self._answer(exchange, page))

    async def _answer(self, exchange: Exchange, page: Page) -> None:
        try:
            exchange.reply(200, *await page(exchange.headers))
        except Exception:  # noqa: BLE001 - this task belongs to one exchange
            bug("page_failed", path=exchange.path)
            exchange.reply(500, PLAIN, b"see the log of this process\n")
        finally:
            self._making -= 1
