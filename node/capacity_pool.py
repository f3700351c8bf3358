"""The pool of a table's capacity, at the catalog's leader: routers lease tokens from it.

This is the global admission control of the DynamoDB paper (section 4.2). The pool holds one
bucket for a table's reads and one for its writes and nothing else: it is not replicated, and a
new leader starts with a full one, less what the routers remember. Pure: time comes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from model.tables import load_table
from quorate.cluster.catalog import Catalog, TableRecord
from quorate.cluster.token_bucket import BURST_SECONDS, TokenBucket

DEMAND_SECONDS: Final = 0.5
"""How long a router's demand counts when tokens are short. Ours: some rounds of questions."""

START_SECONDS: Final = 1.0
"""How much of its rate a pool begins with if its table had no limit before. Ours."""

ROUTERS_MAX: Final = 1_000
"""Most routers whose demand is remembered, and whose memory is asked for. Ours."""


@dataclass(slots=True)
class _Demand:
    wanted: float
    at: float


class Pool:
    """One table's tokens of one kind. Never grants more than rate x time + burst.

    A pool may follow another one of which it knows nothing. What a router remembers of that one is
    the most that can be left, whatever others have used since: so the first question of each router
    may lower the level, even below zero, by what was granted before it was asked.
    """

    __slots__ = ("_bucket", "_demands", "_granted", "_met")

    def __init__(self, rate: float, level: float, now: float) -> None:
        """`level` is what there is if no router remembers less."""
        self._bucket = TokenBucket(rate, rate * BURST_SECONDS, level, now)
        self._demands: dict[str, _Demand] = {}
        self._met: set[str] = set()  # routers that remember no other pool than this
        self._granted = 0.0  # less what came back

    @property
    def level(self) -> float:
        """Tokens left, as of the last grant; below zero if too many were granted."""
        return self._bucket.level

    def change(self, rate: float, now: float) -> None:
        """Let the table have another rate from now on."""
        if rate != self._bucket.rate:
            self._bucket.change(rate, rate * BURST_SECONDS, now)

    def grant(
        self, router: str, *, wanted: float, returned: float, level: float | None, now: float
    ) -> float:
        """Take tokens back, and return how many this router gets.

        When all that is wanted is there, all of it; else a share by demand, of what is there or, if
        that is more, of what has come in since this router's last question: one that always asks
        just after another would find nothing but the other's leavings.

        `level` is the most that the router knows to be left, None if it knows nothing.
        """
        bucket = self._bucket
        bucket.refill(now)
        if router not in self._met and len(self._met) < ROUTERS_MAX:
            self._met.add(router)
            if level is not None:
                bucket.level = min(bucket.level, level - self._granted)
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
        self._granted += tokens - returned
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
        self._tables: Mapping[int, TableRecord] = {}
        self._epoch = 0

    def follow(self, catalog: Catalog, now: float) -> None:
        """Know the tables of a catalog that this node leads. Call it at every change of it.

        The pools of a table that was changed are made at once, for they save from then on.
        """
        if catalog.epoch == self._epoch:
            return
        self._epoch = catalog.epoch
        before, self._tables = self._tables, catalog.table_by_id
        self._pools = {key: pool for key, pool in self._pools.items() if key[0] in self._tables}
        for table in catalog.tables:
            old = before.get(table.id)
            if old is not None and old.version != table.version:
                for reads in (True, False):
                    self._pool_of(old, reads=reads, now=now)
                    self._pool_of(table, reads=reads, now=now)

    def clear(self) -> None:
        """Forget everything: this node does not lead the catalog."""
        self._pools.clear()
        self._tables = {}
        self._epoch = 0

    def grant(self, router: str, ask: CapacityAsk, catalog: Catalog, now: float) -> CapacityGrant:
        """Answer one ask; a table without limit gets what is wanted, a dropped one nothing."""
        record = catalog.table_by_id.get(ask.table_id)
        if record is None:
            return CapacityGrant(0.0, 0.0)
        pool = self._pool_of(record, reads=ask.reads, now=now)
        if pool is None:
            return CapacityGrant(ask.wanted, ask.wanted)
        tokens = pool.grant(
            router, wanted=ask.wanted, returned=ask.returned, level=ask.level, now=now
        )
        return CapacityGrant(tokens, pool.level)

    def _pool_of(self, record: TableRecord, *, reads: bool, now: float) -> Pool | None:
        """Return the pool of a table, None if it has no limit.

        It begins full, but for a table that had no limit before: that saved nothing.
        """
        key = (record.id, reads)
        version, pool = self._pools.get(key, (-1, None))
        if version != record.version:
            table = load_table(record.id, record.name, record.definition, record.version)
            limit = table.limit_units(reads=reads)
            if limit is None:
                pool = None
            elif pool is None:
                seconds = START_SECONDS if key in self._pools else BURST_SECONDS
                pool = Pool(limit, limit * seconds, now)
            else:
                pool.change(limit, now)
            self._pools[key] = (record.version, pool)
        return pool
