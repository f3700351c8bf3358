"""How a node keeps up with the catalog: it watches one node at a time, and asks all when behind.

A watch may hang for as long as a connection's keepalive, as when a link to one node is cut; and
the node at its other end may be behind itself, for ever if it was replaced. So none is watched for
long, and who hears that there is a newer catalog, from a router's request, asks whoever has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc.aio

from node.errands import Errands
from node.host import Host
from node.join import Seeds
from node.snapshots.off_loop import Call
from node.storage.identity import Identity
from quorate.cluster.catalog_leader import NodeChannels
from quorate.cluster.channels import Dialer
from quorate.cluster.codec import decode_catalog
from quorate.troubles import Troubles
from quorate.v1 import node_pb2, node_pb2_grpc

WATCH_SECONDS: Final = 10.0
"""How long one node is watched before it is another one's turn. Ours: two that were replaced, and
watch each other, must find out."""

WATCH_RETRY_SECONDS: Final = 0.2
"""Pause before the catalog is watched at another node. Ours."""

GRACE_SECONDS: Final = 0.05
"""How long a newer catalog may take to come by itself before it is asked for. Ours: it is at the
routers a moment earlier, nearly always, and catalogs are large."""

ASK_SECONDS: Final = 1.0
"""Longest wait for one node's answer; meanwhile the others may be asked again. Ours."""


class CatalogFollower:
    """Brings the host newer catalogs."""

    def __init__(
        self,
        identity: Identity,
        seeds: Seeds,
        dialer: Dialer,
        channels: NodeChannels,
        errands: Errands,
        host: Host,
        call: Call,
    ) -> None:
        """Nothing is asked for before `watch` runs or a catalog is wanted."""
        self._identity = identity
        self._seeds = seeds
        self._dialer = dialer
        self._channels = channels
        self._errands = errands
        self._host = host
        self._call = call
        self._unwatched = Troubles("catalog_watch_ended", "catalog_watched")
        self._wanted = 0  # epoch
        self._waiting = False  # for it to come by itself
        self._asked: set[str] = set()  # addresses that have not answered yet

    def addresses(self) -> Sequence[str]:
        """Return where the catalog is; before that is known, every address that this node knows."""
        known = self._identity.addresses
        replicas = [
            known[node_id] for node_id in self._host.catalog.catalog_replicas if node_id in known
        ]
        return list(dict.fromkeys(replicas)) or self._seeds.to_ask(self._identity)

    async def watch(self) -> None:
        """Watch the catalog at the nodes that replicate it, one after the other, for ever.

        Those do so, too: one that was replaced hears nothing from its group any more.
        """
        turn = self._identity.node_id  # so that not all watch the same one
        while True:
            addresses = self.addresses()
            if addresses:
                await self._watch(addresses[turn % len(addresses)])
            turn += 1
            await asyncio.sleep(WATCH_RETRY_SECONDS)

    async def _watch(self, address: str) -> None:
        async with self._dialer.open(address) as channel:
            stub = node_pb2_grpc.NodeServiceStub(channel)
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    async for news in stub.WatchCatalog(node_pb2.WatchCatalogRequest()):
                        self._unwatched.over(address=address)
                        self._call(self._host.adopt_catalog, decode_catalog(news.catalog))
            except TimeoutError:
                return
            except grpc.aio.AioRpcError as error:
                self._unwatched.met(address=address, code=error.code())

    def want(self, epoch: int) -> None:
        """Ask all other nodes for a catalog of this epoch, unless it comes by itself at once."""
        self._wanted = max(self._wanted, epoch)
        if not self._waiting:
            self._waiting = True
            self._errands.start(self._ask_all())

    async def _ask_all(self) -> None:
        await asyncio.sleep(GRACE_SECONDS)
        self._waiting = False
        if self._host.catalog.epoch < self._wanted:
            for address in set(self._identity.addresses.values()) - self._asked:
                self._asked.add(address)
                self._errands.start(self._ask(address))

    async def _ask(self, address: str) -> None:
        try:
            catalog = await self._channels.fetch_catalog(address, ASK_SECONDS)
        finally:
            self._asked.discard(address)
        if catalog is not None:
            self._call(self._host.adopt_catalog, catalog)
