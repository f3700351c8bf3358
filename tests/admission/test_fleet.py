"""Many routers share one table's rate: as much as it, never more, and everybody some of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quorate.cluster.token_bucket import BURST_SECONDS
from router.admission.lease import ASK_SECONDS, CREDIT_SECONDS
from tests.admission.fleet import CAP, STEP_SECONDS, Fleet

RATE = 200.0


@pytest.mark.parametrize("routers", [1, 2, 4, 100])
def test_saturated_table_gets_its_rate(routers: int) -> None:
    fleet = Fleet(routers, RATE)
    fleet.run(5, lambda *_: 1000 / routers)

    assert fleet.run(60, lambda *_: 1000 / routers) / 60 == pytest.approx(RATE, rel=0.05)


def test_spread_over_routers_does_not_matter() -> None:
    offered = {"r0": 900.0, "r1": 80.0, "r2": 15.0, "r3": 5.0}
    fleet = Fleet(4, RATE)
    fleet.run(5, lambda name, _: offered[name])

    assert fleet.run(60, lambda name, _: offered[name]) / 60 == pytest.approx(RATE, rel=0.05)
    assert all(units > 0 for units in fleet.admitted.values()), "nobody starves"


def test_moving_load_is_followed() -> None:
    """A load balancer sends everything to one router, then to another."""
    fleet = Fleet(4, RATE)

    def offered(name: str, now: float) -> float:
        return 1000.0 if name == f"r{int(now / 3) % 4}" else 0.0

    fleet.run(5, offered)
    assert fleet.run(60, offered) / 60 == pytest.approx(RATE, rel=0.05)


@pytest.mark.parametrize("rate", [1.0, 5.0])
def test_small_table_gets_its_rate_too(rate: float) -> None:
    fleet = Fleet(4, rate)
    fleet.run(20, lambda *_: 50)

    assert fleet.run(120, lambda *_: 50) / 120 == pytest.approx(rate, rel=0.05)


def test_nobody_is_refused_below_the_rate() -> None:
    fleet = Fleet(4, RATE, level=RATE)
    fleet.run(60, lambda *_: RATE * 0.9 / 4)

    assert sum(fleet.refused.values()) == 0


def test_first_request_after_a_long_silence_is_admitted() -> None:
    """Its lease has run out, and the pool cannot be asked first: that is what credit is for."""
    fleet = Fleet(2, RATE, level=RATE)
    fleet.run(10, lambda *_: 20)
    fleet.run(30, lambda *_: 0)
    fleet.run(0.1, lambda *_: 20)

    assert sum(fleet.refused.values()) == 0


@pytest.mark.parametrize("seed", range(10))
def test_batches_after_pauses_always_get_something(seed: int) -> None:
    """A client that sends a batch again after a pause gives up if all of it was refused each time.

    What came in meanwhile may be spent, but not on credit what has yet to come.
    """
    fleet = Fleet(1, 10.0, seed=seed, level=10)
    for _ in range(50):
        assert fleet.run(STEP_SECONDS, lambda *_: 25 / STEP_SECONDS) > 0
        fleet.run(fleet.rng.uniform(2 * ASK_SECONDS, 1), lambda *_: 0)


def test_burst_is_spent_once() -> None:
    """300 seconds of unused capacity, then the rate."""
    fleet = Fleet(2, RATE, level=300 * RATE)
    admitted = fleet.run(200, lambda *_: 500)

    assert admitted == pytest.approx(300 * RATE + 200 * RATE, rel=0.02)
    assert fleet.run(60, lambda *_: 500) / 60 == pytest.approx(RATE, rel=0.05)


@pytest.mark.parametrize("offered", [80.0, 300.0, 600.0, 1150.0])
@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_refused_before_the_burst_is_spent(offered: float, seed: int) -> None:
    """However fast a load begins, as long as an answer of the pool comes within its credit."""
    fleet = Fleet(1, 50.0, seed=seed, level=400)
    while not fleet.refused["r0"]:
        fleet.run(STEP_SECONDS, lambda *_: offered)

    assert fleet.admitted["r0"] >= 400


def test_loss_of_the_catalogs_leader_changes_little() -> None:
    """Routers go on with their last rate, and a new pool begins where the old one was."""
    fleet = Fleet(4, RATE)
    fleet.run(10, lambda *_: 250)
    fleet.lose_pool()
    alone = fleet.run(20, lambda *_: 250)
    fleet.elect_pool()
    together = fleet.run(20, lambda *_: 250)

    assert (alone + together) / 40 == pytest.approx(RATE, rel=0.10)
    assert together / 20 == pytest.approx(RATE, rel=0.05)


def test_burst_survives_a_new_leader() -> None:
    fleet = Fleet(2, RATE, level=300 * RATE)
    fleet.run(10, lambda *_: 150)
    fleet.elect_pool()

    assert fleet.run(30, lambda *_: 500) / 30 == pytest.approx(1000, rel=0.02)


def test_burst_is_one_for_all_routers_together() -> None:
    fleet = Fleet(8, 5.0, level=BURST_SECONDS * 5)
    admitted = fleet.run(20, lambda *_: 100)

    assert admitted == pytest.approx((BURST_SECONDS + 20) * 5, rel=0.01)


@pytest.mark.parametrize("silence", [0.2, 20.0])
def test_burst_that_was_spent_does_not_come_again_with_a_new_leader(silence: float) -> None:
    """Not even for a router that knows nothing of it, while the one that spent it asks no more."""
    fleet = Fleet(2, 5.0, level=BURST_SECONDS * 5)
    admitted = fleet.run(10, lambda name, _: 200 * (name == "r0"))
    fleet.run(silence, lambda *_: 0)
    fleet.elect_pool()
    admitted += fleet.run(60, lambda name, _: 200 * (name == "r1"))

    assert admitted == pytest.approx((BURST_SECONDS + 10 + silence + 60) * 5, rel=0.01)


def test_table_that_nobody_uses_is_not_asked_for_when_its_burst_is_whole() -> None:
    fleet = Fleet(1, 100.0, level=BURST_SECONDS * 100)
    fleet.run(1, lambda *_: 500)
    fleet.run(60, lambda *_: 0)

    (lease,) = fleet.leases.values()
    assert lease.tick(fleet.now + 1000) is None


@pytest.mark.parametrize("units", [1.0, 40.0])
def test_nobody_is_refused_before_the_pool_has_answered(units: float) -> None:
    """Many at once, at a router that knows nothing of the table: what is beyond credit waits."""
    fleet = Fleet(1, 5.0, level=BURST_SECONDS * 5)
    fleet.run(STEP_SECONDS, lambda *_: 20 * units / STEP_SECONDS, units)
    assert fleet.admitted["r0"] < 20 * units
    fleet.run(1, lambda *_: 0)

    assert fleet.admitted["r0"] == 20 * units


def test_requests_that_wait_are_refused_when_the_pool_is_silent() -> None:
    fleet = Fleet(1, 5.0)
    fleet.lose_pool()
    fleet.run(STEP_SECONDS, lambda *_: 20 / STEP_SECONDS)
    fleet.run(2, lambda *_: 0)

    assert fleet.admitted["r0"] + fleet.refused["r0"] == 20
    assert fleet.admitted["r0"] == 5 * CREDIT_SECONDS


def test_one_large_request_leaves_the_burst_to_other_routers() -> None:
    """It is not the beginning of a load of such requests."""
    fleet = Fleet(2, 5.0, level=BURST_SECONDS * 5)
    fleet.run(STEP_SECONDS, lambda name, _: (name == "r0") * 400 / STEP_SECONDS, 400)
    fleet.run(1, lambda name, _: (name == "r1") * 100)

    assert fleet.admitted == {"r0": 400, "r1": pytest.approx(100, abs=2)}
    assert not fleet.refused["r1"]


def test_dead_router_takes_little_with_it() -> None:
    fleet = Fleet(4, RATE)
    fleet.run(10, lambda *_: 250)
    fleet.kill("r1")

    assert fleet.run(20, lambda *_: 250) / 20 == pytest.approx(RATE, rel=0.10)


def test_change_of_the_rate_holds_within_seconds() -> None:
    fleet = Fleet(4, RATE)
    fleet.run(10, lambda *_: 1000)
    fleet.change_rate(50.0)
    fleet.run(2, lambda *_: 1000)
    assert fleet.run(30, lambda *_: 1000) / 30 == pytest.approx(50, rel=0.05)
    fleet.change_rate(400.0)
    fleet.run(2, lambda *_: 1000)
    assert fleet.run(30, lambda *_: 1000) / 30 == pytest.approx(400, rel=0.05)


ZIPF = [1 / place for place in range(1, 1_001)]
"""A thousand partitions: an eighth of the requests goes to the first."""


def test_hundred_routers_and_a_thousand_partitions_converge_to_the_rate() -> None:
    fleet = Fleet(100, 5_000.0, partitions=ZIPF)
    fleet.run(5, lambda *_: 200, units=10)
    fleet.throttled_at_partitions = 0

    assert fleet.run(15, lambda *_: 200, units=10) / 15 == pytest.approx(5_000, rel=0.05)
    assert fleet.throttled_at_partitions == 0
    assert all(fleet.admitted.values()), "no router starves"
    assert sum(map(bool, fleet.admitted_at)) > 900, "no partition does"


def test_one_partition_may_use_all_that_its_table_has() -> None:
    """Adaptive: the rate is not divided by the partitions."""
    fleet = Fleet(100, 800.0, partitions=[1.0, *[0.0] * 999])
    fleet.run(5, lambda *_: 40, units=5)

    assert fleet.run(10, lambda *_: 40, units=5) / 10 == pytest.approx(800, rel=0.05)


def test_hot_partition_is_capped_and_the_others_get_what_it_cannot_use() -> None:
    fleet = Fleet(100, 5_000.0, partitions=[1.0, *[1 / 999] * 999])
    fleet.run(5, lambda *_: 150, units=10)
    before = fleet.admitted_at[0]
    admitted = fleet.run(15, lambda *_: 150, units=10)

    assert (fleet.admitted_at[0] - before) / 15 == pytest.approx(CAP, rel=0.05)
    assert admitted / 15 == pytest.approx(5_000, rel=0.05)


@settings(max_examples=10, deadline=None)
@given(
    loads=st.lists(st.floats(0.05, 10), min_size=2, max_size=8),
    rate=st.floats(50, 200),
    seed=st.integers(0, 2**32),
)
@example(loads=[10, 0.05], rate=200.0, seed=1)
@example(loads=[2, 1], rate=50.0, seed=2)
def test_no_router_starves(loads: list[float], rate: float, seed: int) -> None:
    """Each gets half of its fair share at least: of the rate by demand, or all that it wants."""
    fleet = Fleet(len(loads), rate, seed=seed)
    offered = {name: rate * load for name, load in zip(fleet.leases, loads, strict=True)}
    fleet.run(3, lambda name, _: offered[name])
    before = dict(fleet.admitted)
    fleet.run(10, lambda name, _: offered[name])

    for name, units in offered.items():
        fair = min(units, rate * units / sum(offered.values()))
        assert (fleet.admitted[name] - before[name]) / 10 >= fair / 2 - 0.1


@settings(max_examples=40, deadline=None)
@given(
    routers=st.integers(1, 8),
    rate=st.floats(1, 1000),
    level=st.floats(0, 2000),
    units=st.sampled_from([0.5, 1.0, 4.0, 40.0]),
    load=st.floats(0.1, 20),
    seed=st.integers(0, 2**32),
)
def test_never_more_than_rate_and_burst(
    routers: int, rate: float, level: float, units: float, load: float, seed: int
) -> None:
    """Beyond them there are each router's credit, and one operation that went below zero."""
    seconds = 20.0
    fleet = Fleet(routers, rate, seed=seed, level=level)
    admitted = fleet.run(seconds, lambda *_: rate * load / routers, units)
    slack = routers * (rate * CREDIT_SECONDS + units)

    assert admitted <= rate * seconds + level + slack
