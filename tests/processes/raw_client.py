"""Calls over HTTP without an SDK and without retries: what happened is what is told."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from quorate.demo.raw_http import RawConnection, dynamodb_request

NO_ANSWER = 0
"""Status of a call that was sent and never answered: its outcome is unknown."""

NOT_SENT = -1
"""Status of a call for which there was no connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and when; times are on the monotonic clock."""

    status: int
    document: dict[str, Any]
    called: float
    returned: float

    @property
    def ok(self) -> bool:
        return self.status == 200

    @property
    def code(self) -> str:
        return str(self.document.get("__type", "")).rpartition("#")[2]

    @property
    def surely_not_done(self) -> bool:
        return self.status in (NOT_SENT, 503) or 400 <= self.status < 500

    @property
    def seconds(self) -> float:
        return self.returned - self.called


class RawClient:
    """A pool of plain connections to one router. Use with `async with`."""

    def __init__(self, port: int, *, timeout_seconds: float = 6.0) -> None:
        self._port = port
        self._timeout_seconds = timeout_seconds
        self._free: list[RawConnection] = []
        self._waiting: dict[RawConnection, asyncio.Future[tuple[int, bytes] | None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in [*self._free, *self._waiting]:
            connection.abort()
        await asyncio.sleep(0)

    async def call(self, operation: str, document: dict[str, Any]) -> Answer:
        """Make one attempt."""
        called = time.monotonic()
        try:
            connection = await self._connection()
        except OSError:
            return Answer(NOT_SENT, {}, called, time.monotonic())
        future = asyncio.get_running_loop().create_future()
        self._waiting[connection] = future
        connection.send(
            dynamodb_request(operation, json.dumps(document).encode(), host="127.0.0.1")
        )
        try:
            answer = await asyncio.wait_for(future, self._timeout_seconds)
        except TimeoutError:
            answer = None
        finally:
            self._waiting.pop(connection, None)
            if not future.done() or future.cancelled() or future.result() is None:
                connection.abort()
            else:
                self._free.append(connection)
        returned = time.monotonic()
        if answer is None:
            return Answer(NO_ANSWER, {}, called, returned)
        status, body = answer
        return Answer(status, json.loads(body) if body else {}, called, returned)

    async def _connection(self) -> RawConnection:
        while self._free:
            connection = self._free.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: RawConnection(self._answered, self._lost), "127.0.0.1", self._port
        )
        return connection

    def _answered(self, connection: RawConnection, status: int, body: bytes) -> None:
        future = self._waiting.get(connection)
        if future is not None and not future.done():
            future.set_result((status, body))

    def _lost(self, connection: RawConnection) -> None:
        future = self._waiting.get(connection)
        if future is not None and not future.done():
            future.set_result(None)
