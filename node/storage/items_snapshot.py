"""A consistent view of one replica's items and state, for sending it to another node."""

from __future__ import annotations

from collections.abc import Iterator

import lmdb

from model.image import CorruptImage, check_image
from node.storage import layout
from node.storage.environment import Refuse
from node.storage.layout import Malformed, ReplicaState


class SnapshotReader:
    """One replica as of its last checkpoint: state, dedupe generations, items of its arc.

    Used by one thread at a time, any thread. Holds a read transaction, and so every page that
    was in use when it was opened: close it soon.
    """

    __slots__ = ("_arc", "_database", "_generations", "_refuse", "_transaction", "state")

    def __init__(
        self,
        transaction: lmdb.Transaction[bytes],
        database: lmdb._Database,
        refuse: Refuse,
        arc: tuple[int, int],
        contents: tuple[ReplicaState, list[tuple[int, bytes]]],
    ) -> None:
        """Use `ItemStore.snapshot_reader`."""
        self._transaction: lmdb.Transaction[bytes] | None = transaction
        self._database = database
        self._refuse = refuse
        self._arc = arc
        self.state, self._generations = contents

    def state_bytes(self) -> bytes:
        """Return the replica's state and dedupe generations, for SnapshotChunk.state."""
        return layout.encode_snapshot_state(self.state, self._generations)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all (key, image) of the arc, ascending by key.

        Raises CorruptItems at a damaged image: rot must not spread.
        """
        assert self._transaction is not None, "the snapshot is closed"
        key = b""
        try:
            cursor = self._transaction.cursor(self._database)
            for key, image in scan_arc(cursor, *self._arc):
                check_image(image)
                yield key, image
        except (CorruptImage, Malformed, lmdb.Error) as error:
            raise self._refuse(f"the image under key {key.hex()}: {error}") from error

    def close(self) -> None:
        """End the read transaction. Harmless when closed already."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()


def scan_arc(
    cursor: lmdb.Cursor[bytes], low_token: int, high_token: int
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, image) of all tables with low_token <= token < high_token, ascending by key.

    Seeks from table to table, so what lies outside the arc costs nothing. Raises Malformed.
    """
    there = low_token < high_token and cursor.first()
    while there:
        table_id = layout.table_of(cursor.key())
        high = layout.arc_high(table_id, high_token)
        if not cursor.set_range(layout.arc_low(table_id, low_token)):
            return
        for item in cursor.iternext():
            if high is not None and item[0] >= high:
                break
            yield item
        else:
            return
        there = table_id < layout.TABLE_ID_MAX and cursor.set_range(layout.table_low(table_id + 1))


def delete_range(cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None, count: int) -> int:
    """Delete at most `count` keys with low <= key < high; return how many."""
    deleted = 0
    there = cursor.set_range(low)
    while there and deleted < count and (high is None or cursor.key() < high):
        cursor.delete()  # and moves on to the next
        deleted += 1
        there = bool(cursor.key())
    return deleted


def table_ids(cursor: lmdb.Cursor[bytes]) -> list[int]:
    """Return the ids of all tables that have an item, ascending, by seeking. Raises Malformed."""
    found: list[int] = []
    there = cursor.first()
    while there:
        table_id = layout.table_of(cursor.key())
        found.append(table_id)
        there = table_id < layout.TABLE_ID_MAX and cursor.set_range(layout.table_low(table_id + 1))
    return found
