"""The pool of a table's capacity, at the catalog's leader: routers lease tokens from it.

This is the global admission control of the DynamoDB paper (section 4.2). The pool holds one
bucket for a table's reads and one for its writes and nothing else: it is not replicated, and a
new leader starts with what the routers last heard. Pure: time comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from model.tables import load_table
from quorate.cluster.catalog import Catalog, TableRecord
from quorate.cluster.token_bucket import BURST_SECONDS, TokenBucket

DEMAND_SECONDS: Final = 0.5
"""How long a router's demand counts when tokens are short. Ours: some rounds of questions."""

START_SECONDS: Final = 1.0
"""How much of its rate a pool begins with when nobody remembers its level, besides what has come in
since this node leads or the table was made or changed, whichever was later. Ours."""

ROUTERS_MAX: Final = 1_000
"""Most routers whose demand is remembered. Ours."""


@dataclass(slots=True)
class _Demand:
    wanted: float
    at: float


class Pool:
    """One table's tokens of one kind. Never grants more than rate x time + burst."""

    __slots__ = ("_bucket", "_demands")

    def __init__(self, rate: float, level: float | None, now: float, unused: float = 0.0) -> None:
        """`level` is what a router remembers of an earlier pool, None if nobody does.

        Nobody can have used the table for `unused` seconds without being heard of.
        """
        capacity = rate * BURST_SECONDS
        start = rate * (START_SECONDS + unused) if level is None else max(0.0, level)
        self._bucket = TokenBucket(rate, capacity, start, now)
        self._demands: dict[str, _Demand] = {}

    @property
    def level(self) -> float:
        """Tokens left, as of the last grant."""
        return self._bucket.level

    def change(self, rate: float, now: float) -> None:
        """Let the table have another rate from now on."""
        if rate != self._bucket.rate:
            self._bucket.change(rate, rate * BURST_SECONDS, now)

    def grant(self, router: str, *, wanted: float, returned: float, now: float) -> float:
        """Take tokens back, and return how many this router gets.

        When all that is wanted is there, all of it; else a share by demand, of what is there or, if
        that is more, of what has come in since this router's last question: one that always asks
        just after another would find nothing but the other's leavings.
        """
        bucket = self._bucket
        bucket.refill(now)
        bucket.settle(-returned)
        last = self._demands.get(router)
        elapsed = 0.0 if last is None else min(now - last.at, DEMAND_SECONDS)
        self._demands = {
            name: demand
            for name, demand in self._demands.items()
            if demand.at + DEMAND_SECONDS > now and name != router
        }
        others = sum(demand.wanted for demand in self._demands.values())
        if wanted > 0 and len(self._demands) < ROUTERS_MAX:
            self._demands[router] = _Demand(wanted, now)
        available = max(0.0, bucket.level)
        if wanted + others <= available:
            tokens = wanted
        else:
            share = wanted / (wanted + others) if wanted else 0.0
            tokens = min(wanted, available, share * max(available, bucket.rate * elapsed))
        bucket.level -= tokens
        return tokens


@dataclass(frozen=True, slots=True)
class CapacityAsk:
    """What a router asks for one table's reads or writes; see `router.admission.lease.Ask`."""

    table_id: int
    reads: bool
    wanted: float
    returned: float
    level: float | None


@dataclass(frozen=True, slots=True)
class CapacityGrant:
    """The answer: tokens for the router, and the pool's level for its memory."""

    tokens: float
    level: float


class CapacityPools:
    """The pools of all tables with limits, at the catalog's leader."""

    def __init__(self) -> None:
        self._pools: dict[tuple[int, bool], tuple[int, Pool | None]] = {}  # with table version
        self._since: dict[tuple[int, int], float] = {}  # when a table's version was first seen
        self._epoch = 0

    def follow(self, catalog: Catalog, now: float) -> None:
        """Know the tables of a catalog that this node leads. Call it at every tick."""
        if catalog.epoch == self._epoch:
            return
        self._epoch = catalog.epoch
        tables = [(table.id, table.version) for table in catalog.tables]
        self._since = {table: self._since.get(table, now) for table in tables}
        self._pools = {
            key: pool for key, pool in self._pools.items() if key[0] in catalog.table_by_id
        }

    def clear(self) -> None:
        """Forget everything: this node does not lead the catalog."""
        self._pools.clear()
        self._since.clear()
        self._epoch = 0

    def grant(self, router: str, ask: CapacityAsk, catalog: Catalog, now: float) -> CapacityGrant:
        """Answer one ask; a table without limit gets what is wanted, a dropped one nothing."""
        record = catalog.table_by_id.get(ask.table_id)
        if record is None:
            return CapacityGrant(0.0, 0.0)
        pool = self._pool_of(record, ask, now)
        if pool is None:
            return CapacityGrant(ask.wanted, ask.wanted)
        tokens = pool.grant(router, wanted=ask.wanted, returned=ask.returned, now=now)
        return CapacityGrant(tokens, pool.level)

    def _pool_of(self, record: TableRecord, ask: CapacityAsk, now: float) -> Pool | None:
        key = (record.id, ask.reads)
        version, pool = self._pools.get(key, (-1, None))
        if version != record.version:
            table = load_table(record.id, record.name, record.definition, record.version)
            limit = table.limit_units(reads=ask.reads)
            if limit is None:
                pool = None
            elif pool is None:
                unused = now - self._since.get((record.id, record.version), now)
                pool = Pool(limit, ask.level, now, unused)
            else:
                pool.change(limit, now)
            self._pools[key] = (record.version, pool)
        return pool
