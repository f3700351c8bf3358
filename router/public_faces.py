"""Both faces to clients together: let in, drained at a stop, and begun anew after a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from quorate.http.server import HttpServer
from router.grpc_face import GrpcFace
from router.http_face import HttpFace
from router.service import Service

IDLE_SECONDS: Final = 0.3
"""At a stop, idle connections stay open so long: a client that is about to use one gets its answer,
and is told to go, instead of finding it closed. Ours."""

LOOK_SECONDS: Final = 0.02
"""Between two looks whether a stop can go on. Ours."""


class PublicFaces:
    """HTTP and gRPC. `grpc` is another one after each sleep: a server of grpc's ends for good."""

    def __init__(
        self,
        service: Service,
        http_face: HttpFace,
        http: HttpServer,
        make_grpc: Callable[[], GrpcFace],
        clock: Callable[[], float],
    ) -> None:
        """`http` is the listener of `http_face`."""
        self._service = service
        self._http_face = http_face
        self._make_grpc = make_grpc
        self._clock = clock
        self._beginning_anew = asyncio.Lock()
        self.http = http
        self.grpc = make_grpc()

    def drop_all(self) -> None:
        """Drop every connection, everything unread and every call: nobody knows how old they are.

        `begin_anew` is to follow.
        """
        self._http_face.drop_waiting()
        self.http.drop_all()
        self.grpc.drop()
        self._service.drop_all()

    async def begin_anew(self, host: str) -> None:
        """Let gRPC's clients in again, on the same port. Raises OSError if it cannot be had."""
        async with self._beginning_anew:
            port = self.grpc.port
            await self.grpc.stop(0)
            self.grpc = self._make_grpc()
            await self.grpc.start(host, port)
            await self.grpc.set_serving(serving=True)

    async def drain(self, grace_seconds: float) -> None:
        """Take no more requests and answer those in flight, within a time."""
        async with self._beginning_anew:
            await asyncio.gather(self.grpc.stop(grace_seconds), self._drain_http(grace_seconds))

    async def _drain_http(self, grace_seconds: float) -> None:
        http, deadline = self.http, self._clock() + grace_seconds
        http.stop_accepting()
        if http.connection_count:
            await asyncio.sleep(IDLE_SECONDS)
            http.close_idle()
        while http.busy_count and self._clock() < deadline:  # noqa: ASYNC110 (once, at the end)
            await asyncio.sleep(LOOK_SECONDS)
        http.abort_all()
