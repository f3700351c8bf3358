"""Many routers share one table's rate: as much as it, never more, and everybody some of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.capacity_pool import START_SECONDS
from router.admission.lease import CREDIT_SECONDS
from tests.admission.fleet import Fleet

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


def test_burst_is_spent_once() -> None:
    """300 seconds of unused capacity, then the rate."""
    fleet = Fleet(2, RATE, level=300 * RATE)
    admitted = fleet.run(200, lambda *_: 500)

    assert admitted == pytest.approx(300 * RATE + 200 * RATE, rel=0.02)
    assert fleet.run(60, lambda *_: 500) / 60 == pytest.approx(RATE, rel=0.05)


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

    assert admitted <= rate * (seconds + START_SECONDS) + level + slack
