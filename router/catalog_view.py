"""The router's copy of the catalog: a cache it serves from, even when the catalog has no leader."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from model.keys import token_of
from model.tables import Table, load_table
from quorate.cluster.catalog import Catalog
from quorate.cluster.ring import Ring
from quorate.logs import LineLimit, log, warn
from quorate.troubles import Troubles


class UnknownTable(Exception):
    """No table of this name in the cached catalog; a newer one may have it."""

    def __init__(self, name: str) -> None:
        """Take the name that was asked for."""
        super().__init__(name)
        self.name = name


class CatalogView:
    """The newest catalog seen, its ring, and its tables in the model's form.

    Invariant: `epoch` never goes down.
    """

    def __init__(self, cluster_id: str) -> None:
        """Take the id of the only cluster whose catalogs are believed."""
        self._cluster_id = cluster_id
        self.catalog = Catalog()
        self.ring: Ring | None = None
        self._tables: dict[str, Table] = {}
        self._listeners: list[Callable[[Catalog, Ring], None]] = []
        self._changed = asyncio.Event()
        self._foreign = Troubles("catalog_refused", say=warn)
        self._lines = LineLimit(1, time.monotonic)

    @property
    def epoch(self) -> int:
        """The epoch of the cached catalog; 0 = none yet."""
        return self.catalog.epoch

    def on_change(self, listener: Callable[[Catalog, Ring], None]) -> None:
        """Call `listener` with every newer catalog."""
        self._listeners.append(listener)

    def adopt(self, catalog: Catalog) -> bool:
        """Take a catalog if it is newer and of this cluster; return whether it was taken."""
        if catalog.cluster_id != self._cluster_id:
            if catalog.epoch:
                of = catalog.cluster_id
                self._foreign.met(of, of=of, because="it is another cluster's")
            return False
        if catalog.epoch <= self.catalog.epoch or not catalog.partitions:
            return False
        kept = {
            record.name: table
            for record in catalog.tables
            if (table := self._tables.get(record.name)) is not None
            and (table.id, table.version) == (record.id, record.version)
        }
        self.catalog = catalog
        self.ring = ring = Ring(catalog.partitions)
        self._tables = kept
        may_write, left_out = self._lines.admit()
        if may_write:
            log(
                "catalog_taken",
                epoch=catalog.epoch,
                tables=len(catalog.tables),
                nodes=len(catalog.nodes),
                partitions=len(catalog.partitions),
                **({"left_out": left_out} if left_out else {}),
            )
        for listener in self._listeners:
            listener(catalog, ring)
        self._changed.set()
        self._changed = asyncio.Event()
        return True

    async def wait_for(self, epoch: int, deadline: float) -> bool:
        """Wait until the catalog has this epoch; return False at the deadline (loop's clock)."""
        while self.epoch < epoch:
            changed = self._changed
            try:
                async with asyncio.timeout_at(deadline):
                    await changed.wait()
            except TimeoutError:
                return False
        return True

    def table(self, name: str) -> Table:
        """Return a table by name. Raises UnknownTable."""
        table = self._tables.get(name)
        if table is None:
            record = self.catalog.table_by_name.get(name)
            if record is None:
                raise UnknownTable(name)
            table = load_table(record.id, record.name, record.definition, record.version)
            self._tables[name] = table
        return table

    def partition_of(self, key: bytes) -> int:
        """Return the id of the partition that holds a storage key."""
        assert self.ring is not None, "requests are taken only with a catalog"
        return self.ring.partition_of(token_of(key)).id
