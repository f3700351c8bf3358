"""How far behind a follower is, by what its leader remembers of its own log."""

from __future__ import annotations

import pytest

from node.milestones import MARKS_MAX, SPACING_SECONDS, Milestones


def test_follower_that_has_everything_lags_by_nothing() -> None:
    milestones = Milestones()
    milestones.begin(7, 100.0)
    milestones.reached(8, 50, 101.0)

    assert milestones.behind(8, 200.0) == (0.0, 0)
    assert milestones.behind(9, 200.0) == (0.0, 0)  # an entry that was no write


def test_lag_is_the_age_of_the_oldest_write_missed_and_all_bytes_after_it() -> None:
    milestones = Milestones()
    milestones.begin(7, 100.0)
    for index, at in ((8, 101.0), (9, 102.0), (10, 103.0)):
        milestones.reached(index, 50, at)

    assert milestones.behind(9, 110.0) == (7.0, 50)
    assert milestones.behind(8, 110.0) == (8.0, 100)
    assert milestones.behind(7, 110.0) == (9.0, 150)


def test_what_a_follower_missed_before_this_leadership_counts_from_its_begin() -> None:
    milestones = Milestones()
    milestones.begin(7, 100.0)
    milestones.reached(8, 50, 101.0)

    assert milestones.behind(3, 110.0) == (10.0, 50)


@pytest.mark.parametrize("per_second", [1, 30, 2000])
def test_marks_are_bounded_and_lag_is_known_to_within_their_spacing(per_second: int) -> None:
    """Of the last seconds; what is long ago is known less exactly."""
    milestones = Milestones()
    milestones.begin(0, 0.0)
    count = 50_000
    for index in range(1, count + 1):
        milestones.reached(index, 10, index / per_second)

    assert len(milestones._marks) <= MARKS_MAX
    now = count / per_second
    for missing in (1, per_second, 2 * per_second):
        seconds, size_bytes = milestones.behind(count - missing, now)
        exact = (missing - 1) / per_second
        assert exact - SPACING_SECONDS - 1e-9 <= seconds <= exact + 1e-9
        assert 10 * missing <= size_bytes <= 10 * (missing + SPACING_SECONDS * per_second + 1)
