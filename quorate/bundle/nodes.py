"""What nodes tell over gRPC: the newest catalog, and the status of each with all its groups."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToDict

from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_leader import NodeChannels
from quorate.cluster.channels import Dialer

ASK_SECONDS: Final = 3.0
"""Longest wait for a node's answer. Ours: catalog and status fit in half of the whole time."""


async def ask_nodes(
    addresses: Iterable[str], dialer: Dialer
) -> tuple[Catalog | None, dict[str, Mapping[str, Any] | None]]:
    """Return the newest catalog and, by address, what each node says of itself.

    Nodes that the catalog names and nobody gave are asked, too. None: no answer.
    """
    async with NodeChannels(dialer) as channels:
        given = sorted(set(addresses))
        found = await asyncio.gather(
            *(channels.fetch_catalog(address, ASK_SECONDS) for address in given)
        )
        known = [catalog for catalog in found if catalog is not None]
        newest = max(known, key=lambda catalog: catalog.epoch, default=None)
        named = {node.address for node in newest.nodes} if newest is not None else set()
        asked = sorted({*given, *named})
        statuses = await asyncio.gather(
            *(channels.fetch_status(address, ASK_SECONDS, table_sizes=True) for address in asked)
        )
    return newest, {
        address: None
        if status is None
        else MessageToDict(
            status, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for address, status in zip(asked, statuses, strict=True)
    }
