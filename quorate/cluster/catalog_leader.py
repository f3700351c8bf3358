"""Asking nodes for the catalog, and its leader, wherever it is, for a change of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc
import grpc.aio

from quorate.cluster.catalog import Catalog
from quorate.cluster.channels import Dialer
from quorate.cluster.codec import decode_catalog
from quorate.cluster.outcome import Outcome
from quorate.v1 import catalog_pb2, node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceStub

ATTEMPT_SECONDS_MAX: Final = 1.5
"""Longest wait for one node's answer to a catalog change. Ours: an election fits in."""

PAUSE_SECONDS: Final = 0.05
"""Pause after every node was asked for the catalog's leader in vain. Ours."""

Stub = Any  # protoc's service stubs have no types


class NotChanged(Exception):
    """No leader of the catalog answered in time; `maybe`: one may have taken the command."""

    def __init__(self, *, maybe: bool) -> None:
        super().__init__("it may have been done" if maybe else "it was not done")
        self.maybe = maybe


class Forbidden(Exception):
    """The nodes do not take such a change from a certificate like ours; the text is a node's."""


class NodeChannels:
    """Channels to nodes for rare questions, opened when first needed and kept.

    New certificates make new channels. Those before them go on with what is open on them, until
    there are newer ones again.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._credentials = dialer.credentials  # that the channels have
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[str, Stub] = {}
        self._older: list[grpc.aio.Channel] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> NodeChannels:
        """Start with no channels."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all channels."""
        async with AsyncExitStack() as stack:
            for channel in (*self._older, *self._channels.values()):
                stack.push_async_callback(channel.close)
        await asyncio.gather(*self._closing)

    def stub(self, address: str) -> Stub:
        """Return the NodeService of an address."""
        if self._dialer.credentials is not self._credentials:
            self._begin_anew()
        stub = self._stubs.get(address)
        if stub is None:
            channel = self._channels[address] = self._dialer.open(address)
            stub = self._stubs[address] = NodeServiceStub(channel)
        return stub

    def _begin_anew(self) -> None:
        for channel in self._older:
            closing = asyncio.create_task(channel.close())  # noqa: TID251  (kept, and awaited at the end)
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._older = [*self._channels.values()]
        self._channels.clear()
        self._stubs.clear()
        self._credentials = self._dialer.credentials

    async def fetch_catalog(self, address: str, timeout_seconds: float) -> Catalog | None:
        """Return the catalog that a node has, None if it has none or does not answer in time."""
        call = self.stub(address).WatchCatalog(
            node_pb2.WatchCatalogRequest(), timeout=timeout_seconds
        )
        try:
            first = await call.read()
            if first is grpc.aio.EOF or not first.HasField("catalog"):
                return None
            return decode_catalog(first.catalog)
        except grpc.aio.AioRpcError:
            return None
        finally:
            call.cancel()

    async def fetch_status(
        self, address: str, timeout_seconds: float, *, table_sizes: bool = False
    ) -> node_pb2.GetStatusResponse | None:
        """Return what a node says of itself, None if it does not answer in time."""
        request = node_pb2.GetStatusRequest(table_sizes=table_sizes)
        try:
            status = await self.stub(address).GetStatus(request, timeout=timeout_seconds)
        except grpc.aio.AioRpcError:
            return None
        return status  # type: ignore[no-any-return]


class CatalogLeader:
    """Finds the catalog's leader among the nodes; remembers who it was."""

    def __init__(
        self,
        channels: NodeChannels,
        *,
        addresses: Callable[[], Sequence[str]],
        catalog: Callable[[], Catalog],
        clock: Callable[[], float],
    ) -> None:
        """`addresses` are asked one after the other; `catalog` tells the address of a hint."""
        self._channels = channels
        self._addresses = addresses
        self._catalog = catalog
        self._clock = clock
        self.address = ""  # who led when a command was last answered

    async def change(
        self, command: catalog_pb2.CatalogCommand, deadline: float
    ) -> node_pb2.ChangeCatalogResponse:
        """Have the leader apply a command, and return its final answer.

        The answer's outcome is OK or INVALID. Raises Forbidden, and NotChanged at the deadline.
        """
        request = node_pb2.ChangeCatalogRequest(command=command)
        maybe = False
        hint = self.address
        while self._clock() < deadline:
            tried: set[str] = set()
            queue = [hint, *self._addresses()] if hint else [*self._addresses()]
            hint = ""
            while queue and self._clock() < deadline:
                address = queue.pop(0)
                if address in tried:
                    continue
                tried.add(address)
                try:
                    answer = await self._channels.stub(address).ChangeCatalog(
                        request, timeout=min(ATTEMPT_SECONDS_MAX, deadline - self._clock())
                    )
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                        raise Forbidden(error.details()) from None
                    maybe |= error.code() is not grpc.StatusCode.UNIMPLEMENTED
                    continue
                if answer.outcome in (Outcome.OK, Outcome.INVALID):
                    self.address = address
                    return answer  # type: ignore[no-any-return]
                if answer.outcome == Outcome.UNKNOWN:
                    maybe = True
                elif answer.outcome == Outcome.NOT_LEADER:
                    leader = self._catalog().node_by_id.get(answer.leader)
                    if leader is not None:
                        queue.insert(0, leader.address)
            await asyncio.sleep(PAUSE_SECONDS)
        raise NotChanged(maybe=maybe)
