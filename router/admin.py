"""The admin face: /metrics, /health, /ready, /status, over the same HTTP protocol."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from router.http_protocol import Exchange

log = logging.getLogger(__name__)

JSON: Final = b"Content-Type: application/json\r\n"
PLAIN: Final = b"Content-Type: text/plain; charset=utf-8\r\n"

STATUS_CALLS_MAX: Final = 16
"""Most /status requests at a time: each asks every node. Ours."""


class AdminFace:
    """Serves operators and probes. `handle` is the handler of an `HttpServer`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        unready_reason: Callable[[], str],
        status: Callable[[], Awaitable[dict[str, object]]],
        tasks: asyncio.TaskGroup,
    ) -> None:
        """`unready_reason` returns "" when the router is ready."""
        self._registry = registry
        self._unready_reason = unready_reason
        self._status = status
        self._tasks = tasks
        self._status_calls = 0

    def handle(self, exchange: Exchange) -> None:
        """Serve one request."""
        if exchange.method not in (b"GET", b"HEAD"):
            exchange.reply(405, PLAIN + b"Allow: GET, HEAD\r\n", b"")
            return
        match exchange.path.partition(b"?")[0]:
            case b"/metrics":
                content_type = b"Content-Type: %b\r\n" % CONTENT_TYPE_PLAIN_0_0_4.encode()
                exchange.reply(200, content_type, generate_latest(self._registry))
            case b"/health":
                exchange.reply(200, PLAIN, b"ok\n")
            case b"/ready":
                reason = self._unready_reason()
                if reason:
                    exchange.reply(503, PLAIN, reason.encode() + b"\n")
                else:
                    exchange.reply(200, PLAIN, b"ready\n")
            case b"/status":
                self._handle_status(exchange)
            case _:
                exchange.reply(404, PLAIN, b"try /metrics, /health, /ready or /status\n")

    def _handle_status(self, exchange: Exchange) -> None:
        if self._status_calls >= STATUS_CALLS_MAX:
            exchange.reply(503, PLAIN, b"too many at once\n")
            return
        self._status_calls += 1
        self._tasks.create_task(self._answer_status(exchange))

    async def _answer_status(self, exchange: Exchange) -> None:
        try:
            document = await self._status()
            exchange.reply(200, JSON, orjson.dumps(document, option=orjson.OPT_INDENT_2))
        except Exception:  # this task belongs to one exchange
            log.exception("describing the cluster failed")
            exchange.reply(500, PLAIN, b"see the router's log\n")
        finally:
            self._status_calls -= 1
