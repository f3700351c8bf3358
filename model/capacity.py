"""Capacity units: what an operation costs, and how its response says so.

Source: Developer Guide, "Read and write operations" and "Capacity unit consumption".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from model.limits import READ_UNIT_BYTES, WRITE_UNIT_BYTES

EVENTUAL_FACTOR: Final = 0.5
"""What an eventually consistent read costs of a strongly consistent one. Source: same pages."""


def write_units(size_before_bytes: int, size_after_bytes: int) -> int:
    """Return the units of a put, update or delete; the size of an absent item is 0."""
    size = max(size_before_bytes, size_after_bytes)
    return max(1, -(-size // WRITE_UNIT_BYTES))


def read_units(size_bytes: int, *, consistent: bool) -> float:
    """Return the units of a read of so many bytes, 0 if nothing was found.

    For Query and Scan `size_bytes` is the sum over all evaluated items, for a batch it is one item.
    """
    units = max(1, -(-size_bytes // READ_UNIT_BYTES))
    return float(units) if consistent else units * EVENTUAL_FACTOR


def consumed_capacity(table_name: str, units: float, mode: str | None) -> dict[str, object] | None:
    """Return the ConsumedCapacity of one table; None unless `mode` is TOTAL or INDEXES."""
    if mode not in {"TOTAL", "INDEXES"}:
        return None
    capacity: dict[str, object] = {"TableName": table_name, "CapacityUnits": float(units)}
    if mode == "INDEXES":
        capacity["Table"] = {"CapacityUnits": float(units)}
    return capacity


def consumed_capacities(
    units_by_table: Iterable[tuple[str, float]], mode: str | None
) -> list[dict[str, object]] | None:
    """Return the ConsumedCapacity of a batch, one element a table; None if not asked for."""
    found = (consumed_capacity(name, units, mode) for name, units in units_by_table)
    capacities = [capacity for capacity in found if capacity is not None]
    return capacities if mode in {"TOTAL", "INDEXES"} else None
