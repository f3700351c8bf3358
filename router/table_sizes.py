"""How many items and bytes tables have, as the nodes say; asked at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from quorate.v1 import node_pb2
from router.control import NodeControl

FRESH_SECONDS: Final = 1.0
"""How long an answer is good. Ours; DynamoDB's own is up to six hours old."""

Sizes = dict[int, tuple[int, int]]
"""(item count, bytes) by table id."""


class TableSizes:
    """A short-lived cache of the sizes of all tables."""

    def __init__(self, control: NodeControl, clock: Callable[[], float]) -> None:
        self._control = control
        self._clock = clock
        self._sizes: Sizes = {}
        self._fresh_until = 0.0
        self._asking = asyncio.Lock()

    async def of(self, table_id: int) -> tuple[int, int]:
        """Return (item count, bytes) of a table."""
        if self._clock() >= self._fresh_until:
            async with self._asking:
                if self._clock() >= self._fresh_until:
                    statuses = await self._control.statuses(table_sizes=True)
                    self._sizes = add_up([status for _, status in statuses if status is not None])
                    self._fresh_until = self._clock() + FRESH_SECONDS
        return self._sizes.get(table_id, (0, 0))


def add_up(statuses: list[node_pb2.GetStatusResponse]) -> Sizes:
    """Return the sizes of all tables: of each partition, what its most advanced replica says."""
    best: dict[int, node_pb2.GroupStatus] = {}
    for status in statuses:
        for group in status.groups:
            known = best.get(group.group)
            if known is None or group.applied > known.applied:
                best[group.group] = group
    sizes: Sizes = {}
    for group in best.values():
        for size in group.table_sizes:
            items, size_bytes = sizes.get(size.table, (0, 0))
            sizes[size.table] = (items + size.item_count, size_bytes + size.size_bytes)
    return sizes
