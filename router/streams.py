"""One upstream for each node of the catalog: started when a node appears, ended when it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.ring import Ring
from router.dispatch import Dispatch
from router.upstream import Upstream


@dataclass(frozen=True, slots=True)
class _Running:
    upstream: Upstream
    task: asyncio.Task[None]


class Streams:
    """The live streams, kept in step with the catalog."""

    def __init__(
        self,
        dispatch: Dispatch,
        tasks: asyncio.TaskGroup,
        make: Callable[[NodeRecord], Upstream],
    ) -> None:
        """Upstreams run as tasks of the group."""
        self._dispatch = dispatch
        self._tasks = tasks
        self._make = make
        self._running: dict[int, _Running] = {}
        self._by_node: dict[int, Upstream] = {}  # shared with the dispatcher, hence kept in place

    def catalog_changed(self, catalog: Catalog, ring: Ring) -> None:
        """Start, replace and end streams; then let the dispatcher see the new map."""
        for node_id, running in list(self._running.items()):
            node = catalog.node_by_id.get(node_id)
            if node is None or node.address != running.upstream.node.address:
                running.task.cancel()
                del self._running[node_id]
                del self._by_node[node_id]
        for node in catalog.nodes:
            if node.id not in self._running:
                upstream = self._make(node)
                task = self._tasks.create_task(upstream.run(), name=f"stream to {node.name}")
                self._running[node.id] = _Running(upstream, task)
                self._by_node[node.id] = upstream
        self._dispatch.catalog_changed(catalog, ring, self._by_node)

    def stop(self) -> None:
        """End all streams."""
        for running in self._running.values():
            running.task.cancel()
