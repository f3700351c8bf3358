"""The items store: the tree of images, and what each replica must remember beside its items.

Filled by checkpoints of memtables; the log is the truth above each replica's applied index. One
LMDB environment, two databases; see `layout`. No overlaying of memtables here: see `merge`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lmdb

from model.image import CorruptImage, check_image
from node.storage import layout
from node.storage.environment import (
    DATA_FILE,
    EnvironmentOptions,
    FileWatch,
    Refuse,
    open_environment,
    storage_error,
)
from node.storage.errors import CorruptItems, StorageFailed
from node.storage.items_snapshot import SnapshotReader, scan_arc
from node.storage.layout import Malformed, ReplicaState

__all__ = [
    "ItemStore",
    "ReplicaCheckpoint",
    "ReplicaState",
    "SnapshotReader",
    "decode_snapshot_state",
]

TIB: Final = 1 << 40

ITEMS_MAP_SIZE_BYTES: Final = TIB
"""Address space for the items; the file is sparse and grows as needed. Ours."""

PURGE_ITEMS_MAX: Final = 1000
"""Items deleted by one transaction of `purge`. Ours: some 5 ms."""

WHAT_TO_DO: Final = (
    "These replicas must not be served. Keep the directory for analysis, start the node with an "
    "empty one, and let the cluster add it anew and refill it from the other replicas"
)


@dataclass(slots=True)
class ReplicaCheckpoint:
    """One replica's part of a checkpoint."""

    group: int
    state: ReplicaState
    items: Sequence[tuple[bytes, bytes]]  # by key, ascending; image b"" = delete
    generation: tuple[int, bytes] | None = None  # (number, request ids): a new or replaced one
    generations_to_drop: Sequence[int] = ()


class ItemStore:
    """All items of one node.

    Threads: `get`, `scan`, `refresh` and `snapshot_reader` on the loop thread; everything that
    writes on one writer thread (its own, not the log's); the rest anywhere.
    """

    def __init__(
        self,
        environment: lmdb.Environment,
        databases: tuple[lmdb._Database, lmdb._Database],
        path: Path,
        refuse: Refuse,
    ) -> None:
        """Use `open`."""
        self._environment = environment
        self._items, self._replicas = databases
        self._watch = FileWatch(path / DATA_FILE)
        self._refuse = refuse
        self._transaction: lmdb.Transaction[bytes] | None = None  # what `get` reads from
        self._transaction_version = 0
        # The writer's; `version` counts its transactions and is read by the loop.
        self._version = 0
        self._writer: int | None = None
        self._failure: str | None = None

    @classmethod
    def open(
        cls, path: Path, *, map_size_bytes: int = ITEMS_MAP_SIZE_BYTES, create: bool = True
    ) -> ItemStore:
        """Open or create the items in directory `path`.

        With `create` off, a missing store is corruption: set it so once replicas have lived here.
        Raises CorruptItems, StorageFailed, StorageFull.
        """
        refuse = Refuse(CorruptItems, path, WHAT_TO_DO)
        options = EnvironmentOptions(
            map_size_bytes=map_size_bytes, metasync=False, readahead=False, databases_max=2
        )
        environment = open_environment(path, options, refuse, create=create, fill=_fill)
        try:
            store = cls(environment, _open_databases(environment), path, refuse)
            store.replicas()
        except (lmdb.Error, Malformed) as error:
            environment.close()
            raise refuse(f"it cannot be read ({error})") from error
        except BaseException:
            environment.close()
            raise
        return store

    def replicas(self) -> dict[int, ReplicaState]:
        """Return the state of every replica, by group, as of the last checkpoint."""
        states: dict[int, ReplicaState] = {}
        for key, raw in self._entries_of_replicas(layout.STATE_PREFIX):
            with self._refusing("a replica's state"):
                states[layout.group_of_state_key(key)] = layout.decode_state(raw)
        return states

    def generations(self, group: int) -> list[tuple[int, bytes]]:
        """Return the dedupe generations of a replica, (number, request ids), ascending."""
        generations: list[tuple[int, bytes]] = []
        for key, raw in self._entries_of_replicas(layout.generation_key(group, 0)[:-8]):
            with self._refusing(f"a dedupe generation of group {group}"):
                number = layout.group_and_number(key)[1]
                generations.append((number, layout.decode_generation(raw)))
        return generations

    # -- The loop thread --

    def get(self, key: bytes) -> bytes | None:
        """Return the image, or None. Sees every checkpoint that has returned."""
        transaction = self._transaction
        if transaction is None or self._transaction_version != self._version:
            self.refresh()
            # In this order: a commit in between makes the next `get` look again.
            self._transaction_version = self._version
            transaction = self._environment.begin(db=self._items)
            self._transaction = transaction
        return transaction.get(key)

    def scan(
        self, low: bytes, high: bytes, *, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, image) with low <= key < high, from one read transaction.

        Finish or close the iterator within the turn: while it lives no page is reused.
        """
        if low >= high:
            return
        with self._environment.begin(db=self._items) as transaction:
            cursor = transaction.cursor()
            if backwards:
                there = cursor.prev() if cursor.set_range(high) else cursor.last()
                if there:
                    for key, image in cursor.iterprev():
                        if key < low:
                            return
                        yield key, image
            elif cursor.set_range(low):
                for key, image in cursor.iternext():
                    if key >= high:
                        return
                    yield key, image

    def refresh(self) -> None:
        """Let go of the pages of the last checkpoint. Call after each checkpoint or purge."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()

    def snapshot_reader(self, low_token: int, high_token: int, group: int) -> SnapshotReader:
        """Open a consistent view of one replica. `high_token` is exclusive, up to 1 << 64.

        Raises CorruptItems if the group has no readable state here.
        """
        assert 0 <= low_token < high_token <= layout.TOKEN_END
        transaction = self._environment.begin(buffers=True)
        try:
            with self._refusing(f"the state of group {group}"):
                raw = transaction.get(layout.state_key(group), db=self._replicas)
                if raw is None:
                    raise Malformed("it is missing")
                state = layout.decode_state(raw)
                generations = self.generations_in(transaction, group)
        except BaseException:
            transaction.abort()
            raise
        return SnapshotReader(
            transaction, self._items, self._refuse, (low_token, high_token), state, generations
        )

    def check_in_place(self) -> None:
        """Raise StorageFailed if the file was deleted or replaced under us. Every few seconds."""
        self._watch.check()
