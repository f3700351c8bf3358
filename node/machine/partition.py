"""The items of one partition on one node: memtable over tree, dedupe window, table sizes.

Pure of clocks and of I/O but for reads of the tree. Applying the same entries gives the same
state on every replica: entries carry images, so nothing is evaluated or decoded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from model.tables import is_provisioned
from node.codec import WriteColumns, decode_write_entry
from node.machine.dedupe import Answer, DedupeWindow, Generation
from node.storage.memtable import Memtable
from node.storage.merge import merge_newest_first
from quorate.cluster.catalog import Catalog
from quorate.cluster.outcome import Outcome


class Tree(Protocol):
    """The part of the items store that a partition reads."""

    def get(self, key: bytes) -> bytes | None:
        """Return the image under `key`, or None."""
        ...

    def scan(
        self, low: bytes, high: bytes, *, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, image) with low <= key < high in key order, or backwards."""
        ...


class LiveTables(dict[bytes, bool]):
    """The ids of the live tables as key prefixes, as far as this node's catalog goes.

    The value says whether the table is provisioned, hence capped in each partition. A dict, because
    a leader looks up every write here. A table that is not in it was dropped or, if this node's
    catalog is behind, made since: `refusal` tells which.
    """

    catalog = Catalog()

    def follow(self, catalog: Catalog) -> None:
        """Take the tables of a newer catalog."""
        self.clear()
        for table in catalog.tables:
            self[table.id.to_bytes(4, "big")] = is_provisioned(table.definition)
        self.catalog = catalog

    def refusal(self, table: bytes) -> Outcome:
        """Return why a write to a table that is not in here is refused.

        Ids tell all: nothing else in a newer catalog could make a difference to a leader.
        """
        if self.catalog.has_dropped(int.from_bytes(table, "big")):
            return Outcome.NO_TABLE
        return Outcome.STALE_CATALOG


@dataclass(slots=True)
class FrozenState:
    """What a checkpoint writes for one partition."""

    memtable: Memtable
    generation: Generation | None
    forgotten_generations: list[int]


class PartitionMachine:
    """Reads and applies; `applied` bookkeeping is the replica's.

    Invariant: an image is looked for in `_active`, then `_frozen`, then the tree; `_frozen` is
    there only while a checkpoint is writing it.
    """

    __slots__ = ("_active", "_frozen", "_tree", "_window", "table_sizes")

    def __init__(
        self,
        tree: Tree,
        table_sizes: dict[int, tuple[int, int]],
        generations: Sequence[Generation],
    ) -> None:
        """Start from what the items store had: sizes by table id, dedupe generations in order."""
        self._tree = tree
        self._active = Memtable()
        self._frozen: Memtable | None = None
        self._window = DedupeWindow(generations)
        self.table_sizes = dict(table_sizes)

    @property
    def memtable_bytes(self) -> int:
        """Bytes of images not yet in the tree."""
        frozen = self._frozen.size_bytes if self._frozen else 0
        return self._active.size_bytes + frozen

    @property
    def window_count(self) -> int:
        """Number of request ids remembered."""
        return len(self._window)

    def window_is_full(self, now: float) -> bool:
        """Whether no more writes may be taken until the oldest request ids may be forgotten."""
        if self._window.is_full:
            self._window.forget_old(now)
        return self._window.is_full

    def image(self, key: bytes) -> bytes:
        """Return the committed image under `key`; b"" if there is no such item."""
        image = self._active.get(key)
        if image is None and self._frozen is not None:
            image = self._frozen.get(key)
        if image is None:
            image = self._tree.get(key)
        return image if image is not None else b""

    def scan(self, low: bytes, high: bytes, *, backwards: bool) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, image) of the items with low <= key < high, in key order or backwards.

        Valid until the machine changes: read what is needed at once.
        """
        layers = [self._active.scan(low, high, backwards=backwards)]
        if self._frozen is not None:
            layers.append(self._frozen.scan(low, high, backwards=backwards))
        layers.append(self._tree.scan(low, high, backwards=backwards))
        return merge_newest_first(layers, backwards=backwards)

    def answered(self, request_id: bytes) -> Answer | None:
        """Return how an applied write with this id ended, if it is remembered."""
        return self._window.find(request_id)

    def apply(self, payload: bytes) -> None:
        """Apply one committed entry."""
        self.apply_columns(decode_write_entry(payload))

    def apply_columns(self, columns: WriteColumns) -> None:
        """Apply one committed entry whose columns are at hand."""
        self._active.apply(columns.keys, columns.images)
        self._window.add(columns.request_ids, columns.units, columns.refusals, columns.answers)
        sizes = self.table_sizes
        for table, (item_count, size_bytes) in columns.sizes.items():
            count_before, size_before = sizes.get(table, (0, 0))
            sizes[table] = (count_before + item_count, size_before + size_bytes)

    def freeze(self, now: float) -> FrozenState:
        """Set the memtable aside for a checkpoint; a new one takes what is applied from here.

        `now` is in seconds of a monotonic clock: old request ids are forgotten by it.
        """
        assert self._frozen is None, "one checkpoint at a time"
        closed, forgotten = self._window.rotate(now)
        self._frozen = self._active
        self._active = Memtable()
        return FrozenState(self._frozen, closed, forgotten)

    def thaw(self) -> None:
        """Drop what was set aside: the tree has it now."""
        assert self._frozen is not None
        self._frozen = None

    def forget_tables(self, live: LiveTables) -> None:
        """Drop the sizes of dropped tables. Not of those that this node has not heard of yet.

        Less than nothing is what is left of a table that this node forgot before it started anew,
        with a catalog that is older than the one it had then.
        """
        for table, (item_count, size_bytes) in list(self.table_sizes.items()):
            if live.catalog.has_dropped(table) or item_count < 0 or size_bytes < 0:
                del self.table_sizes[table]
