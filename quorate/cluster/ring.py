"""The ring: 64-bit tokens, cut into arcs that partitions own.

Pure functions; see `quorate.cluster.placement` for which nodes hold a partition.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from quorate.cluster.catalog import PartitionRecord

RING_SIZE: Final = 1 << 64
"""Number of tokens. A token is the first 8 bytes of the hash of (table, partition key)."""


def equal_arcs(count: int) -> list[int]:
    """Return the low tokens that cut the ring into `count` arcs of equal length."""
    assert count >= 1
    return [index * RING_SIZE // count for index in range(count)]


class Ring:
    """Finds the partition of a token by binary search over the arcs."""

    __slots__ = ("_low_tokens", "partitions")

    def __init__(self, partitions: Sequence[PartitionRecord]) -> None:
        """Take partitions sorted by low token, the first at 0."""
        self.partitions = tuple(partitions)
        self._low_tokens = [partition.low_token for partition in partitions]
        assert self._low_tokens, "a ring has at least one partition"
        assert self._low_tokens[0] == 0
        assert all(a < b for a, b in zip(self._low_tokens, self._low_tokens[1:], strict=False))

    def partition_of(self, token: int) -> PartitionRecord:
        """Return the partition whose arc holds `token`."""
        return self.partitions[bisect_right(self._low_tokens, token) - 1]

    def arc_of(self, partition_id: int) -> tuple[int, int]:
        """Return the arc [low, high) of a partition; raises KeyError if it is not on the ring."""
        for position, partition in enumerate(self.partitions):
            if partition.id == partition_id:
                following = position + 1
                high = (
                    self._low_tokens[following] if following < len(self._low_tokens) else RING_SIZE
                )
                return partition.low_token, high
        raise KeyError(partition_id)
