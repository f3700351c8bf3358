"""Pages of Query and Scan: which range to read next, which rows count, what the caller gets.

The router drives a page:

    page = request.bind(table).start()
    while not page.done:
        ... read items with page.low <= key < high, high at most page.high and in one partition ...
        page.add(keys, images, more=..., high=high)     # backwards: low=low
    return page.response()

Rows come in storage order. That is DynamoDB's order except inside a tie run (model.keys), so rows
of a run are held back until all of the run has been read, and then taken in the order of their
full sort keys. A page that ends inside a run is exact too: the next page reads the whole run again
and drops what is not after its start key. One read is a megabyte at most, and what is held is
bounded by the page's own limits; what is read again for each page, in many such reads, is the whole
run, that is all items of one partition key whose sort keys share their first 470 bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from model.capacity import consumed_capacity, read_units
from model.expressions import Condition, Projection
from model.image import decode_image, image_json, image_size_bytes
from model.keys import (
    AFTER_TIES,
    COLLECTION_BYTES,
    SortRange,
    item_sort_bytes,
    key_of,
    tie_run_of,
    token_of,
)
from model.limits import PAGE_SIZE_BYTES_MAX
from model.requests.placeholders import Values
from model.tables import Table

ITEMS_MAX_NONE: Final = 0
"""No bound on the number of rows of one read: the size bounds it."""


@dataclass(slots=True, kw_only=True)
class RangePlan:
    """What a Query or Scan reads: storage keys [low, high), up to a page of them."""

    table: Table
    low: bytes
    high: bytes
    backwards: bool
    items_max: int  # Limit; 0 = none
    # In this collection only sort keys of this range count; matters inside tie runs.
    collection: bytes
    sort_range: SortRange
    consistent: bool
    count_only: bool
    condition: Condition | None
    values: Values
    projection: Projection | None
    capacity_mode: str | None

    @property
    def token(self) -> int:
        """Token of the first key to read; a Query reads the partition of this token only."""
        return token_of(self.low)

    def start(self, json_bytes_max: int = sys.maxsize) -> Page:
        """Return an empty page of this plan.

        It ends before the row whose item would bring the items to more than `json_bytes_max`, but
        for the first.
        """
        return Page(plan=self, low=self.low, high=self.high, json_room_bytes=json_bytes_max)


@dataclass(slots=True, kw_only=True)
class Page:
    """One page in the making. Invariant: all rows outside [low, high) have been taken in."""

    plan: RangePlan
    low: bytes
    high: bytes
    json_room_bytes: int  # for the items still to come
    done: bool = False
    # Rows of the tie run being read: (full sort key, image). Empty outside of runs.
    _ties: list[tuple[bytes, bytes]] = field(default_factory=list)
    _run: bytes | None = None
    _results: list[object] = field(default_factory=list)
    _count: int = 0
    _scanned: int = 0
    _size_bytes: int = 0
    _last_image: bytes = b""
    _full: bool = False

    def __post_init__(self) -> None:
        self.done = self.low >= self.high

    @property
    def items_max(self) -> int:
        """Most rows that the next read needs to return; 0 = no bound."""
        if not self.plan.items_max or self._run is not None:
            return ITEMS_MAX_NONE
        return self.plan.items_max - self._scanned

    @property
    def size_bytes_max(self) -> int:
        """Item bytes after which the next read may end."""
        return max(1, PAGE_SIZE_BYTES_MAX - self._size_bytes)

    def add(
        self,
        keys: Sequence[bytes],
        images: Sequence[bytes],
        *,
        more: bool,
        low: bytes | None = None,
        high: bytes | None = None,
    ) -> None:
        """Take in the rows of one read, in the order of the plan.

        `low` and `high` are the range that was asked for, where it was not the page's own; `more`
        says that the range has rows after the last one. Afterwards `done`, `low` and `high` say
        how to go on.
        """
        assert len(keys) == len(images)
        assert keys or not more, "a read that has more to give gives something"
        for key, image in zip(keys, images, strict=True):
            self._take(key, image)
            if self._full:
                self.done = True
                return
        low = self.low if low is None else low
        high = self.high if high is None else high
        if self.plan.backwards:
            self.high = keys[-1] if more else low
        else:
            self.low = keys[-1] + b"\x00" if more else high
        if self._run is not None and self._run_is_over():
            self._end_run()
        elif self._run is not None:
            self._drop_needless_ties()
        self.done = self._full or self.low >= self.high

    @property
    def units(self) -> float:
        """Read units that the rows taken in so far cost."""
        return read_units(self._size_bytes, consistent=self.plan.consistent)

    def response(self) -> bytes:
        """Return the JSON response."""
        assert self.done
        assert not self._ties
        plan = self.plan
        document: dict[str, object] = {"Count": self._count, "ScannedCount": self._scanned}
        if not plan.count_only:
            document["Items"] = self._results
        if self._full:
            last = decode_image(self._last_image)
            document["LastEvaluatedKey"] = key_of(plan.table.schema, last)
        capacity = consumed_capacity(plan.table.name, self.units, plan.capacity_mode)
        if capacity is not None:
            document["ConsumedCapacity"] = capacity
        return orjson.dumps(document)

    def _take(self, key: bytes, image: bytes) -> None:
        run = tie_run_of(key)
        if self._run is not None and run != self._run:
            self._end_run()
            if self._full:
                return
        if run is None:
            self._evaluate(image)
            return
        self._run = run
        sort_bytes = item_sort_bytes(self.plan.table.schema, decode_image(image))
        if run[:COLLECTION_BYTES] != self.plan.collection or self.plan.sort_range.holds(sort_bytes):
            self._ties.append((sort_bytes, image))

    def _run_is_over(self) -> bool:
        """Whether all rows of the run have been read."""
        assert self._run is not None
        if self.plan.backwards:
            return self.high <= max(self._run, self.plan.low)
        return self.low >= min(self._run + AFTER_TIES, self.plan.high)

    def _end_run(self) -> None:
        """Evaluate the rows of the run in true order, as far as the page goes."""
        self._ties.sort(reverse=self.plan.backwards)
        for _, image in self._ties:
            self._evaluate(image)
            if self._full:
                break
        self._ties.clear()
        self._run = None

    def _drop_needless_ties(self) -> None:
        """Keep only rows of the run that can still be on this page: bounds what is held."""
        self._ties.sort(reverse=self.plan.backwards)
        size_bytes, count = self._size_bytes, self._scanned
        for position, (_, image) in enumerate(self._ties):
            if size_bytes >= PAGE_SIZE_BYTES_MAX or count == self.plan.items_max > 0:
                del self._ties[position:]
                return
            size_bytes += image_size_bytes(image)
            count += 1

    def _evaluate(self, image: bytes) -> None:
        """Count one row, in true order, and keep it if the filter lets it through."""
        assert not self._full
        plan = self.plan
        projection = None if plan.count_only else plan.projection
        item = decode_image(image) if plan.condition is not None or projection is not None else {}
        counts = plan.condition is None or plan.condition.holds(item, plan.values)
        if counts and not plan.count_only:
            text = (
                image_json(image) if projection is None else orjson.dumps(projection.project(item))
            )
            if len(text) > self.json_room_bytes and self._results:
                self._full = True  # the next page begins with this row
                return
            self.json_room_bytes -= len(text) + len(b",")
            self._results.append(orjson.Fragment(text))
        self._count += counts
        self._scanned += 1
        self._size_bytes += image_size_bytes(image)
        self._last_image = image
        self._full = self._scanned == plan.items_max or self._size_bytes >= PAGE_SIZE_BYTES_MAX
