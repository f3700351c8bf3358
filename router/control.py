"""Rare questions to nodes, on channels of their own: catalog changes, statuses, newest catalog.

Every call has a deadline, and nobody is followed for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from model.errors import AccessDenied, ServiceUnavailable
from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.catalog_leader import CatalogLeader, Forbidden, NodeChannels, NotChanged, Stub
from quorate.cluster.catalog_watch import follow_catalog
from quorate.cluster.channels import Dialer
from quorate.v1 import catalog_pb2, node_pb2
from router.refusals import outcome_unknown

STATUS_SECONDS_MAX: Final = 1.0
"""Longest wait for a node's status. Ours."""

STRAGGLER_SECONDS: Final = 0.1
"""How long the slower half of the nodes is waited for by `newest_catalog`. Ours."""


class NodeControl:
    """Channels to nodes for rare questions, opened when first needed."""

    def __init__(
        self,
        seeds: Sequence[str],
        catalog: Callable[[], Catalog],
        clock: Callable[[], float],
        dialer: Dialer,
    ) -> None:
        """`seeds` are the addresses given at start; the catalog adds the others."""
        self._seeds = tuple(seeds)
        self._catalog = catalog
        self._channels = NodeChannels(dialer)
        self._leader = CatalogLeader(
            self._channels, addresses=self.addresses, catalog=catalog, clock=clock
        )

    async def __aenter__(self) -> NodeControl:
        """Start with no channels."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all channels."""
        await self._channels.__aexit__()

    def stub(self, address: str) -> Stub:
        """Return the NodeService of an address."""
        return self._channels.stub(address)

    async def follow_catalog(self, adopt: Callable[[Catalog], object]) -> None:
        """Have every newer catalog adopted that a node tells of, until cancelled.

        The seeds are asked, too, if no node of the catalog has one: all may have been replaced.
        """
        await follow_catalog(
            self._channels,
            likely=self.addresses,
            others=lambda: self._seeds,
            epoch=lambda: self._catalog().epoch,
            adopt=adopt,
        )

    def addresses(self) -> list[str]:
        """Return the nodes' addresses: the catalog's, before there is one the seeds'.

        A node that takes another's place may have its address, too.
        """
        known = [node.address for node in self._catalog().nodes]
        return list(dict.fromkeys(known or self._seeds))

    async def change_catalog(
        self, command: catalog_pb2.CatalogCommand, deadline: float
    ) -> node_pb2.ChangeCatalogResponse:
        """Have the catalog's leader apply a command, and return its final answer.

        The answer's outcome is OK or INVALID. Raises a ModelError at the deadline: an "unknown
        outcome" if a node may have taken the command.
        """
        try:
            return await self._leader.change(command, deadline)
        except Forbidden as refusal:
            raise AccessDenied(f"{refusal}: ask the nodes, with an admin's certificate.") from None
        except NotChanged as failure:
            if failure.maybe:
                raise outcome_unknown() from None
            raise ServiceUnavailable(
                "The catalog has no leader that this router can reach."
            ) from None

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
        catalog = await self._channels.fetch_catalog(address, STATUS_SECONDS_MAX)
        if catalog is not None:
            found.append(catalog)

    async def statuses(
        self, *, table_sizes: bool
    ) -> list[tuple[NodeRecord, node_pb2.GetStatusResponse | None]]:
        """Return every node of the catalog with its status, None for one that does not answer."""
        nodes = self._catalog().nodes
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(self._status(node, table_sizes=table_sizes)) for node in nodes
            ]
        return [(node, task.result()) for node, task in zip(nodes, asked, strict=True)]

    async def is_well(self, node: NodeRecord) -> bool:
        """Return whether a node answers, itself and not another one at its address."""
        return await self._status(node, table_sizes=False) is not None

    async def _status(
        self, node: NodeRecord, *, table_sizes: bool
    ) -> node_pb2.GetStatusResponse | None:
        status = await self._channels.fetch_status(
            node.address, STATUS_SECONDS_MAX, table_sizes=table_sizes
        )
        # The one that takes its place may have its address already.
        return status if status is not None and status.node_id == node.id else None
