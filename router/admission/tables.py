"""Admission by table: every request of a table with a limit spends from this router's leases.

Writes are admitted by what they are known to cost and settled when the leader has told the rest
(the item before may have been larger); reads are admitted by the least they can cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model.errors import ModelError, ProvisionedThroughputExceeded, Throttled
from model.tables import Table, load_table, table_arn
from quorate.cluster.catalog import Catalog
from quorate.cluster.ring import Ring
from router.admission.lease import Ask, Lease


@dataclass(frozen=True, slots=True)
class TableAsk:
    """An ask of one table, for its reads or its writes."""

    table_id: int
    reads: bool
    ask: Ask


@dataclass(slots=True)
class _Account:
    """One table's leases here; None where the table has no limit."""

    version: int
    reads: Lease | None
    writes: Lease | None


class TableAdmission:
    """All tables' leases at one router. Cheap for tables without limits: one dictionary lookup."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is the one that `tick` is called by."""
        self._clock = clock
        self._accounts: dict[int, _Account] = {}
        self.throttled: Counter[str] = Counter()  # refusals by reason, for the metrics

    def admit(self, table: Table, units: float, *, reads: bool) -> float:
        """Spend units; return how many, 0 if the table has no limit.

        Raises a throttling ModelError if there are none: nothing is to be done then.
        """
        account = self._accounts.get(table.id) or self._open(table)
        lease = account.reads if reads else account.writes
        if lease is None:
            return 0.0
        if not lease.admit(units):
            raise self._refusal(table, reads=reads)
        return units

    def settle(self, table_id: int, units: float, *, reads: bool) -> None:
        """Spend what an operation cost beyond what it was admitted for; negative gives back."""
        account = self._accounts.get(table_id)
        if account is not None:
            lease = account.reads if reads else account.writes
            if lease is not None:
                lease.settle(units)

    def key_range_refusal(self, table: Table, *, reads: bool) -> ModelError:
        """Return the error for a partition that is over its own cap, as its leader says."""
        kind = "Read" if reads else "Write"
        return self._throttle(table, f"Table{kind}KeyRangeThroughputExceeded")

    def catalog_changed(self, catalog: Catalog, ring: Ring) -> None:  # noqa: ARG002
        """Forget dropped tables, and let changed ones have their new rates."""
        for table_id, account in list(self._accounts.items()):
            record = catalog.table_by_id.get(table_id)
            if record is None:
                del self._accounts[table_id]
            elif record.version != account.version:
                table = load_table(record.id, record.name, record.definition, record.version)
                account.version = table.version
                account.reads = self._changed(account.reads, table.limit_units(reads=True))
                account.writes = self._changed(account.writes, table.limit_units(reads=False))

    def tick(self, now: float) -> list[TableAsk]:
        """Let time pass; return what to ask the pools. Call it several times a second."""
        asks = []
        for table_id, account in self._accounts.items():
            for reads, lease in ((True, account.reads), (False, account.writes)):
                ask = lease.tick(now) if lease is not None else None
                if ask is not None:
                    asks.append(TableAsk(table_id, reads, ask))
        return asks

    def granted(self, asks: Sequence[TableAsk], grants: Sequence[tuple[float, float]]) -> None:
        """Take the pools' answers, (tokens, level) for each ask in its order."""
        now = self._clock()
        for asked, (tokens, level) in zip(asks, grants, strict=True):
            account = self._accounts.get(asked.table_id)
            lease = None
            if account is not None:
                lease = account.reads if asked.reads else account.writes
            if lease is not None:
                lease.granted(asked.ask, tokens, level, now)

    def _open(self, table: Table) -> _Account:
        account = self._accounts[table.id] = _Account(
            table.version,
            self._changed(None, table.limit_units(reads=True)),
            self._changed(None, table.limit_units(reads=False)),
        )
        return account

    def _changed(self, lease: Lease | None, limit: float | None) -> Lease | None:
        if limit is None:
            return None
        if lease is None:
            return Lease(limit, self._clock())
        lease.change(limit)
        return lease

    def _refusal(self, table: Table, *, reads: bool) -> ModelError:
        kind = "Read" if reads else "Write"
        what = "Provisioned" if table.is_provisioned else "MaxOnDemand"
        return self._throttle(table, f"Table{kind}{what}ThroughputExceeded")

    def _throttle(self, table: Table, reason: str) -> ModelError:
        self.throttled[reason] += 1
        error = ProvisionedThroughputExceeded if table.is_provisioned else Throttled
        return error(reasons=((reason, table_arn(table.name)),))
