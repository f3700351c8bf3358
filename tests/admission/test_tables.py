"""Tables' accounts at one router: who is limited, what is taken, what comes back, which error."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import orjson
import pytest
from prometheus_client import generate_latest

from model.errors import ProvisionedThroughputExceeded
from model.requests.tables import parse_create_table
from model.tables import Table, load_table
from quorate.cluster.catalog import Catalog, PartitionRecord, TableRecord
from quorate.cluster.ring import Ring
from router.admission.lease import ASK_SECONDS, CREDIT_SECONDS
from router.admission.report import CapacityCollector, describe_accounts
from router.admission.tables import TableAdmission, TableAsk, Undecided

CREDIT = 100 * CREDIT_SECONDS
"""Of a table with 100 write units."""

RING = Ring((PartitionRecord(id=1, low_token=0, replicas=(1,)),))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class CheckedAdmission(TableAdmission):
    """Accounts that check their invariants after each step."""

    def catalog_changed(self, catalog: Catalog, ring: Ring) -> None:
        super().catalog_changed(catalog, ring)
        self.check()

    def tick(self, now: float) -> list[TableAsk]:
        asks = super().tick(now)
        self.check()
        return asks

    def granted(self, asks: Sequence[TableAsk], grants: Sequence[tuple[float, float]]) -> None:
        super().granted(asks, grants)
        self.check()

    def serve_queues(self) -> None:
        super().serve_queues()
        self.check()


def definition(units: int | None) -> bytes:
    """A table with so many write units and twice as many read units; None is on demand."""
    body: dict[str, object] = {
        "TableName": "Music",
        "AttributeDefinitions": [{"AttributeName": "p", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "p", "KeyType": "HASH"}],
    }
    if units is None:
        body["BillingMode"] = "PAY_PER_REQUEST"
    else:
        body["ProvisionedThroughput"] = {
            "ReadCapacityUnits": 2 * units,
            "WriteCapacityUnits": units,
        }
    return parse_create_table(body).definition(created_at=0.0, table_uuid="u")


def table(units: int | None, version: int = 0) -> Table:
    return load_table(1, "Music", definition(units), version)


def catalog(units: int | None, version: int) -> Catalog:
    record = TableRecord(id=1, name="Music", definition=definition(units), version=version)
    return Catalog(epoch=version + 1, tables=(record,))


def spend(admission: TableAdmission, of: Table, *, reads: bool = False) -> int:
    """Take unit after unit until one is refused or must wait; return how many there were."""
    for count in range(10_000):
        try:
            admission.admit(of, 1, reads=reads)
        except (ProvisionedThroughputExceeded, Undecided):
            admission.check()
            return count
    raise AssertionError("no limit")


def lease(admission: TableAdmission, clock: Clock, tokens: float) -> None:
    """Let the pool, of which much more is wanted than it has, answer; all of it may be spent."""
    lease_held(admission, clock, tokens)
    clock.now += ASK_SECONDS


def lease_held(admission: TableAdmission, clock: Clock, tokens: float) -> None:
    """The same, at the moment of the answer."""
    for _ in range(500):
        assert spend(admission, table(100)) == 0
    clock.now += ASK_SECONDS
    asks = admission.tick(clock.now)
    assert asks
    admission.granted(asks, [(tokens, 0.0) for _ in asks])


def test_on_demand_table_has_no_limit_and_asks_for_nothing() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)

    assert admission.admit(table(None), 500, reads=False) == 0
    assert admission.tick(clock.now + 1) == []


def exhaust(admission: TableAdmission, clock: Clock) -> None:
    """Spend what a table of 4 write units has, and hear that its pool is empty."""
    spend(admission, table(4))
    clock.now += ASK_SECONDS
    asks = admission.tick(clock.now)
    admission.granted(asks, [(0.0, 0.0) for _ in asks])


def test_refusal_names_the_reason_and_the_table() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    exhaust(admission, clock)
    with pytest.raises(ProvisionedThroughputExceeded) as refused:
        admission.admit(table(4), 1, reads=False)

    reason = "TableWriteProvisionedThroughputExceeded"
    arn = "arn:aws:dynamodb:local:000000000000:table/Music"
    assert refused.value.reasons == ((reason, arn),)
    ((_, account),) = admission.accounts()
    assert account.usage.throttled[reason] == 1
    with pytest.raises(ProvisionedThroughputExceeded, match="throughput") as refused:
        raise admission.key_range_refusal(table(4), reads=True)
    assert refused.value.reasons[0][0] == "TableReadKeyRangeThroughputExceeded"


def test_what_the_pool_has_not_refused_waits_for_its_answer() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    asked: list[None] = []
    admission.on_credit = lambda: asked.append(None)
    assert spend(admission, table(4)) == 4
    with pytest.raises(Undecided):
        admission.admit(table(4), 3, reads=False)
    gone_on: list[float] = []
    again = partial(admission.admit, table(4), 3, reads=False)
    admission.wait(table(4), 3, lambda: gone_on.append(again()), reads=False)
    assert asked, "the pool is asked at once"
    clock.now += ASK_SECONDS
    asks = admission.tick(clock.now)
    assert asks[0].ask.wanted >= 4 + 3
    assert not gone_on
    admission.granted(asks, [(each.ask.wanted, 100.0) for each in asks])

    assert gone_on == [3]


@pytest.mark.parametrize("units", [None, 8])
def test_who_waits_goes_on_when_the_table_is_changed(units: int | None) -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(4))
    gone_on: list[None] = []
    admission.wait(table(4), 3, lambda: gone_on.append(None), reads=False)
    admission.catalog_changed(catalog(units, 1), RING)

    assert gone_on


def test_reads_and_writes_have_buckets_of_their_own() -> None:
    admission = CheckedAdmission(Clock())
    spend(admission, table(100))

    assert spend(admission, table(100), reads=True) > 0


def test_credit_is_a_second_and_paid_back() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    assert spend(admission, table(100)) == CREDIT
    lease(admission, clock, CREDIT)  # pays the debt, and no more

    assert spend(admission, table(100)) == 0
    lease(admission, clock, 10.0)
    assert spend(admission, table(100)) == 10


def test_what_is_short_is_spent_evenly_over_a_round() -> None:
    """Its requests would else come to the nodes all at once, and others' would wait behind them."""
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(100))
    lease(admission, clock, CREDIT)
    lease_held(admission, clock, 20.0)

    spent = [spend(admission, table(100))]
    for _ in range(6):
        clock.now += ASK_SECONDS / 5
        spent.append(spend(admission, table(100)))
    assert spent[0] == 0
    assert all(3 <= part <= 5 for part in spent[1:6])
    assert sum(spent) == 20
    assert spent[6] == 0


def test_last_of_what_was_saved_up_may_be_spent_at_once() -> None:
    """The first answer that is short is no steady shortage yet."""
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(100))
    lease_held(admission, clock, CREDIT + 20.0)

    assert spend(admission, table(100)) == 20


def test_settling_takes_what_was_not_known_before_and_gives_back_what_was_not_done() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(100))
    lease(admission, clock, CREDIT + 20.0)

    admission.settle(table(100), "PutItem", 9, 1, reads=False)
    admission.settle(table(100), "PutItem", 0, 2, reads=False)

    assert spend(admission, table(100)) == 20 - 8 + 2


def test_changed_table_is_followed() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(4))

    admission.catalog_changed(catalog(None, 1), RING)
    assert admission.admit(table(None, 1), 1000, reads=False) == 0

    admission.catalog_changed(catalog(40, 2), RING)
    assert spend(admission, table(40, 2)) == 40 * CREDIT_SECONDS


def test_dropped_table_is_forgotten() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    spend(admission, table(4))
    admission.catalog_changed(Catalog(epoch=9), RING)

    assert admission.tick(clock.now + 1) == []


def test_definition_is_the_models() -> None:
    assert orjson.loads(definition(4))["BillingMode"] == "PROVISIONED"
    assert table(4).limit_units(reads=True) == 8
    assert table(4).limit_units(reads=False) == 4
    assert table(None).limit_units(reads=True) is None


def test_what_was_used_is_counted_by_operation_for_every_table() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    unlimited = table(None)
    admitted = admission.admit(unlimited, 1, reads=False)
    admission.settle(unlimited, "PutItem", 3, admitted, reads=False)
    admission.admit(unlimited, 0.5, reads=True)
    admission.settle(unlimited, "GetItem", 0.5, 0, reads=True)
    clock.now += 1.0
    admission.tick(clock.now)

    (described,) = describe_accounts(admission)
    assert described["write_units_per_second"] == pytest.approx(3 / 5)
    assert described["write_limit"] is None
    lines = generate_latest(CapacityCollector(admission)).decode().splitlines()
    name = "quorate_router_consumed_capacity_units_total"
    assert f'{name}{{kind="write",operation="PutItem",table="Music"}} 3.0' in lines
    assert f'{name}{{kind="read",operation="GetItem",table="Music"}} 0.5' in lines


def test_throttled_requests_are_counted_by_reason() -> None:
    clock = Clock()
    admission = CheckedAdmission(clock)
    exhaust(admission, clock)
    with pytest.raises(ProvisionedThroughputExceeded):
        admission.admit(table(4), 1, reads=False)

    text = generate_latest(CapacityCollector(admission)).decode()
    reason = "TableWriteProvisionedThroughputExceeded"
    line = f'quorate_router_throttled_requests_total{{reason="{reason}",table="Music"}} 1.0'
    assert line in text.splitlines()
