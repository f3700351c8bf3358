"""The items store: the tree of images, and what each replica must remember beside its items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ITEMS_MAP_SIZE_BYTES: Final = 1 << 40


@dataclass(slots=True)
class ReplicaState:
    """How far a replica's items are applied. Always written in one transaction with them."""

    applied_index: int
    applied_term: int
    configuration: bytes  # raft.types.Configuration.encode()
    table_sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # id -> (count, bytes)


@dataclass(slots=True)
class ReplicaCheckpoint:
    """One replica's part of a checkpoint."""

    group: int
    state: ReplicaState
    items: Sequence[tuple[bytes, bytes]]  # by key, ascending; image b"" = delete
    generation: tuple[int, bytes] | None = None  # (number, request ids): a new or replaced one
    generations_to_drop: Sequence[int] = ()


class ItemStore:
    """All items of one node. Reads on the loop thread; writes on one writer thread."""

    @classmethod
    def open(cls, path: Path, *, map_size_bytes: int = ITEMS_MAP_SIZE_BYTES) -> ItemStore:
        """Open or create. Raises CorruptItems, StorageFailed, StorageFull."""
        raise NotImplementedError

    def replicas(self) -> dict[int, ReplicaState]:
        """Return the state of every replica, by group, as of the last checkpoint."""
        raise NotImplementedError

    def generations(self, group: int) -> list[tuple[int, bytes]]:
        """Return the dedupe generations of a replica, (number, request ids), ascending."""
        raise NotImplementedError

    # -- loop thread --

    def get(self, key: bytes) -> bytes | None:
        """Return the image, or None. Sees every checkpoint that has returned."""
        raise NotImplementedError

    def scan(
        self, low: bytes, high: bytes, *, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, image) with low <= key < high, from one read transaction.

        Finish or close the iterator within the turn: while it lives no page is reused.
        """
        raise NotImplementedError

    def refresh(self) -> None:
        """Let go of the pages of the last checkpoint. Call after each checkpoint or purge."""
        raise NotImplementedError

    def snapshot_reader(self, low_token: int, high_token: int, group: int) -> SnapshotReader:
        """Open a consistent view of one replica. `high_token` is exclusive, up to 1 << 64.

        Raises CorruptItems if the group has no state here.
        """
        raise NotImplementedError

    def check_in_place(self) -> None:
        """Raise StorageFailed if the file was deleted or replaced under us. Every few seconds."""
        raise NotImplementedError

    def size_bytes(self) -> int:
        """Return the bytes of the file in use."""
        raise NotImplementedError

    # -- writer thread --

    def checkpoint(self, batch: Sequence[ReplicaCheckpoint]) -> None:
        """Store everything in one transaction; durable when it returns.

        Raises StorageFull (nothing has changed) or StorageFailed (the process must exit).
        """
        raise NotImplementedError

    def install_snapshot(
        self,
        group: int,
        low_token: int,
        high_token: int,
        state: bytes,
        items: Iterable[tuple[bytes, bytes]],
    ) -> ReplicaState:
        """Replace all items of the arc, and the replica's state, in one transaction; durable.

        `state` is what SnapshotReader.state_bytes gave. Items ascend by key. Raises CorruptItems
        (a damaged image, a key outside the arc: nothing has changed), StorageFull, StorageFailed.
        """
        raise NotImplementedError

    def remove_replica(self, group: int, low_token: int, high_token: int) -> None:
        """Delete all items of the arc and the replica's state; durable."""
        raise NotImplementedError

    def purge(self, table_ids: Iterable[int], *, items_max: int = 1000) -> bool:
        """Delete at most `items_max` items of dropped tables; return whether more remain."""
        raise NotImplementedError

    # -- any thread --

    def list_table_ids(self) -> list[int]:
        """Return the ids of all tables that have an item here."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the environment. No write may be running, no snapshot reader open."""
        raise NotImplementedError


class SnapshotReader:
    """A consistent view of one replica: state, dedupe generations, items of the arc.

    One thread at a time, any thread. Holds a read transaction: close it soon.
    """

    state: ReplicaState

    def state_bytes(self) -> bytes:
        """Return the replica's state and dedupe generations, for SnapshotChunk.state."""
        raise NotImplementedError

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all (key, image) of the arc, ascending. Raises CorruptItems: never spread rot."""
        raise NotImplementedError

    def close(self) -> None:
        """End the read transaction."""
        raise NotImplementedError


def decode_snapshot_state(state: bytes) -> tuple[ReplicaState, list[tuple[int, bytes]]]:
    """Read what SnapshotReader.state_bytes gave: state, generations. Raises CorruptItems."""
    raise NotImplementedError
