"""Rare questions to nodes, on channels of their own: catalog changes, statuses, newest catalog.

Every call has a deadline. The catalog's stream is `router.catalog_watch`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc.aio

from model.errors import ModelError, ServiceUnavailable
from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.channels import open_channel
from quorate.cluster.codec import decode_catalog
from quorate.cluster.outcome import Outcome
from quorate.v1 import catalog_pb2, node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceStub
from router.refusals import outcome_unknown

log = logging.getLogger(__name__)

ATTEMPT_SECONDS_MAX: Final = 1.5
"""Longest wait for one node's answer to a catalog change. Ours: an election fits in."""

PAUSE_SECONDS: Final = 0.05
"""Pause after every node was asked for the catalog's leader in vain. Ours."""

STATUS_SECONDS_MAX: Final = 1.0
"""Longest wait for a node's status. Ours."""

STRAGGLER_SECONDS: Final = 0.1
"""How long the slower half of the nodes is waited for by `newest_catalog`. Ours."""

Stub = Any  # protoc's service stubs have no types


class NodeControl:
    """Channels to nodes for rare questions, opened when first needed."""

    def __init__(
        self,
        seeds: Sequence[str],
        catalog: Callable[[], Catalog],
        clock: Callable[[], float],
    ) -> None:
        """`seeds` are the addresses given at start; the catalog adds the others."""
        self._seeds = tuple(seeds)
        self._catalog = catalog
        self._clock = clock
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[str, Stub] = {}
        self._leader_address = ""  # who led the catalog when it was last changed

    async def __aenter__(self) -> NodeControl:
        """Start with no channels."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all channels."""
        async with AsyncExitStack() as stack:
            for channel in self._channels.values():
                stack.push_async_callback(channel.close)

    def stub(self, address: str) -> Stub:
        """Return the NodeService of an address."""
        stub = self._stubs.get(address)
        if stub is None:
            channel = self._channels[address] = open_channel(address)
            stub = self._stubs[address] = NodeServiceStub(channel)
        return stub

    def addresses(self) -> list[str]:
        """Return the nodes' addresses: the catalog's, before there is one the seeds'."""
        known = [node.address for node in self._catalog().nodes]
        return known or list(self._seeds)

    async def change_catalog(
        self, command: catalog_pb2.CatalogCommand, deadline: float
    ) -> node_pb2.ChangeCatalogResponse:
        """Have the catalog's leader apply a command, and return its final answer.

        The answer's outcome is OK or INVALID. Raises a ModelError at the deadline: an "unknown
        outcome" if a node may have taken the command.
        """
        request = node_pb2.ChangeCatalogRequest(command=command)
        maybe_proposed = False
        hint = self._leader_address
        while self._clock() < deadline:
            tried: set[str] = set()
            queue = [hint, *self.addresses()] if hint else self.addresses()
            hint = ""
            while queue and self._clock() < deadline:
                address = queue.pop(0)
                if address in tried:
                    continue
                tried.add(address)
                try:
                    answer = await self.stub(address).ChangeCatalog(
                        request, timeout=min(ATTEMPT_SECONDS_MAX, deadline - self._clock())
                    )
                except grpc.aio.AioRpcError as error:
                    maybe_proposed |= error.code() is not grpc.StatusCode.UNIMPLEMENTED
                    continue
                if answer.outcome in (Outcome.OK, Outcome.INVALID):
                    self._leader_address = address
                    return answer  # type: ignore[no-any-return]
                if answer.outcome == Outcome.UNKNOWN:
                    maybe_proposed = True
                elif answer.outcome == Outcome.NOT_LEADER:
                    leader = self._catalog().node_by_id.get(answer.leader)
                    if leader is not None:
                        queue.insert(0, leader.address)
            await asyncio.sleep(PAUSE_SECONDS)
        raise self._not_changed(maybe_proposed=maybe_proposed)

    @staticmethod
    def _not_changed(*, maybe_proposed: bool) -> ModelError:
        if maybe_proposed:
            return outcome_unknown()
        return ServiceUnavailable("The catalog has no leader that this router can reach.")

    async def newest_catalog(self) -> Catalog | None:
        """Ask all nodes for their catalogs; return the newest, None if nobody answers in time.

        When half of them have answered, the others have only a moment left: one may hang.
        """
        found: list[Catalog] = []
        async with asyncio.TaskGroup() as tasks:
            asked = {
                tasks.create_task(self._fetch_catalog(address, found))
                for address in self.addresses()
            }
            count = len(asked)
            while asked:
                seconds = STATUS_SECONDS_MAX if len(asked) * 2 > count else STRAGGLER_SECONDS
                done, asked = await asyncio.wait(
                    asked, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    for task in asked:
                        task.cancel()
                    break
        return max(found, key=lambda catalog: catalog.epoch, default=None)

    async def _fetch_catalog(self, address: str, found: list[Catalog]) -> None:
        call = self.stub(address).WatchCatalog(
            node_pb2.WatchCatalogRequest(), timeout=STATUS_SECONDS_MAX
        )
        try:
            first = await call.read()
            if first is not grpc.aio.EOF:
                found.append(decode_catalog(first.catalog))
        except grpc.aio.AioRpcError as error:
            log.debug("no catalog from %s: %s", address, error.code().name)
        finally:
            call.cancel()

    async def statuses(
        self, *, table_sizes: bool
    ) -> list[tuple[NodeRecord, node_pb2.GetStatusResponse | None]]:
        """Return every node of the catalog with its status, None for one that does not answer."""
        nodes = self._catalog().nodes
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(self._status(node.address, table_sizes=table_sizes))
                for node in nodes
            ]
        return [(node, task.result()) for node, task in zip(nodes, asked, strict=True)]

    async def _status(
        self, address: str, *, table_sizes: bool
    ) -> node_pb2.GetStatusResponse | None:
        try:
            return await self.stub(address).GetStatus(  # type: ignore[no-any-return]
                node_pb2.GetStatusRequest(table_sizes=table_sizes), timeout=STATUS_SECONDS_MAX
            )
        except grpc.aio.AioRpcError:
            return None
