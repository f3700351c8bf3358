"""Asks the pools at the catalog's leader for tokens: now and then, and when a load begins."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

import grpc.aio

from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_leader import Stub
from quorate.cluster.outcome import Outcome
from quorate.v1 import node_pb2
from router.admission.lease import ASK_SECONDS
from router.admission.tables import TableAdmission, TableAsk

log = logging.getLogger(__name__)

ANSWER_SECONDS_MAX: Final = 0.5
"""Longest wait for an answer. Ours: meanwhile nothing else is asked."""


class Leasing:
    """One question outstanding at a time, with the asks of all tables in it."""

    def __init__(
        self,
        admission: TableAdmission,
        stub: Callable[[str], Stub],
        *,
        router: str,
        catalog: Callable[[], Catalog],
        clock: Callable[[], float],
    ) -> None:
        """`stub` is the NodeService of an address; `router` this process's own name."""
        self._admission = admission
        self._stub = stub
        self._router = router
        self._catalog = catalog
        self._clock = clock
        self._leader = ""  # its address, as far as known
        self._turn = count()
        self._asking: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        admission.on_credit = self._ask_soon

    async def run_forever(self) -> None:
        """Ask until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(ASK_SECONDS):
                        await self._wake.wait()
                self._wake.clear()
                asks = self._admission.tick(self._clock())
                if asks and not self._is_asking():
                    self._asking = tasks.create_task(self._ask(asks))

    def _ask_soon(self) -> None:
        if not self._is_asking():
            self._wake.set()

    def _is_asking(self) -> bool:
        return self._asking is not None and not self._asking.done()

    async def _ask(self, asks: Sequence[TableAsk]) -> None:
        is_guess = not self._leader
        address = self._leader or self._next_address()
        request = node_pb2.LeaseCapacityRequest(
            router=self._router,
            asks=[
                node_pb2.CapacityAsk(
                    table=asked.table_id,
                    reads=asked.reads,
                    wanted=asked.ask.wanted,
                    returned=asked.ask.returned,
                    level=asked.ask.level,
                )
                for asked in asks
            ],
        )
        try:
            answer = await self._stub(address).LeaseCapacity(request, timeout=ANSWER_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            log.debug("no capacity from %s: %s", address, error.code().name)
            self._leader = ""
            return
        self._asking = None  # who has waited in vain may have another one asked at once
        if answer.outcome == Outcome.OK:
            self._leader = address
            grants = [(grant.tokens, grant.level) for grant in answer.grants]
            self._admission.granted(asks, grants)
        else:
            leader = self._catalog().node_by_id.get(answer.leader)
            self._leader = "" if leader is None else leader.address
            if is_guess and self._leader:
                self._wake.set()

    def _next_address(self) -> str:
        """Return the address of one of the catalog's replicas, another one each time."""
        catalog = self._catalog()
        replicas = catalog.catalog_replicas
        return catalog.node_by_id[replicas[next(self._turn) % len(replicas)]].address
