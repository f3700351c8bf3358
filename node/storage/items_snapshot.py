"""A consistent view of one replica's items and state, for sending it to another node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import lmdb

from node.storage import layout
from node.storage.environment import Refuse
from node.storage.layout import Malformed, ReplicaState
from node.storage.snapshot_frames import (
    KIND_END,
    KIND_HEAD,
    KIND_PAIRS,
    KIND_STATE,
    Head,
    Position,
    encode_end,
    encode_frame,
    encode_head,
    encode_pair,
    encode_pairs,
)

ITEM_OVERHEAD_BYTES: Final = 96
"""What an item takes in a frame beyond its size in DynamoDB's sense, about: the storage key, the
image's header, JSON's names of types. Ours."""


PIECE_BYTES: Final = 256 * 1024
"""Bytes of pairs, or of state, in one frame. Ours: large messages hold up the loop."""


class SnapshotView:
    """One replica as of its last checkpoint, frame by frame: state, then the items of its arc.

    Used by one thread at a time, any thread. Holds a read transaction, and so every page that
    was in use when it was opened: close it soon.
    """

    __slots__ = (
        "_arc",
        "_database",
        "_frames",
        "_position",
        "_refuse",
        "_state_bytes",
        "_transaction",
        "head",
        "state",
    )

    def __init__(
        self,
        transaction: lmdb.Transaction[bytes],
        database: lmdb._Database,
        refuse: Refuse,
        arc: tuple[int, int],
        identity: tuple[bytes, int],
        contents: tuple[ReplicaState, list[tuple[int, bytes]]],
    ) -> None:
        """Use `ItemStore.open_view`. `identity` is (view, group)."""
        self._transaction: lmdb.Transaction[bytes] | None = transaction
        self._database = database
        self._refuse = refuse
        self._arc = arc
        self.state = contents[0]
        self._state_bytes = layout.encode_snapshot_state(*contents)
        self.head = Head(
            *identity, self.state.applied_index, self.state.applied_term, len(self._state_bytes)
        )
        self._position = Position()
        self._frames = self._remaining()

    @property
    def size_bytes(self) -> int:
        """Return about how long all frames are: from the counts of items, which is no bound."""
        items = sum(size for _, size in self.state.table_sizes.values())
        count = sum(count for count, _ in self.state.table_sizes.values())
        return len(self._state_bytes) + items + count * ITEM_OVERHEAD_BYTES

    def go_on_from(self, position: Position) -> None:
        """Let the next frame be the one after `position`, where a receiver of this view stands."""
        self._position = replace(position)
        self._frames = self._remaining()

    def next_frame(self) -> bytes | None:
        """Return the next frame; None after the end.

        Raises CorruptItems at a damaged image: rot must not spread.
        """
        return next(self._frames, None)

    def _remaining(self) -> Iterator[bytes]:
        position = self._position
        if position.frame_count == 0:
            yield self._frame(KIND_HEAD, encode_head(self.head))
            for start in range(0, len(self._state_bytes), PIECE_BYTES):
                yield self._frame(KIND_STATE, self._state_bytes[start : start + PIECE_BYTES])
        pairs: list[bytes] = []
        size_bytes = 0
        for key, image in self.items(position.last_key):
            pairs.append(encode_pair(key, image))
            size_bytes += len(pairs[-1])
            if size_bytes >= PIECE_BYTES:
                yield self._pairs_frame(pairs)
                pairs, size_bytes = [], 0
        if pairs:
            yield self._pairs_frame(pairs)
        yield self._frame(KIND_END, encode_end(position))

    def _pairs_frame(self, pairs: list[bytes]) -> bytes:
        raw = self._frame(KIND_PAIRS, encode_pairs(self._position.pair_count, pairs))
        self._position.pair_count += len(pairs)
        return raw

    def _frame(self, kind: int, body: bytes) -> bytes:
        raw = encode_frame(kind, body, self._position.checksum)
        self._position.add(raw)
        return raw

    def items(self, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Yield all (key, image) of the arc after a key, ascending by key.

        Raises CorruptItems at a damaged image.
        """
        assert self._transaction is not None, "the view is closed"
        key = b""
        try:
            cursor = self._transaction.cursor(self._database)
            for key, raw in scan_arc(cursor, *self._arc, after=after):
                yield key, layout.verify_image(key, raw)
        except (Malformed, lmdb.Error) as error:
            raise self._refuse(f"after key {key.hex()}: {error}") from error

    def close(self) -> None:
        """End the read transaction. Harmless when closed already."""
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            transaction.abort()


def scan_arc(
    cursor: lmdb.Cursor[bytes], low_token: int, high_token: int, *, after: bytes = b""
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, sealed image) of all tables, low_token <= token < high_token, ascending by key.

    Begins after the key `after`. Seeks from table to table, so what lies outside the arc costs
    nothing. Raises Malformed.
    """
    there = low_token < high_token and cursor.set_range(after)
    if there and cursor.key() == after:
        there = cursor.next()
    while there:
        table_id = layout.table_of(cursor.key())
        high = layout.arc_high(table_id, high_token)
        if not cursor.set_range(max(cursor.key(), layout.arc_low(table_id, low_token))):
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
