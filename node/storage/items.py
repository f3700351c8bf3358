"""The items store: the tree of images, and what each replica must remember beside its items.

Filled by checkpoints of memtables; the log is the truth above each replica's applied index. One
LMDB environment, two databases; see `layout`. No overlaying of memtables here: see `merge`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import lmdb

from node.storage import layout
from node.storage.environment import (
    DATA_FILE,
    EnvironmentOptions,
    FileWatch,
    Refuse,
    open_environment,
    write_error,
)
from node.storage.errors import CorruptItems, StorageFailed
from node.storage.items_checkpoint import ReplicaCheckpoint, cut_into_transactions
from node.storage.items_snapshot import SnapshotView, delete_range, table_ids
from node.storage.layout import InstallRecord, Malformed, ReplicaState
from node.storage.owner import check_owner

__all__ = [
    "InstallRecord",
    "ItemStore",
    "ReplicaCheckpoint",
    "ReplicaState",
    "SnapshotView",
    "decode_snapshot_state",
]


ITEMS_MAP_SIZE_BYTES: Final = 1 << 40
"""Address space for the items; the file is sparse and grows as needed. Ours."""

PURGE_ITEMS_MAX: Final = 1000
"""Items deleted by one transaction of `purge`. Ours: some 5 ms."""

SCRUB_ITEMS_MAX: Final = 1000
"""Images checked by one call of `scrub`. Ours: some 2 ms."""

SCRUB_BYTES_MAX: Final = 4 << 20
"""Bytes of images after which it ends earlier. Ours: as much time."""

VERIFY_BYTES_MAX: Final = 64 << 20
"""Largest file whose tree is walked before it is mapped. Ours: a second."""

SCRUB_AT_OPEN_SECONDS: Final = 0.5
"""Time for a scrub at open; the rest is for the scrub of the running node. Ours: some 200,000
items."""

WHAT_TO_DO: Final = (
    "These replicas must not be served. Keep the directory for analysis, start the node with an "
    "empty one, and let the cluster add it anew and refill it from the other replicas"
)


class ItemStore:
    """All items of one node.

    Threads: `get`, `scan`, `refresh` and `open_view` on the loop thread; everything that
    writes on one writer thread (its own, not the log's), one call at a time; the rest anywhere.
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
        self._page_bytes: int = environment.stat()["psize"]
        self._transaction: lmdb.Transaction[bytes] | None = None  # what `get` reads from
        self._transaction_version = 0
        # The writer's; `version` counts its transactions and is read by the loop.
        self._version = 0
        self._failure: str | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        map_size_bytes: int = ITEMS_MAP_SIZE_BYTES,
        create: bool = True,
        owner: str = "",
    ) -> ItemStore:
        """Open or create the items in directory `path`.

        With `create` off, a missing store is corruption: set it so once replicas have lived here.
        `owner` is the directory's incarnation; "" means unknown, and then it is not checked.
        Raises CorruptItems, ForeignStore, StorageFailed, StorageFull.
        """
        refuse = Refuse(CorruptItems, path, WHAT_TO_DO)
        options = EnvironmentOptions(
            map_size_bytes=map_size_bytes,
            metasync=False,
            readahead=False,
            databases_max=2,
            verify_bytes_max=VERIFY_BYTES_MAX,
        )
        environment = open_environment(
            path, options, refuse, create=create, fill=partial(_fill, owner)
        )
        try:
            databases = _open_databases(environment)
            check_owner(path, _owner_of(environment, databases[1]), owner)
            store = cls(environment, databases, path, refuse)
            store.replicas()
            store._scrub_for(SCRUB_AT_OPEN_SECONDS)
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
        with self._reading("the replicas' states") as transaction:
            for key, raw in self._with_prefix(transaction, layout.STATE_PREFIX):
                states[layout.group_of_state_key(key)] = layout.decode_state(raw)
        return states

    def generations(self, group: int) -> list[tuple[int, bytes]]:
        """Return the dedupe generations of a replica, (number, request ids), ascending."""
        with self._reading(f"the dedupe generations of group {group}") as transaction:
            return self._generations(transaction, group)

    def installs(self) -> list[InstallRecord]:
        """Return the installs under way, by group, ascending: their replicas have no state."""
        with self._reading("the installs under way") as transaction:
            return [
                layout.decode_install(key, raw)
                for key, raw in self._with_prefix(transaction, layout.INSTALL_PREFIX)
            ]

    def list_table_ids(self) -> list[int]:
        """Return the ids of all tables that have an item here, ascending. Any thread."""
        with self._reading("the items") as transaction:
            return table_ids(transaction.cursor(self._items))

    def close(self) -> None:
        """Close the environment. No write may be running, no snapshot reader or scan open."""
        self.refresh()
        self._watch.close()
        self._environment.close()

    # -- The loop thread --

    def get(self, key: bytes) -> bytes | None:
        """Return the image, or None. Sees every checkpoint that has returned.

        Raises CorruptItems: what rots on the disk is not served.
        """
        transaction = self._transaction
        try:
            if transaction is None or self._transaction_version != self._version:
                self.refresh()
                # In this order: a commit in between makes the next `get` look again.
                self._transaction_version = self._version
                transaction = self._transaction = self._environment.begin(db=self._items)
            raw = transaction.get(key)
            return None if raw is None else layout.open_image(key, raw)
        except (lmdb.Error, Malformed) as error:
            raise self._refuse(f"key {key.hex()}: {error}") from error

    def scan(
        self, low: bytes, high: bytes, *, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, image) with low <= key < high, from one read transaction.

        Finish or close the iterator within the turn: while it lives no page is reused. Raises
        CorruptItems.
        """
        if low >= high:
            return
        with self._reading("the items") as transaction:
            cursor = transaction.cursor(self._items)
            if backwards:
                there = cursor.prev() if cursor.set_range(high) else cursor.last()
                for key, raw in cursor.iterprev() if there else ():
                    if key < low:
                        return
                    yield key, layout.open_image(key, raw)
            elif cursor.set_range(low):
                for key, raw in cursor.iternext():
                    if key >= high:
                        return
                    yield key, layout.open_image(key, raw)

    def refresh(self) -> None:
        """Let go of the pages of the last checkpoint. Call after each checkpoint or purge."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()

    def open_view(self, arc: tuple[int, int], group: int, view: bytes) -> SnapshotView:
        """Open a consistent view of one replica, to send; `view` is its number.

        `arc` is [low token, high token), up to 1 << 64. It may be empty: the catalog's replica has
        state but no items. Raises CorruptItems if the group has no readable state here.
        """
        assert 0 <= arc[0] <= arc[1] <= layout.TOKEN_END
        transaction = self._environment.begin()
        try:
            raw = transaction.get(layout.state_key(group), db=self._replicas)
            if raw is None:
                raise Malformed("it is missing")
            contents = layout.decode_state(raw), self._generations(transaction, group)
        except (Malformed, lmdb.Error) as error:
            transaction.abort()
            raise self._refuse(f"the state of group {group}: {error}") from error
        return SnapshotView(transaction, self._items, self._refuse, arc, (view, group), contents)

    def scrub(self, after: bytes, *, items_max: int = SCRUB_ITEMS_MAX) -> bytes | None:
        """Check the images of the next keys after `after`; return where to go on, None = the end.

        Begin with b"". Raises CorruptItems at a damaged image.
        """
        assert items_max >= 1
        with self._reading("the items") as transaction:
            cursor = transaction.cursor(self._items)
            if not cursor.set_range(after):
                return None
            key = b""
            size_bytes = 0
            for key, raw in islice(cursor.iternext(), items_max):
                size_bytes += len(layout.verify_image(key, raw))
                if size_bytes >= SCRUB_BYTES_MAX:
                    return key + b"\0"
            return key + b"\0" if cursor.key() else None

    def _scrub_for(self, seconds: float) -> None:
        """Scrub from the beginning, for so long. Raises CorruptItems."""
        until = time.monotonic() + seconds
        position: bytes | None = b""
        while position is not None and time.monotonic() < until:
            position = self.scrub(position)

    def check_in_place(self) -> None:
        """Raise StorageFailed if the file was deleted or replaced under us. Every few seconds."""
        self._watch.check()

    def size_bytes(self) -> int:
        """Return the size of the file; it never shrinks, freed pages are used again."""
        information = self._environment.info()
        return (information["last_pgno"] + 1) * self._page_bytes

    def live_bytes(self) -> int:
        """Return the size of the pages that hold items; most of the others are free."""
        with self._reading("the items") as transaction:
            tree = transaction.stat(self._items)
        pages: int = tree["leaf_pages"] + tree["branch_pages"] + tree["overflow_pages"]
        return pages * self._page_bytes

    def map_size_bytes(self) -> int:
        """Return the size up to which the file may grow."""
        size_bytes: int = self._environment.info()["map_size"]
        return size_bytes

    def item_count(self) -> int:
        """Return the number of items in the tree, of all tables, dropped ones included."""
        with self._reading("the items") as transaction:
            entries: int = transaction.stat(self._items)["entries"]
            return entries

    # -- The writer thread --

    def checkpoint(self, batch: Sequence[ReplicaCheckpoint]) -> None:
        """Store all replicas, each in one transaction with its state; durable when it returns.

        Raises StorageFull (some replicas may be stored, others are as they were; all may be tried
        again) or StorageFailed (the process must exit).
        """
        slices = cut_into_transactions(batch)
        for place, replicas in enumerate(slices, start=1):
            with self._writing("checkpoint", durable=place == len(slices)) as transaction:
                for replica in replicas:
                    self._store(transaction, replica)

    def _store(self, transaction: lmdb.Transaction[bytes], replica: ReplicaCheckpoint) -> None:
        transaction.cursor(self._items).putmulti(_sealed(replica.items))
        for key, image in replica.items:
            if not image:
                transaction.delete(key, db=self._items)
        self._put_state(transaction, replica.group, replica.state)
        if replica.generation is not None:
            self._put_generations(transaction, replica.group, [replica.generation])
        for number in replica.generations_to_drop:
            key = layout.generation_key(replica.group, number)
            transaction.delete(key, db=self._replicas)

    def begin_install(self, record: InstallRecord) -> None:
        """Note that a replica's items are about to be replaced, and forget its state; durable.

        From here on the replica must not be served, or made at a start, before `finish_install`.
        """
        with self._writing(f"beginning the snapshot of group {record.group}") as transaction:
            self._delete_state(transaction, record.group)
            encoded = layout.encode_install(record)
            transaction.put(layout.install_key(record.group), encoded, db=self._replicas)

    def clear_arc(self, arc: tuple[int, int], *, items_max: int) -> bool:
        """Delete at most `items_max` items of an arc; return whether more may remain.

        Durable by `finish_install`, as is `fill_arc`: an install that a crash stops begins anew.
        """
        with self._writing("clearing an arc", durable=False) as transaction:
            return self._delete_items(transaction, arc, items_max) == items_max

    def fill_arc(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Store a part of a snapshot's items, ascending by key, verified before."""
        with self._writing("installing a snapshot", durable=False) as transaction:
            transaction.cursor(self._items).putmulti(_sealed(items))

    def finish_install(self, record: InstallRecord, state: bytes) -> None:
        """Store the replica's state: the install is over; durable.

        `state` is a snapshot state, verified before. Raises StorageFull (as of all the steps:
        nothing has changed by this one) or StorageFailed.
        """
        decoded, generations = decode_snapshot_state(state)
        assert (decoded.applied_index, decoded.applied_term) == (
            record.applied_index,
            record.applied_term,
        )
        with self._writing(f"finishing the snapshot of group {record.group}") as transaction:
            self._put_state(transaction, record.group, decoded)
            self._put_generations(transaction, record.group, generations)
            transaction.delete(layout.install_key(record.group), db=self._replicas)

    def purge(self, dropped: Iterable[int], *, items_max: int = PURGE_ITEMS_MAX) -> bool:
        """Delete at most `items_max` items of dropped tables; return whether more remain."""
        room = items_max
        with self._writing("purge") as transaction:
            for table_id in dropped:
                low = layout.table_low(table_id)
                high = layout.arc_high(table_id, layout.TOKEN_END)
                room -= delete_range(transaction.cursor(self._items), low, high, room)
                if room == 0:
                    return True  # perhaps not, then the next call finds nothing
        return False

    # -- Inside --

    @contextmanager
    def _reading(self, what: str) -> Iterator[lmdb.Transaction[bytes]]:
        try:
            with self._environment.begin() as transaction:
                yield transaction
        except (lmdb.Error, Malformed) as error:
            raise self._refuse(f"{what}: {error}") from error

    @contextmanager
    def _writing(self, doing: str, *, durable: bool = True) -> Iterator[lmdb.Transaction[bytes]]:
        """Begin, commit and sync; or undo everything, and latch what is not to be retried.

        With `durable` off a power cut may undo it; the next one that is durable makes it so too.
        """
        if self._failure is not None:
            raise StorageFailed(f"an earlier write failed: {self._failure}")
        self._failure = "it did not end"
        try:
            transaction = self._environment.begin(write=True)
            try:
                yield transaction
            except BaseException:
                transaction.abort()
                self._failure = None  # undone, whatever it was
                raise
            transaction.commit()
        except (lmdb.Error, OSError, MemoryError) as error:
            failure = write_error(error, f"items: {doing}", self._watch, self._environment)
            self._failure = str(failure) if isinstance(failure, StorageFailed) else None
            raise failure from error
        except Malformed as error:
            raise self._refuse(f"{doing}: {error}") from error
        try:
            # The commit has synced the pages but not the meta page (metasync is off).
            if durable:
                self._environment.sync(True)  # noqa: FBT003 - lmdb's own signature
        except (lmdb.Error, OSError) as error:
            self._failure = f"items: {doing}: sync: {error}"
            raise StorageFailed(self._failure) from error
        self._failure = None
        self._version += 1

    def _with_prefix(
        self, transaction: lmdb.Transaction[bytes], prefix: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        cursor = transaction.cursor(self._replicas)
        if cursor.set_range(prefix):
            for item in cursor.iternext():
                if not item[0].startswith(prefix):
                    return
                yield item

    def _generations(
        self, transaction: lmdb.Transaction[bytes], group: int
    ) -> list[tuple[int, bytes]]:
        return [
            (layout.number_of_generation_key(key), layout.decode_generation(raw))
            for key, raw in self._with_prefix(transaction, layout.generations_prefix(group))
        ]

    def _put_state(
        self, transaction: lmdb.Transaction[bytes], group: int, state: ReplicaState
    ) -> None:
        transaction.put(layout.state_key(group), layout.encode_state(state), db=self._replicas)

    def _put_generations(
        self,
        transaction: lmdb.Transaction[bytes],
        group: int,
        generations: Iterable[tuple[int, bytes]],
    ) -> None:
        for number, data in generations:
            key = layout.generation_key(group, number)
            transaction.put(key, layout.encode_generation(data), db=self._replicas)

    def _delete_items(
        self, transaction: lmdb.Transaction[bytes], arc: tuple[int, int], count: int
    ) -> int:
        """Delete at most `count` items of an arc; return how many."""
        tables = table_ids(transaction.cursor(self._items)) if arc[0] < arc[1] else []
        deleted = 0
        for table_id in tables:
            low, high = layout.arc_low(table_id, arc[0]), layout.arc_high(table_id, arc[1])
            cursor = transaction.cursor(self._items)
            deleted += delete_range(cursor, low, high, count - deleted)
        return deleted

    def _delete_state(self, transaction: lmdb.Transaction[bytes], group: int) -> None:
        transaction.delete(layout.state_key(group), db=self._replicas)
        transaction.delete(layout.install_key(group), db=self._replicas)
        prefix = layout.generations_prefix(group)
        for key in [key for key, _ in self._with_prefix(transaction, prefix)]:
            transaction.delete(key, db=self._replicas)


def _sealed(items: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return (key, image) pairs as they are stored, without the deleted ones."""
    seal = layout.seal_image
    return [(key, seal(key, image)) for key, image in items if image]


def decode_snapshot_state(state: bytes) -> tuple[ReplicaState, list[tuple[int, bytes]]]:
    """Read the state that a snapshot carries: state, generations. Raises CorruptItems."""
    try:
        return layout.decode_snapshot_state(state)
    except Malformed as error:
        what_to_do = "Take the snapshot again"
        raise CorruptItems(f"its state: {error}", "snapshot", what_to_do) from error


def _fill(owner: str, environment: lmdb.Environment) -> None:
    environment.open_db(b"items")
    replicas = environment.open_db(b"replicas")
    with environment.begin(write=True) as transaction:
        transaction.put(layout.FORMAT_KEY, layout.encode_format(), db=replicas)
        if owner:
            transaction.put(layout.OWNER_KEY, layout.encode_owner(owner), db=replicas)


def _owner_of(environment: lmdb.Environment, replicas: lmdb._Database) -> str:
    """Return whose the store is, "" if that is unknown. Raises Malformed."""
    with environment.begin() as transaction:
        raw = transaction.get(layout.OWNER_KEY, db=replicas)
    return "" if raw is None else layout.decode_owner(raw)


def _open_databases(environment: lmdb.Environment) -> tuple[lmdb._Database, lmdb._Database]:
    """Open both databases and check the format. Raises Malformed."""
    items = environment.open_db(b"items", create=False)
    replicas = environment.open_db(b"replicas", create=False)
    with environment.begin() as transaction:
        raw = transaction.get(layout.FORMAT_KEY, db=replicas)
    if raw is None:
        raise Malformed("its format is missing")
    layout.decode_format(raw)
    return items, replicas
