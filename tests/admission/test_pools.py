"""What the pools at the catalog's leader hold when routers ask for the first time."""

from __future__ import annotations

from node.capacity_pool import START_SECONDS, CapacityAsk, CapacityPools
from quorate.cluster.catalog import Catalog, TableRecord
from quorate.cluster.token_bucket import BURST_SECONDS
from tests.admission.test_tables import definition

RATE, PROVISIONED = 100, 7
NOW = 1_000.0


def catalog(epoch: int, version: int = 0, units: int | None = RATE) -> Catalog:
    table = TableRecord(id=PROVISIONED, name="Music", definition=definition(units), version=version)
    return Catalog(epoch=epoch, tables=(table,))


def granted(
    pools: CapacityPools, of: Catalog, now: float, level: float | None = None, router: str = "r1"
) -> float:
    """What a router gets that asks for all there can be."""
    ask = CapacityAsk(PROVISIONED, reads=False, wanted=1e6, returned=0.0, level=level)
    return pools.grant(router, ask, of, now).tokens


def followed(*catalogs: Catalog) -> CapacityPools:
    """The pools of a leader that has seen these catalogs, one each second."""
    pools = CapacityPools()
    for second, each in enumerate(catalogs):
        pools.follow(each, NOW + second)
    return pools


FULL = RATE * BURST_SECONDS


def test_new_table_has_its_burst_at_once() -> None:
    assert granted(followed(catalog(2)), catalog(2), NOW) == FULL


def test_burst_is_given_once() -> None:
    pools = followed(catalog(2))

    assert granted(pools, catalog(2), NOW) == FULL
    assert granted(pools, catalog(2), NOW + 3, router="r2") == 3 * RATE


def test_what_a_router_remembers_is_the_most_that_a_new_leader_gives() -> None:
    assert granted(followed(catalog(2)), catalog(2), NOW, level=5.0) == 5.0


def test_who_remembers_less_may_come_later() -> None:
    """What was given meanwhile to a router that knew nothing is owed."""
    pools = followed(catalog(2))
    ask = CapacityAsk(PROVISIONED, reads=False, wanted=700.0, returned=0.0, level=None)
    assert pools.grant("r1", ask, catalog(2), NOW).tokens == 700

    assert granted(pools, catalog(2), NOW + 2, level=500.0, router="r2") == 0
    assert granted(pools, catalog(2), NOW + 5, router="r2") == 3 * RATE - 200


def test_router_remembers_another_leaders_pool_only_once() -> None:
    pools = followed(catalog(2))
    granted(pools, catalog(2), NOW, level=5.0)

    assert granted(pools, catalog(2), NOW + 10, level=0.0) == 10 * RATE


def test_leader_that_leads_again_knows_nothing_of_before() -> None:
    pools = followed(catalog(2))
    granted(pools, catalog(2), NOW)
    pools.clear()
    pools.follow(catalog(2), NOW + 1)

    assert granted(pools, catalog(2), NOW + 1, level=70.0) == 70


def test_table_that_was_on_demand_has_saved_nothing_meanwhile() -> None:
    limited = catalog(3, version=1)
    pools = followed(catalog(2, units=None), limited)

    assert granted(pools, limited, NOW + 1 + 40) == RATE * (START_SECONDS + 40)


def test_changed_table_keeps_what_it_has_saved_though_nobody_has_asked() -> None:
    raised = catalog(3, version=1, units=10 * RATE)
    pools = followed(catalog(2), raised)

    assert granted(pools, raised, NOW + 1) == FULL


def test_other_tables_coming_and_going_change_nothing() -> None:
    pools = followed(catalog(2))
    granted(pools, catalog(2), NOW)
    pools.follow(catalog(3), NOW + 50)

    assert granted(pools, catalog(3), NOW + 60) == RATE * 60
