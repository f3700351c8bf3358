"""An average that follows what was seen of late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.exponential_average import ExponentialAverage


def test_sample_counts_by_its_part_of_the_span() -> None:
    average = ExponentialAverage(4.0)
    average.add(8.0, 1.0)
    assert average.value == 2.0
    average.add(2.0, 2.0)

    assert average.value == 2.0


@pytest.mark.parametrize("part", [4.0, 100.0])
def test_sample_that_stands_for_the_whole_span_is_the_average(part: float) -> None:
    average = ExponentialAverage(4.0, value=7.0)
    average.add(3.0, part)

    assert average.value == 3.0


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.001, 10)), min_size=1))
def test_average_stays_within_its_samples(samples: list[tuple[float, float]]) -> None:
    average = ExponentialAverage(2.0, value=samples[0][0])
    for sample, part in samples:
        average.add(sample, part)

    lowest, highest = min(samples)[0], max(samples)[0]
    assert lowest - 1e-6 <= average.value <= highest + 1e-6
