"""The checker must refuse what is wrong: without these controls its silence proves nothing."""

from __future__ import annotations

import random

import pytest

from tests.processes.history import (
    Operation,
    Status,
    ThinHistory,
    is_linearizable,
    require_thick,
)


def op(
    kind: str,
    arguments: tuple[int | None, ...] = (),
    result: int | None = None,
    *,
    at: tuple[float, float],
    status: Status = "ok",
) -> Operation:
    return Operation(1, "k", kind, arguments, result, at[0], at[1], status)


def test_checker_accepts_reads_that_overlap_a_write_in_either_order() -> None:
    history = [
        op("put", (1,), at=(0, 1)),
        op("put", (2,), at=(2, 9)),
        op("get", result=1, at=(3, 4)),
        op("get", result=2, at=(5, 6)),
    ]

    assert is_linearizable(history)


def test_checker_refuses_a_stale_read_after_a_newer_one() -> None:
    history = [
        op("put", (1,), at=(0, 1)),
        op("put", (2,), at=(2, 9)),
        op("get", result=2, at=(3, 4)),
        op("get", result=1, at=(5, 6)),
    ]

    assert not is_linearizable(history)


def test_checker_refuses_a_lost_acknowledged_write() -> None:
    history = [op("put", (1,), at=(0, 1)), op("get", result=None, at=(2, 3))]

    assert not is_linearizable(history)


def test_checker_refuses_a_value_that_nobody_wrote() -> None:
    history = [op("put", (1,), at=(0, 1)), op("get", result=7, at=(2, 3))]

    assert not is_linearizable(history)


def test_checker_lets_an_unknown_write_happen_late_or_never() -> None:
    put = op("put", (1,), at=(0, 1), status="unknown")

    assert is_linearizable([put, op("get", result=None, at=(2, 3))])
    assert is_linearizable([put, op("get", result=None, at=(2, 3)), op("get", result=1, at=(4, 5))])
    assert not is_linearizable(
        [put, op("get", result=1, at=(2, 3)), op("get", result=None, at=(4, 5))]
    )


def test_checker_refuses_a_rejected_write_that_is_seen() -> None:
    history = [op("put", (1,), at=(0, 1), status="rejected"), op("get", result=1, at=(2, 3))]

    assert not is_linearizable(history)


def test_checker_refuses_an_increment_that_counted_twice() -> None:
    history = [
        op("add", (1,), 1, at=(0, 1)),
        op("add", (1,), None, at=(2, 3)),
        op("get", result=3, at=(4, 5)),
    ]

    assert not is_linearizable(history)


def test_checker_refuses_two_increments_with_one_result() -> None:
    history = [op("add", (1,), 1, at=(0, 5)), op("add", (1,), 1, at=(0, 5))]

    assert not is_linearizable(history)


def test_checker_refuses_a_condition_that_failed_on_what_it_asked_for() -> None:
    history = [
        op("put", (1,), at=(0, 1)),
        op("miss", (1, 2), at=(2, 3)),
        op("get", result=1, at=(4, 5)),
    ]

    assert not is_linearizable(history)


def test_checker_refuses_two_swaps_of_one_value() -> None:
    history = [
        op("put", (1,), at=(0, 1)),
        op("swap", (1, 2), at=(2, 6)),
        op("swap", (1, 3), at=(2, 6)),
    ]

    assert not is_linearizable(history)


@pytest.mark.parametrize("seed", range(20))
def test_checker_accepts_what_a_real_register_did_and_refuses_it_with_one_result_changed(
    seed: int,
) -> None:
    """Each operation takes effect at a random instant between its call and its return."""
    rng = random.Random(seed)
    drawn = []
    for number in range(200):
        called = rng.uniform(0, 50)
        returned = called + rng.uniform(0.1, 2)
        drawn.append((rng.uniform(called, returned), called, returned, number))
    state: int | None = None
    history = []
    for _, called, returned, number in sorted(drawn):
        if rng.random() < 0.5:
            state = number
            history.append(op("put", (number,), at=(called, returned)))
        else:
            history.append(op("get", result=state, at=(called, returned)))
    changed = list(history)
    at, read = next((at, read) for at, read in enumerate(changed) if read.kind == "get" and at > 99)
    changed[at] = op("get", result=10_000, at=(read.called, read.returned))

    assert is_linearizable(history)
    assert not is_linearizable(changed)


def test_thin_history_fails() -> None:
    """Also one in which nothing happened at the same time."""
    history = [op("put", (number,), at=(number, number + 0.5)) for number in range(100)]

    with pytest.raises(ThinHistory):
        require_thick(history, ok_min=101, keys_min=1)
    with pytest.raises(ThinHistory):
        require_thick(history, ok_min=50, keys_min=1)
