"""Admission and metering by table: what its requests may use here, and what they have used.

Every request of a table with a limit spends from this router's leases. Writes are admitted by what
they are known to cost and settled when the leader has told the rest (the item before may have
been larger); reads are admitted by the least they can cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from model.errors import ModelError, ProvisionedThroughputExceeded, Throttled, ThrottledError
from model.tables import Table, load_table, table_arn
from quorate.cluster.catalog import Catalog
from quorate.cluster.ring import Ring
from router.admission.lease import Ask, Lease
from router.exponential_average import ExponentialAverage

RATE_SECONDS: Final = 5.0
"""Over how long the consumption that people are shown is averaged. Ours."""

TABLES_COUNTED_MAX: Final = 500
"""Most tables that metrics tell apart; further ones are counted together. Ours: each has a dozen
series at every router."""

OTHER_TABLES: Final = "(others)"
"""The label of tables beyond. No table can be called so."""


QUEUED_MAX: Final = 4_096
"""Most requests in the lines of all tables that one more may join to wait for capacity. Ours: 160
batches."""


@dataclass(frozen=True, slots=True)
class TableAsk:
    """An ask of one table, for its reads or its writes."""

    table_id: int
    reads: bool
    ask: Ask


@dataclass(slots=True)
class Usage:
    """What a table's requests have used since this router's start, for the metrics.

    `requests` (each item of a batch is one) and `units` are by (operation, whether it reads);
    `throttled` counts refusals by reason.
    """

    name: str
    requests: dict[tuple[str, bool], int] = field(default_factory=dict)
    units: dict[tuple[str, bool], float] = field(default_factory=dict)
    throttled: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Account:
    """One table here: its leases (None: no limit), and what its requests have used.

    `usage` is shared by the tables that are not told apart. `refusals` are its errors by what is
    short, made once: a table that is short refuses thousands.
    """

    name: str
    version: int
    reads: Lease | None
    writes: Lease | None
    usage: Usage
    refusals: dict[tuple[str, bool], ThrottledError] = field(default_factory=dict)
    _read_units: float = 0.0
    _write_units: float = 0.0
    _read_rate: ExponentialAverage = field(
        default_factory=partial(ExponentialAverage, RATE_SECONDS)
    )
    _write_rate: ExponentialAverage = field(
        default_factory=partial(ExponentialAverage, RATE_SECONDS)
    )

    @property
    def read_rate(self) -> float:
        """Read units a second of late."""
        return self._read_rate.value

    @property
    def write_rate(self) -> float:
        """Write units a second of late."""
        return self._write_rate.value

    def lease(self, *, reads: bool) -> Lease | None:
        """Return the lease of its reads or its writes, None if they have no limit."""
        return self.reads if reads else self.writes

    def leases(self) -> list[Lease]:
        """Return the leases it has."""
        return [lease for lease in (self.reads, self.writes) if lease is not None]

    def change(self, table: Table, now: float) -> list[Lease]:
        """Follow a changed table; return the leases that have no limit any more."""
        self.version = table.version
        self.refusals.clear()
        before = self.leases()
        self.reads = _lease(self.reads, table.limit_units(reads=True), now)
        self.writes = _lease(self.writes, table.limit_units(reads=False), now)
        return [lease for lease in before if lease not in self.leases()]

    def spend(self, operation: str, units: float, *, reads: bool) -> None:
        """Count what an operation has used."""
        key = (operation, reads)
        usage = self.usage
        usage.requests[key] = usage.requests.get(key, 0) + 1
        usage.units[key] = usage.units.get(key, 0.0) + units
        if reads:
            self._read_units += units
        else:
            self._write_units += units

    def average(self, elapsed: float) -> None:
        """Let the rates follow what was used in the last `elapsed` seconds."""
        self._read_rate.add(self._read_units / elapsed, elapsed)
        self._write_rate.add(self._write_units / elapsed, elapsed)
        self._read_units = self._write_units = 0.0


class Undecided(Exception):
    """Only the pool can tell whether there is capacity, and it has been asked."""


class TableAdmission:
    """All tables' accounts at one router. A table without limits costs a dictionary lookup."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is the one that `tick` is called by."""
        self.clock = clock
        self.on_credit: Callable[[], object] = lambda: None  # called when the pools should be asked
        self._accounts: dict[int, Account] = {}
        self._others = Usage(OTHER_TABLES)
        self._lines: dict[Lease, None] = {}  # the leases that somebody waits for
        self._ticked_at = clock()

    def admit(self, table: Table, units: float, *, reads: bool) -> float:
        """Spend units; return how many, 0 if the table has no limit.

        Raises a throttling ModelError if there are none: nothing is to be done then. Raises
        Undecided if the pool has not said so yet: `wait` for it.
        """
        account = self._accounts.get(table.id) or self._open(table)
        lease = account.lease(reads=reads)
        if lease is None:
            return 0.0
        if not lease.admit(units, self.clock()):
            if lease.is_undecided:
                raise Undecided
            lease.refuse(units)
            raise self._table_refusal(table, reads=reads)
        if lease.on_credit:
            self.on_credit()
        return units

    def wait(self, table: Table, units: float, go_on: Callable[[], object], *, reads: bool) -> None:
        """Call `go_on`, to be admitted or refused, when there is capacity or the pool says no."""
        lease = self._accounts[table.id].lease(reads=reads)
        assert lease is not None, "what has no limit is admitted"
        lease.wait(units, lambda _: go_on())
        self._lines[lease] = None
        self.on_credit()

    def queue(
        self,
        table: Table,
        units: float,
        until: float,
        go_on: Callable[[float], object],
        *,
        reads: bool,
    ) -> bool:
        """Let a request that was refused wait for capacity; return whether there is room for it.

        `go_on` is called with the units once they are admitted, in order of arrival, or with 0 at
        `until`.
        """
        account = self._accounts.get(table.id)
        lease = None if account is None else account.lease(reads=reads)
        if lease is None or sum(each.waiting_count for each in self._lines) >= QUEUED_MAX:
            return False

        def take_turn(units: float) -> None:
            lease.spend(units)
            go_on(units)

        lease.wait(units, take_turn, until)
        self._lines[lease] = None
        self.on_credit()
        return True

    def serve_queues(self) -> None:
        """Let those go on whose turn it is. Call it many times a second."""
        now = self.clock()
        for lease in list(self._lines):
            lease.serve(now)
            if not lease.waiting_count:
                del self._lines[lease]

    def drop_waiting(self) -> None:
        """Forget those who wait: their clients have gone."""
        for lease in self._lines:
            lease.drop_waiting()
        self._lines.clear()

    def settle(
        self, table: Table, operation: str, units: float, admitted: float, *, reads: bool
    ) -> None:
        """Count what an operation has used, and spend what that is beyond `admitted`."""
        account = self._accounts.get(table.id)
        if account is None:
            return  # dropped meanwhile
        account.spend(operation, units, reads=reads)
        lease = account.lease(reads=reads)
        if admitted and lease is not None:
            lease.spend(units - admitted)

    def key_range_refusal(self, table: Table, *, reads: bool) -> ModelError:
        """Return the error for a partition that is over its own cap, as its leader says."""
        return self._throttle(table, "KeyRange", reads=reads)

    def accounts(self) -> Iterable[tuple[int, Account]]:
        """Return the accounts of the tables used here, with the tables' ids."""
        return self._accounts.items()

    def usages(self) -> Iterable[Usage]:
        """Return what was used: of the tables that are told apart, and of all others."""
        yield from (
            each.usage for each in self._accounts.values() if each.usage is not self._others
        )
        yield self._others

    def catalog_changed(self, catalog: Catalog, ring: Ring) -> None:
        """Forget dropped tables, and let changed ones have their new rates.

        Those who wait go on: under the new limits, without limit, or not at all.
        """
        del ring
        now = self.clock()
        unlimited: list[Lease] = []
        dropped: list[Lease] = []
        for table_id, account in list(self._accounts.items()):
            record = catalog.table_by_id.get(table_id)
            if record is None:
                del self._accounts[table_id]
                dropped += account.leases()
            elif record.version != account.version:
                table = load_table(record.id, record.name, record.definition, record.version)
                unlimited += account.change(table, now)
        for lease in unlimited:
            lease.let_all_go(have_capacity=True)
        for lease in dropped:
            lease.let_all_go(have_capacity=False)
        self.serve_queues()
        if self._lines:
            self.on_credit()

    def check(self) -> None:
        """Assert the invariants of all leases, and that whoever waits will be served."""
        for account in self._accounts.values():
            for lease in account.leases():
                lease.check()
                assert not lease.waiting_count or lease in self._lines, "nobody serves this line"

    def tick(self, now: float) -> list[TableAsk]:
        """Let time pass; return what to ask the pools. Call it several times a second."""
        elapsed, self._ticked_at = now - self._ticked_at, now
        asks = []
        for table_id, account in list(self._accounts.items()):
            if elapsed > 0:
                account.average(elapsed)
            for reads, lease in ((True, account.reads), (False, account.writes)):
                ask = lease.tick(now) if lease is not None else None
                if ask is not None:
                    asks.append(TableAsk(table_id, reads, ask))
        return asks

    def granted(self, asks: Sequence[TableAsk], grants: Sequence[tuple[float, float]]) -> None:
        """Take the pools' answers, (tokens, level) for each ask in its order."""
        now = self.clock()
        for asked, (tokens, level) in zip(asks, grants, strict=True):
            account = self._accounts.get(asked.table_id)
            lease = None if account is None else account.lease(reads=asked.reads)
            if lease is not None:
                is_waited_for = lease.waiting_count > 0
                lease.granted(asked.ask, tokens, level, now)
                if is_waited_for and lease.on_credit:
                    self.on_credit()

    def _open(self, table: Table) -> Account:
        now = self.clock()
        account = self._accounts[table.id] = Account(
            table.name,
            table.version,
            _lease(None, table.limit_units(reads=True), now),
            _lease(None, table.limit_units(reads=False), now),
            self._others if len(self._accounts) >= TABLES_COUNTED_MAX else Usage(table.name),
        )
        return account

    def _table_refusal(self, table: Table, *, reads: bool) -> ModelError:
        what = "Provisioned" if table.is_provisioned else "MaxOnDemand"
        return self._throttle(table, what, reads=reads)

    def _throttle(self, table: Table, what: str, *, reads: bool) -> ModelError:
        account = self._accounts.get(table.id) or self._open(table)
        refusal = account.refusals.get((what, reads))
        if refusal is None:
            error = ProvisionedThroughputExceeded if table.is_provisioned else Throttled
            reason = f"Table{'Read' if reads else 'Write'}{what}ThroughputExceeded"
            refusal = error(reasons=((reason, table_arn(table.name)),))
            account.refusals[what, reads] = refusal
        account.usage.throttled[refusal.reasons[0][0]] += 1
        return refusal


def _lease(lease: Lease | None, limit: float | None, now: float) -> Lease | None:
    """Return the lease that a limit wants: the one there is, with another rate, or a new one."""
    if limit is None:
        return None
    if lease is None:
        return Lease(limit, now)
    lease.change(limit, now)
    return lease
