"""What the pools at the catalog's leader hold when a router asks for the first time."""

from __future__ import annotations

import pytest

from node.capacity_pool import START_SECONDS, CapacityAsk, CapacityPools
from quorate.cluster.catalog import Catalog, TableRecord
from quorate.cluster.token_bucket import BURST_SECONDS
from tests.admission.test_tables import definition

RATE, PROVISIONED = 100, 7
NOW = 1_000.0


def catalog(epoch: int, version: int = 0, units: int | None = RATE) -> Catalog:
    table = TableRecord(id=PROVISIONED, name="Music", definition=definition(units), version=version)
    return Catalog(epoch=epoch, tables=(table,))


def granted(pools: CapacityPools, of: Catalog, now: float, level: float | None = None) -> float:
    """What a router gets that asks for all there can be."""
    ask = CapacityAsk(PROVISIONED, reads=False, wanted=1e6, returned=0.0, level=level)
    return pools.grant("r1", ask, of, now).tokens


@pytest.mark.parametrize("seconds", [0.0, 40.0, 299.0, 1_000.0])
def test_table_saves_from_its_making_on_though_nobody_asks(seconds: float) -> None:
    pools = CapacityPools()
    pools.follow(catalog(2), NOW)

    tokens = granted(pools, catalog(2), NOW + seconds)
    assert tokens == min(RATE * (START_SECONDS + seconds), RATE * BURST_SECONDS)


def test_new_leader_gives_what_has_come_in_since_it_leads() -> None:
    """What was used before it is not known: a router that remembers has not asked yet."""
    pools = CapacityPools()
    pools.follow(catalog(2), NOW)
    pools.clear()
    pools.follow(catalog(2), NOW + 100)

    assert granted(pools, catalog(2), NOW + 110) == RATE * (START_SECONDS + 10)


def test_what_a_router_remembers_counts_and_nothing_else() -> None:
    pools = CapacityPools()
    pools.follow(catalog(2), NOW)

    assert granted(pools, catalog(2), NOW + 100, level=5.0) == 5.0


def test_table_that_was_on_demand_has_saved_nothing_meanwhile() -> None:
    pools = CapacityPools()
    pools.follow(catalog(2, units=None), NOW)
    changed = catalog(3, version=1)
    pools.follow(changed, NOW + 100)

    assert granted(pools, changed, NOW + 100) == RATE * START_SECONDS


def test_other_tables_coming_and_going_change_nothing() -> None:
    pools = CapacityPools()
    pools.follow(catalog(2), NOW)
    pools.follow(catalog(3), NOW + 50)

    assert granted(pools, catalog(3), NOW + 60) == RATE * (START_SECONDS + 60)
