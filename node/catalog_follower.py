"""How a node keeps up with the catalog: it follows the others in turn, and asks all when behind.

Whom it follows may hang for as long as a connection's keepalive, as when a link to one node is
cut, or be behind itself. So who hears that there is a newer catalog, from a router's request or
from a node that asks for news, asks whoever has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Final, NoReturn

from node.acquaintances import catalog_addresses
from node.errands import Errands
from node.host import Host
from node.join import Seeds
from node.snapshots.off_loop import Call
from node.storage.identity import Identity
from quorate.cluster.catalog_leader import NodeChannels
from quorate.cluster.catalog_watch import follow_catalog

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
        channels: NodeChannels,
        errands: Errands,
        host: Host,
        call: Call,
    ) -> None:
        """Nothing is asked for before `follow` runs or a catalog is wanted."""
        self._identity = identity
        self._seeds = seeds
        self._channels = channels
        self._errands = errands
        self._host = host
        self._call = call
        self._wanted = 0  # epoch
        self._waiting = False  # for it to come by itself
        self._asked: set[str] = set()  # addresses that have not answered yet

    def addresses(self) -> Sequence[str]:
        """Return where the catalog is; before that is known, every address that this node knows."""
        return self._likely() or self._seeds.to_ask(self._identity)

    def _likely(self) -> Sequence[str]:
        return catalog_addresses(self._identity, self._host.catalog)

    def follow(self) -> Coroutine[object, object, NoReturn]:
        """Follow the catalog at the other nodes, for ever, whether or not this one replicates it.

        One that was replaced hears nothing from its group any more.
        """
        return follow_catalog(
            self._channels,
            likely=self._likely,
            others=lambda: self._seeds.to_ask(self._identity),
            epoch=lambda: self._host.catalog.epoch,
            adopt=lambda catalog: self._call(self._host.adopt_catalog, catalog),
            turn=self._identity.node_id,
        )

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
