"""What a router may have at nodes: much while they keep up, Little's law when they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.in_flight import (
    COUNT_MAX,
    COUNT_MIN,
    LATE_SECONDS,
    RATE_SECONDS,
    WINDOW_SECONDS,
    InFlightLimit,
)


class Nodes:
    """Nodes that answer so many requests a second, each after it has waited for all before it."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.now = 100.0
        self.in_flight = 0.0
        self.limit = InFlightLimit(self.now)

    def offer(self, rate: float, seconds: float) -> None:
        """Offer so many requests a second; those above the limit are refused."""
        for _ in range(round(seconds / 0.025)):
            self.now += 0.025
            arriving = rate * 0.025
            self.in_flight += max(0.0, min(arriving, self.limit.count - self.in_flight))
            done = min(self.in_flight, self.rate * 0.025)
            if done:
                self.limit.ended(round(done), done * self.in_flight / self.rate)
            self.in_flight -= done
            self.limit.tick(self.now, round(self.in_flight), 0.0)


@pytest.mark.parametrize("rate", [2_000, 5_000, 10_000])
def test_under_overload_what_is_in_flight_is_answered_in_a_moment(rate: float) -> None:
    nodes = Nodes(rate)
    nodes.offer(rate * 10, 3.0)

    for _ in range(20):
        nodes.offer(rate * 10, 0.1)
        assert nodes.in_flight / rate < LATE_SECONDS * 1.5
        assert nodes.in_flight > rate * 0.025, "the nodes never run out of work"


def test_below_capacity_the_bound_stays_high() -> None:
    nodes = Nodes(5_000)
    nodes.offer(4_500, 10.0)
    assert nodes.limit.count == COUNT_MAX


def test_bound_rises_again_within_seconds() -> None:
    nodes = Nodes(2_000)
    nodes.offer(20_000, 5.0)
    assert nodes.limit.count < COUNT_MAX / 2
    nodes.offer(1_000, 5.0)
    assert nodes.limit.count == COUNT_MAX


def test_silence_of_the_nodes_says_nothing() -> None:
    """Nothing is answered during an election; the bound must neither fall nor rise."""
    nodes = Nodes(2_000)
    nodes.offer(20_000, 5.0)
    nodes.rate = 0.0
    nodes.offer(20_000, WINDOW_SECONDS * 2)  # what was answered in the window before counts yet
    before = nodes.limit.count
    nodes.offer(20_000, 2.0)
    assert nodes.limit.count == before


@given(
    windows=st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 10), st.integers(0, 10**5))),
)
def test_bound_stays_within_its_limits(windows: list[tuple[int, float, int]]) -> None:
    limit = InFlightLimit(0.0)
    now = 0.0
    for count, seconds, in_flight in windows:
        now += WINDOW_SECONDS * 1.01
        limit.ended(count, count * seconds)
        limit.tick(now, in_flight, 0.0)
        assert COUNT_MIN <= limit.count <= COUNT_MAX


def test_slow_disk_with_few_requests_is_no_overload() -> None:
    limit = InFlightLimit(0.0)
    for window in range(1, round(10 * RATE_SECONDS / WINDOW_SECONDS)):
        limit.ended(10, 10 * LATE_SECONDS * 2)
        limit.tick(window * WINDOW_SECONDS * 1.01, 50, 0.0)
    assert limit.count == COUNT_MIN


def test_delay_of_the_routers_own_loop_is_not_the_nodes() -> None:
    """Else a router that is short of processor time would starve nodes that are not."""
    limit = InFlightLimit(0.0)
    for window in range(1, 100):
        limit.ended(200, 200 * LATE_SECONDS * 2)
        limit.tick(window * WINDOW_SECONDS * 1.01, 50, LATE_SECONDS)
    assert limit.count == COUNT_MAX
