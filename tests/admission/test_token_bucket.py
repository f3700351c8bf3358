"""The bucket never gives more than its rate, its burst and one operation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.cluster.token_bucket import TokenBucket

steps = st.lists(
    st.tuples(st.floats(0, 10), st.floats(0.5, 400), st.floats(-100, 100)), max_size=60
)


@given(rate=st.floats(0, 1000), capacity=st.floats(0, 10_000), steps=steps)
def test_never_admits_more_than_rate_and_burst(
    rate: float, capacity: float, steps: list[tuple[float, float, float]]
) -> None:
    now = 5.0
    bucket = TokenBucket(rate, capacity, capacity, now)
    taken = largest = 0.0
    for wait, units, _ in steps:
        now += wait
        if bucket.admit(units, now):
            taken += units
            largest = max(largest, units)
    assert taken <= capacity + rate * (now - 5.0) + largest + 1e-6 * (1 + taken)


@given(rate=st.floats(0.1, 1000), capacity=st.floats(1, 10_000), steps=steps)
def test_level_stays_within_capacity(
    rate: float, capacity: float, steps: list[tuple[float, float, float]]
) -> None:
    now = 0.0
    bucket = TokenBucket(rate, capacity, 0.0, now)
    for wait, units, correction in steps:
        now += wait
        bucket.admit(units, now)
        bucket.settle(correction)
        assert bucket.level <= capacity


def test_debt_is_paid_before_anything_is_admitted() -> None:
    """A read of 100 units is admitted on the last one; then nothing for as long as it cost."""
    bucket = TokenBucket(10, 10, 1, 0.0)
    assert bucket.admit(100, 0.0)
    assert not bucket.admit(1, 9.9)
    assert bucket.admit(1, 10.0)


def test_time_that_goes_back_adds_nothing() -> None:
    bucket = TokenBucket(10, 100, 0, 50.0)
    bucket.refill(40.0)
    assert bucket.level == 0


def test_change_keeps_what_was_saved_up_to_the_new_capacity() -> None:
    bucket = TokenBucket(10, 3000, 3000, 0.0)
    bucket.change(2, 600, 1.0)
    assert bucket.level == 600
    bucket.refill(2.0)
    assert bucket.level == 600
