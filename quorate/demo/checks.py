"""Compares what is in the cluster with what it acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from quorate.client import Client
from quorate.client.batches import BATCH_KEYS_MAX
from quorate.demo.loading import Key
from quorate.demo.records import Record, canonical, key_of

CHECKS_IN_FLIGHT: Final = 8
"""Batches read at the same time. Ours."""

CHECK_DEADLINE_SECONDS: Final = 20.0

SHOWN_MAX: Final = 5
"""Keys named when something is missing. Ours."""


@dataclass(slots=True)
class Comparison:
    """What one pass over the acknowledged records found."""

    read: int = 0
    missing: list[Key] = field(default_factory=list)
    different: list[Key] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many acknowledged writes are not there as they were acknowledged."""
        return len(self.missing) + len(self.different)

    def example(self) -> str:
        """Name a few of the lost ones."""
        return ", ".join("/".join(key) for key in (*self.missing, *self.different)[:SHOWN_MAX])


async def compare(
    client: Client, table_name: str, expected: Mapping[Key, Record], *, consistent: bool
) -> Comparison:
    """Read every expected record and compare it, attribute by attribute."""
    comparison = Comparison()
    keys = list(expected)
    chunks = [keys[low : low + BATCH_KEYS_MAX] for low in range(0, len(keys), BATCH_KEYS_MAX)]
    slots = asyncio.Semaphore(CHECKS_IN_FLIGHT)

    async def check(chunk: Sequence[Key]) -> None:
        async with slots:
            items = await client.batch_get(
                table_name,
                [{"section": {"S": section}, "id": {"S": name}} for section, name in chunk],
                consistent_read=consistent,
                deadline_seconds=CHECK_DEADLINE_SECONDS,
            )
        found = {key_of(item): item for item in items}
        comparison.read += len(found)
        for key in chunk:
            if key not in found:
                comparison.missing.append(key)
            elif canonical(found[key]) != canonical(expected[key]):
                comparison.different.append(key)

    async with asyncio.TaskGroup() as tasks:
        for chunk in chunks:
            tasks.create_task(check(chunk))
    return comparison


async def miscounted(
    client: Client, table_name: str, expected: Mapping[Key, Record]
) -> dict[str, tuple[int, int]]:
    """Count each section by Query; return those that differ, as (expected, counted)."""
    sections = Counter(section for section, _ in expected)
    counts: dict[str, int] = {}

    async def count(section: str) -> None:
        total, start = 0, None
        while True:
            page = await client.query(
                table_name,
                key_condition_expression="#section = :section",
                expression_attribute_names={"#section": "section"},
                expression_attribute_values={":section": {"S": section}},
                select="COUNT",
                consistent_read=True,
                exclusive_start_key=start,
                deadline_seconds=CHECK_DEADLINE_SECONDS,
            )
            total += page.count
            start = page.last_evaluated_key
            if start is None:
                break
        counts[section] = total

    async with asyncio.TaskGroup() as tasks:
        for section in sections:
            tasks.create_task(count(section))
    return {
        section: (expected_count, counts[section])
        for section, expected_count in sections.items()
        if counts[section] != expected_count
    }


def lag_of(status: Mapping[str, Any], node_name: str) -> int | None:
    """Return how many entries a node's replicas lack together, None if it does not answer."""
    lag = 0
    for partition in status["partitions"]:
        for replica in partition["replicas"]:
            if replica["node"] == node_name:
                if not replica["healthy"] or partition["leader"] is None:
                    return None
                lag += int(replica["lag_entries"])
    return lag
