"""What calls return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Item = dict[str, Any]
"""An item, a key or some attributes: Python values by attribute name (see `values`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A write was done. `attributes` are those asked for with `return_values`, None if none."""

    attributes: Item | None = None
    consumed_capacity: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a query or scan. `last_evaluated_key` is None on the last page.

    `items` is empty when only a count was asked for. Invariant: count <= scanned_count.
    """

    items: list[Item] = field(default_factory=list)
    count: int = 0
    scanned_count: int = 0
    last_evaluated_key: Item | None = None
    consumed_capacity: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWritten:
    """What a batch write did not get to, as writes by table; empty if it did everything."""

    unprocessed: dict[str, list[Put | Delete]] = field(default_factory=dict)
    consumed_capacity: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchGot:
    """The items found, by table and in no order; the keys that were not got to, by table."""

    items: dict[str, list[Item]] = field(default_factory=dict)
    unprocessed: dict[str, list[Item]] = field(default_factory=dict)
    consumed_capacity: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """One write of a batch: put this item."""

    item: Item


@dataclass(frozen=True, slots=True)
class Delete:
    """One write of a batch: delete the item of this key."""

    key: Item
