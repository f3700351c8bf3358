"""What a checkpoint stores, and in how many transactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from node.storage.layout import ReplicaState

PAGE_BYTES: Final = 4096
"""What an item rewrites besides itself, at most: the page that it lies in. Ours: LMDB's page."""

TRANSACTION_BYTES: Final = 16 << 20
"""Bytes that a checkpoint's transaction rewrites before the next one begins. Ours.

LMDB writes every page that it changes to another place, and gives the old place out again two
transactions later: the smaller they are, the less of the file is free. Each costs a flush.
"""


@dataclass(slots=True)
class ReplicaCheckpoint:
    """One replica's part of a checkpoint."""

    group: int
    state: ReplicaState
    items: Sequence[tuple[bytes, bytes]]  # by key, ascending; image b"" = delete
    generation: tuple[int, bytes] | None = None  # (number, request ids): a new or replaced one
    generations_to_drop: Sequence[int] = ()

    @property
    def rewritten_bytes(self) -> int:
        """About how much of the file is written anew for it."""
        return sum(PAGE_BYTES + len(image) for _, image in self.items)


def cut_into_transactions(batch: Iterable[ReplicaCheckpoint]) -> list[list[ReplicaCheckpoint]]:
    """Return the replicas, in order, by transaction. A replica's part is never cut.

    Its state tells how far its items have come, and how many there are.
    """
    transactions: list[list[ReplicaCheckpoint]] = []
    room = 0
    for replica in batch:
        if room <= 0:
            transactions.append([])
            room = TRANSACTION_BYTES
        transactions[-1].append(replica)
        room -= replica.rewritten_bytes
    return transactions
