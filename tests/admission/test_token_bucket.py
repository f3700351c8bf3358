"""The bucket never gives more than its rate, its burst and one operation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.cluster.token_bucket import TokenBucket


def admit(bucket: TokenBucket, units: float, now: float) -> bool:
    """Ask as a partition's leader does: look at the level, then settle the price."""
    bucket.refill(now)
    if bucket.level <= 0:
        return False
    bucket.settle(units)
    return True


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
        if admit(bucket, units, now):
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
        admit(bucket, units, now)
        bucket.settle(correction)
        assert bucket.level <= capacity


def test_debt_is_paid_before_anything_is_admitted() -> None:
    """A read of 100 units is admitted on the last one; then nothing for as long as it cost."""
    bucket = TokenBucket(10, 10, 1, 0.0)
    assert admit(bucket, 100, 0.0)
    assert not admit(bucket, 1, 9.9)
    assert admit(bucket, 1, 10.1)


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


@given(
    rate=st.floats(1, 1000),
    units=st.floats(0.5, 400),
    wait=st.floats(0.001, 0.5),
    level=st.floats(-400, 400),
)
def test_who_keeps_asking_gets_the_rate(
    rate: float, units: float, wait: float, level: float
) -> None:
    """No starvation: what comes in is given out, but for what one wait and one operation leave."""
    now = 0.0
    bucket = TokenBucket(rate, rate * 300, level, now)
    taken = 0.0
    seconds = (units - level) / rate + 20.0
    while now < seconds:
        now += wait
        while admit(bucket, units, now):
            taken += units
    assert taken >= rate * now + min(level, 0.0) - rate * wait - units
