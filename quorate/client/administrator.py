"""The administrator's client: membership changed at the nodes themselves, with a certificate."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from quorate.client.errors import OutcomeUnknown, RequestRefused, ResourceNotFound, Unreachable
from quorate.client.operator import CancelledReplacement, StartedReplacement
from quorate.cluster.catalog import Catalog, NodeRecord, find_node, find_replacement
from quorate.cluster.catalog_leader import CatalogLeader, Forbidden, NodeChannels, NotChanged
from quorate.cluster.channels import Dialer
from quorate.cluster.commands import (
    CancelReplacement,
    NodeCommand,
    RemoveNode,
    ReplaceNode,
    why_nodes_stay,
    wire_catalog_command,
)
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

    async def replace_node(
        self, old: str, new: str, *, allow_unknown: bool = False
    ) -> StartedReplacement:
        """Let the node named `new` take the place of the one named `old`.

        Unless it has joined, or both have the same name, it must be allowed to be unknown.
        """
        catalog, node = await self._find(old)
        if new == old and await self._is_well(node):
            raise RequestRefused(
                f"Node {old} answers: stop it before a node of the same name takes its place."
            )
        command = ReplaceNode(secrets.token_bytes(16), node.id, new, allow_unknown)
        await self._change(catalog, command)
        catalog = await self._newest_catalog([each.address for each in catalog.nodes])
        joined = find_replacement(catalog.nodes, catalog.node_by_id.get(node.id, node))
        return StartedReplacement(
            old_id=node.id, new_id=joined.id if joined is not None else 0, az=node.az
        )

    async def cancel_replacement(self, old: str) -> CancelledReplacement:
        """Let a node keep its place: the one that was to take it has not joined."""
        catalog, node = await self._find(old)
        if not node.replacement:
            raise RequestRefused(f"Node {node.name} is not being replaced.")
        command = CancelReplacement(secrets.token_bytes(16), node.id, node.replacement)
        await self._change(catalog, command)
        return CancelledReplacement(old_id=node.id, replacement=node.replacement)

    async def remove_node(self, name: str) -> int:
        """Remove a node that holds nothing for good; return its id, which is never used again."""
        catalog, node = await self._find(name)
        await self._change(catalog, RemoveNode(secrets.token_bytes(16), node.id))
        return node.id

    async def _find(self, name: str) -> tuple[Catalog, NodeRecord]:
        catalog = await self._newest_catalog(self._addresses)
        node = find_node(catalog, name)
        if node is None:
            names = ", ".join(sorted({each.name for each in catalog.nodes}))
            raise ResourceNotFound(f"There is no node {name}: the nodes are {names}.")
        return catalog, node

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

    async def _change(self, catalog: Catalog, command: NodeCommand) -> None:
        leader = CatalogLeader(
            self._channels,
            addresses=lambda: [node.address for node in catalog.nodes],
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
                    "the nodes may or may not have been changed: look at the status, and ask again",
                    request_id=command.request_id,
                ) from None
            raise Unreachable("the catalog has no leader that answers: ask again later") from None
        if answer.outcome != node_pb2.OUTCOME_OK:
            raise RequestRefused(why_nodes_stay(answer.reason))
