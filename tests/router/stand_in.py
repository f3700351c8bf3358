"""A stand-in for a node: a real gRPC server over a dict, whose behaviour the tests choose.

It leads every partition it is told to, evaluates no programs, and remembers request ids.
"""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio

from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_search import CatalogTeller
from quorate.cluster.codec import encode_catalog
from quorate.v1 import catalog_pb2, node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceServicer, add_NodeServiceServicer_to_server


class StandIn(NodeServiceServicer):  # type: ignore[misc]  # protoc's service stubs have no types
    """One node. `items` may be shared by several: then they are replicas that never lag."""

    def __init__(self, node_id: int, items: dict[bytes, bytes], seen_ids: set[bytes]) -> None:
        self.node_id = node_id
        self.items = items
        self.seen_ids = seen_ids
        self.catalog = Catalog()
        self.leaders: dict[int, tuple[int, int]] = {}  # (term, node id) by partition
        self.batches: list[node_pb2.RouteBatch] = []
        self.commands: list[node_pb2.ChangeCatalogRequest] = []
        self.applied = 0
        # Takes a change of the catalog and returns why it is refused; None: changes do nothing.
        self.change: Callable[[catalog_pb2.CatalogCommand], str] | None = None
        self.silent = False  # takes batches and says nothing
        self.break_after_write = False  # applies a write, then breaks the stream
        self.outcome = node_pb2.OUTCOME_OK  # of writes
        self.has_capacity = False  # for all tables with limits, as much as they want
        self.address = ""
        self._changed = asyncio.Event()
        self._streams: set[asyncio.Queue[node_pb2.RouteReply]] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self, port: int = 0) -> int:
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        add_NodeServiceServicer_to_server(self, self._server)
        bound: int = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        return bound

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def publish(self, catalog: Catalog) -> None:
        """Let watchers see a catalog."""
        self.catalog = catalog
        self._changed.set()
        self._changed = asyncio.Event()

    def hint(self, partition: int, term: int, leader: int) -> None:
        """Tell the routers who leads."""
        self.leaders[partition] = (term, leader)
        for queue in self._streams:
            queue.put_nowait(
                node_pb2.RouteReply(
                    leaders=[node_pb2.LeaderHint(partition=partition, term=term, leader=leader)]
                )
            )

    # NodeService

    async def WatchCatalog(  # noqa: N802  (gRPC's name)
        self, request: node_pb2.WatchCatalogRequest, context: Any
    ) -> AsyncIterator[node_pb2.WatchCatalogResponse]:
        teller = CatalogTeller(request.epoch)
        while True:
            changed = self._changed
            news = teller.news(self.catalog)
            if news is not None:
                newer = None if news.catalog is None else encode_catalog(news.catalog)
                yield node_pb2.WatchCatalogResponse(epoch=news.epoch, catalog=newer)
            await changed.wait()

    async def ChangeCatalog(  # noqa: N802
        self, request: node_pb2.ChangeCatalogRequest, context: Any
    ) -> node_pb2.ChangeCatalogResponse:
        self.commands.append(request)
        reason = "" if self.change is None else self.change(request.command)
        return node_pb2.ChangeCatalogResponse(
            outcome=node_pb2.OUTCOME_INVALID if reason else node_pb2.OUTCOME_OK,
            epoch=self.catalog.epoch,
            reason=reason,
        )

    async def LeaseCapacity(  # noqa: N802
        self, request: node_pb2.LeaseCapacityRequest, context: Any
    ) -> node_pb2.LeaseCapacityResponse:
        """Grant all that is wanted, or nothing: then its credit is all that a router gets."""
        grants = [
            node_pb2.CapacityGrant(tokens=ask.wanted if self.has_capacity else 0.0)
            for ask in request.asks
        ]
        return node_pb2.LeaseCapacityResponse(outcome=node_pb2.OUTCOME_OK, grants=grants)

    async def GetStatus(  # noqa: N802
        self, request: node_pb2.GetStatusRequest, context: Any
    ) -> node_pb2.GetStatusResponse:
        groups = [
            node_pb2.GroupStatus(
                group=partition.id,
                role="leader" if self._leads(partition.id) else "follower",
                term=self.leaders.get(partition.id, (0, 0))[0],
                applied=self.applied,
                table_sizes=[node_pb2.TableSize(table=1, item_count=len(self.items), size_bytes=9)],
            )
            for partition in self.catalog.partitions
        ]
        return node_pb2.GetStatusResponse(node_id=self.node_id, groups=groups)

    async def Route(  # noqa: N802
        self, requests: AsyncIterator[node_pb2.RouteBatch], context: Any
    ) -> None:
        queue: asyncio.Queue[node_pb2.RouteReply] = asyncio.Queue()
        self._streams.add(queue)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._send_replies(queue, context))
                async for batch in requests:
                    self.batches.append(batch)
                    if self.silent:
                        continue
                    reply = self._serve(batch)
                    if self.break_after_write and batch.writes.slots:
                        await context.abort(grpc.StatusCode.UNAVAILABLE, "broken on purpose")
                    queue.put_nowait(reply)
        finally:
            self._streams.discard(queue)

    @staticmethod
    async def _send_replies(queue: asyncio.Queue[node_pb2.RouteReply], context: Any) -> None:
        while True:
            await context.write(await queue.get())

    def _serve(self, batch: node_pb2.RouteBatch) -> node_pb2.RouteReply:
        reply = node_pb2.RouteReply(accepted=batch.sequence, catalog_epoch=self.catalog.epoch)
        if batch.sequence == 1:
            for partition, (term, leader) in self.leaders.items():
                reply.leaders.add(partition=partition, term=term, leader=leader)
        writes, gets = batch.writes, batch.gets
        for slot, partition, request_id, key, image in zip(
            writes.slots, writes.partitions, writes.request_ids, writes.keys, writes.images,
            strict=True,
        ):  # fmt: skip
            outcome = self.outcome if self._leads(partition) else node_pb2.OUTCOME_NOT_LEADER
            if outcome == node_pb2.OUTCOME_OK:
                self._write(request_id, key, image)
            _answer(reply, slot, outcome, b"", units=1)
        for slot, partition, key, consistent in zip(
            gets.slots, gets.partitions, gets.keys, gets.consistent, strict=True
        ):
            if consistent and not self._leads(partition):
                _answer(reply, slot, node_pb2.OUTCOME_NOT_LEADER, b"")
            else:
                _answer(reply, slot, node_pb2.OUTCOME_OK, self.items.get(key, b""))
        for read in batch.ranges:
            reply.pages.append(self._page(read))
        return reply

    def _write(self, request_id: bytes, key: bytes, image: bytes) -> None:
        if request_id in self.seen_ids:
            return
        self.seen_ids.add(request_id)
        self.applied += 1
        if image:
            self.items[key] = image
        else:
            self.items.pop(key, None)

    def _page(self, read: node_pb2.RangeRead) -> node_pb2.RangePage:
        keys = sorted(self.items)
        found = keys[bisect.bisect_left(keys, read.low) : bisect.bisect_left(keys, read.high)]
        if read.backwards:
            found.reverse()
        count = read.items_max or len(found)
        return node_pb2.RangePage(
            slot=read.slot,
            outcome=node_pb2.OUTCOME_OK,
            keys=found[:count],
            images=[self.items[key] for key in found[:count]],
            more=len(found) > count,
        )

    def _leads(self, partition: int) -> bool:
        return self.leaders.get(partition, (0, 0))[1] == self.node_id


def _answer(
    reply: node_pb2.RouteReply,
    slot: int,
    outcome: node_pb2.Outcome,
    payload: bytes,
    units: int = 0,
) -> None:
    reply.answers.slots.append(slot)
    reply.answers.outcomes.append(outcome)
    reply.answers.write_units.append(units)
    reply.answers.payloads.append(payload)
