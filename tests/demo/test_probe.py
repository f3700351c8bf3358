"""What the probe makes of its attempts."""

from __future__ import annotations

import pytest

from quorate.demo.probe import LATE, OK, Attempt, gap_ms, longest_gap


def attempts(*ends: float, kind: str = "put", outcome: str = OK) -> list[Attempt]:
    return [Attempt(kind, "k", end - 0.001, end, outcome) for end in ends]


def test_gap_is_between_successes_around_the_fault_minus_the_spacing() -> None:
    found = attempts(0.99, 1.0, 1.5, 1.51)

    assert gap_ms(found, "put", after=1.001, before=9.0, interval_ms=10) == pytest.approx(490.0)


def test_failures_and_the_other_kind_do_not_end_a_gap() -> None:
    found = attempts(1.0, 2.0) + attempts(1.5, outcome=LATE) + attempts(1.4, kind="get")

    gap = longest_gap(found, "put", after=1.1, before=9.0)

    assert gap is not None
    assert (gap.started, gap.ended) == (1.0, 2.0)


def test_gaps_before_the_fault_and_after_the_restart_do_not_count() -> None:
    found = attempts(0.0, 0.9, 1.0, 1.02, 5.0)

    assert gap_ms(found, "put", after=1.0, before=4.0, interval_ms=0) == pytest.approx(20.0)


def test_answers_that_come_out_of_order_are_sorted() -> None:
    found = attempts(1.3, 1.0, 1.2)

    assert gap_ms(found, "put", after=1.0, before=9.0, interval_ms=0) == pytest.approx(200.0)


def test_no_success_after_the_fault_is_no_gap_of_zero() -> None:
    assert gap_ms(attempts(0.5, 1.0), "put", after=1.0, before=9.0) is None
