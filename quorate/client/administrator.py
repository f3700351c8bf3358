"""The administrator's client: membership changed at the nodes themselves, with a certificate."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from quorate.client.errors import OutcomeUnknown, RequestRefused, ResourceNotFound, Unreachable
from quorate.client.operator import StartedReplacement
from quorate.cluster.catalog import Catalog, NodeRecord, find_node, find_replacement
from quorate.cluster.catalog_leader import CatalogLeader, Forbidden, NodeChannels, NotChanged
from quorate.cluster.channels import Dialer
from quorate.cluster.commands import ReplaceNode, why_not_replaced, wire_catalog_command
from quorate.v1 import node_pb2

ASK_SECONDS: Final = 2.0
"""Longest wait for a node's catalog or status. Ours."""

CHANGE_SECONDS: Final = 10.0
"""Longest wait for the catalog's leader. Ours: longer than an election."""


class Administrator:
    """Changes which nodes a cluster has. Use with `async with`; every method raises QuorateError.

    Routers cannot do this for anybody in a cluster with certificates (docs/decisions/0016).
    """

    def __init__(self, addresses: Sequence[str], dialer: Dialer) -> None:
        """Take addresses of any nodes; the catalog of those that answer tells the others'."""
        self._addresses = tuple(addresses)
        self._channels = NodeChannels(dialer)

    async def __aenter__(self) -> Self:
        """Start with no channels."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all channels."""
        await self._channels.__aexit__()

    async def replace_node(self, old: str, new: str) -> StartedReplacement:
        """Let the node named `new`, joined or not, take the place of the one named `old`."""
        catalog = await self._newest_catalog(self._addresses)
        node = find_node(catalog, old)
        if node is None:
            names = ", ".join(sorted({each.name for each in catalog.nodes}))
            raise ResourceNotFound(f"There is no node {old}: the nodes are {names}.")
        if new == old and await self._is_well(node):
            raise RequestRefused(
                f"Node {old} answers: stop it before a node of the same name takes its place."
            )
        addresses = [each.address for each in catalog.nodes]
        await self._change(catalog, addresses, ReplaceNode(secrets.token_bytes(16), node.id, new))
        catalog = await self._newest_catalog(addresses)
        joined = find_replacement(catalog.nodes, catalog.node_by_id.get(node.id, node))
        return StartedReplacement(
            old_id=node.id, new_id=joined.id if joined is not None else 0, az=node.az
        )

    async def _newest_catalog(self, addresses: Sequence[str]) -> Catalog:
        found = await asyncio.gather(
            *(self._channels.fetch_catalog(address, ASK_SECONDS) for address in addresses)
        )
        known = [catalog for catalog in found if catalog is not None]
        if not known:
            raise Unreachable(
                f"no node that takes this certificate answers at {', '.join(addresses)}"
            )
        return max(known, key=lambda catalog: catalog.epoch)

    async def _is_well(self, node: NodeRecord) -> bool:
        status = await self._channels.fetch_status(node.address, ASK_SECONDS)
        return status is not None and status.node_id == node.id

    async def _change(
        self, catalog: Catalog, addresses: Sequence[str], command: ReplaceNode
    ) -> None:
        leader = CatalogLeader(
            self._channels,
            addresses=lambda: addresses,
            catalog=lambda: catalog,
            clock=time.monotonic,
        )
        try:
            answer = await leader.change(
                wire_catalog_command(command), time.monotonic() + CHANGE_SECONDS
            )
        except Forbidden as refusal:
            raise RequestRefused(str(refusal), code="AccessDeniedException") from None
        except NotChanged as failure:
            if failure.maybe:
                raise OutcomeUnknown(
                    "the replacement may or may not have begun: ask again, it goes on",
                    request_id=command.request_id,
                ) from None
            raise Unreachable("the catalog has no leader that answers: ask again later") from None
        if answer.outcome != node_pb2.OUTCOME_OK:
            raise RequestRefused(why_not_replaced(answer.reason))
