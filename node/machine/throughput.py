"""The cap of one table's throughput in one partition: a bucket at the replica that serves.

Only for tables with provisioned capacity: their routers share out what the table may use in all,
this keeps one partition from taking more than a node should give. Pure: time comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from quorate.cluster.token_bucket import BURST_SECONDS, TokenBucket

START_SECONDS: Final = 1.0
"""How much of its rate a bucket begins with, for what came before is not known. Ours."""


@dataclass(frozen=True, slots=True)
class PartitionLimits:
    """Most units a second of one table in one partition.

    Source: Developer Guide, "Best practices for designing partition keys".
    """

    write_units: float = 1000.0
    read_units: float = 3000.0


DEFAULT_LIMITS: Final = PartitionLimits()
"""What holds unless a node is started with something else."""


class PartitionThroughput:
    """The buckets of one partition, made when a table is first used.

    Tables are given by the first four bytes of their keys. The caller asks before it serves, and
    tells the units when it knows them.
    """

    __slots__ = ("_limits", "_reads", "_writes")

    def __init__(self, limits: PartitionLimits) -> None:
        self._limits = limits
        self._reads: dict[bytes, TokenBucket] = {}
        self._writes: dict[bytes, TokenBucket] = {}

    def write_bucket(self, table: bytes, now: float) -> TokenBucket:
        """Return the bucket of a table's writes, refilled."""
        return _refilled(self._writes, table, self._limits.write_units, now)

    def read_bucket(self, table: bytes, now: float) -> TokenBucket:
        """Return the bucket of a table's reads, refilled."""
        return _refilled(self._reads, table, self._limits.read_units, now)

    def forget(self, live: dict[bytes, bool]) -> None:
        """Forget tables that are gone, or have no cap any more."""
        for buckets in (self._reads, self._writes):
            for table in [table for table in buckets if not live.get(table)]:
                del buckets[table]


def _refilled(
    buckets: dict[bytes, TokenBucket], table: bytes, rate: float, now: float
) -> TokenBucket:
    bucket = buckets.get(table)
    if bucket is None:
        start, capacity = rate * START_SECONDS, rate * BURST_SECONDS
        bucket = buckets[table] = TokenBucket(rate, capacity, start, now)
    bucket.refill(now)
    return bucket
