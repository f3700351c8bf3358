"""Capacity arithmetic: Developer Guide, "Capacity unit consumption"."""

import pytest

from model.capacity import consumed_capacities, consumed_capacity, read_units, write_units


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [(0, 0, 1), (0, 1, 1), (0, 1024, 1), (0, 1025, 2), (5000, 10, 5), (10, 5000, 5), (1024, 0, 1)],
)
def test_a_write_costs_the_larger_item_rounded_up(before: int, after: int, units: int) -> None:
    assert write_units(before, after) == units


@pytest.mark.parametrize(
    ("size", "strong"), [(0, 1.0), (1, 1.0), (4096, 1.0), (4097, 2.0), (1_048_576, 256.0)]
)
def test_an_eventual_read_costs_half_a_strong_one(size: int, strong: float) -> None:
    assert read_units(size, consistent=True) == strong
    assert read_units(size, consistent=False) == strong / 2


def test_total_and_indexes_are_reported_and_nothing_else() -> None:
    total = {"TableName": "t", "CapacityUnits": 2.0}

    assert consumed_capacity("t", 2, "TOTAL") == total
    assert consumed_capacity("t", 2, "INDEXES") == {**total, "Table": {"CapacityUnits": 2.0}}
    assert consumed_capacity("t", 2, "NONE") is None
    assert consumed_capacity("t", 2, None) is None


def test_batches_report_a_list() -> None:
    assert consumed_capacities([("a", 1), ("b", 2)], "TOTAL") == [
        {"TableName": "a", "CapacityUnits": 1.0},
        {"TableName": "b", "CapacityUnits": 2.0},
    ]
    assert consumed_capacities([], "TOTAL") == []
    assert consumed_capacities([("a", 1)], None) is None
