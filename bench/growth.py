"""A table that grows to a million items: do reads slow down, does memory grow?

    python -m bench.growth [--items 1000000]

At each power of ten: the time of a strong GetItem by key, one after the other. At the end: a Query
of one item collection and a Scan of the whole table, page by page, with the memory that the
processes add meanwhile. What is asked for is that the first stays flat and the second bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from bench import results
from bench.processes import memory_mb, pids_of
from quorate.client import Client
from quorate.local.background import BackgroundCluster

TABLE = "bench-growth"
COLLECTION_ITEMS = 1_000
"""Items of one partition key."""

TEXT = "x" * 200
GETS = 1_000
WRITERS = 128
SAMPLE_PAGES = 20


def item_of(number: int) -> dict[str, object]:
    """Return the item with this number."""
    collection, place = divmod(number, COLLECTION_ITEMS)
    return {"pk": f"collection-{collection}", "sk": place, "n": number, "text": TEXT}


def key_of(number: int) -> dict[str, object]:
    """Return the key of the item with this number."""
    item = item_of(number)
    return {"pk": item["pk"], "sk": item["sk"]}


async def grow(client: Client, low: int, high: int) -> float:
    """Put items [low, high); return items per second."""
    numbers = iter(range(low, high))
    started = time.monotonic()

    async def write() -> None:
        for number in numbers:
            await client.put_item(TABLE, item_of(number), deadline_seconds=60)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(WRITERS):
            tasks.create_task(write())
    return (high - low) / (time.monotonic() - started)


async def time_gets(client: Client, count: int) -> float:
    """Return the median milliseconds of a strong get of one of the first `count` items."""
    rng = Random(count)
    seconds = []
    for _ in range(GETS):
        number = rng.randrange(count)
        started = time.perf_counter()
        item = await client.get_item(TABLE, key_of(number), consistent_read=True)
        seconds.append(time.perf_counter() - started)
        assert item is not None
        assert item["n"] == number
    return statistics.median(seconds) * 1000


async def read_all(client: Client, pids: dict[str, int], expected: int) -> dict[str, Any]:
    """Scan the table page by page; return the rate and the most memory added on the way."""
    before = {name: memory_mb(pid) for name, pid in pids.items()}
    peak = dict(before)
    started, count, pages, last = time.monotonic(), 0, 0, None
    while True:
        page = await client.scan(TABLE, exclusive_start_key=last)
        count += len(page.items)
        pages += 1
        if pages % SAMPLE_PAGES == 0:
            peak = {name: max(peak[name], memory_mb(pid)) for name, pid in pids.items()}
        last = page.last_evaluated_key
        if not last:
            break
    assert count == expected, f"the scan found {count} of {expected} items"
    return {
        "items_per_second": round(count / (time.monotonic() - started)),
        "pages": pages,
        "added_mb": {name: round(peak[name] - before[name], 1) for name in pids},
    }


async def time_query(client: Client) -> float:
    """Return the milliseconds of a query of one whole collection."""
    started = time.perf_counter()
    page = await client.query(
        TABLE,
        key_condition_expression="pk = :pk",
        expression_attribute_values={":pk": "collection-0"},
    )
    assert len(page.items) == COLLECTION_ITEMS
    return (time.perf_counter() - started) * 1000


async def measure(cluster: BackgroundCluster, items: int) -> dict[str, Any]:
    """Grow the table tenfold again and again, and read."""
    pids = pids_of(cluster)
    steps = []
    async with Client(cluster.grpc_address) as client:
        await client.create_table(TABLE, partition_key=("pk", "S"), sort_key=("sk", "N"))
        count = 0
        for size in (10**power for power in range(3, 20) if 10**power <= items):
            rate = await grow(client, count, size)
            count = size
            row = {
                "items": size,
                "puts_per_second": round(rate),
                "get_p50_ms": round(await time_gets(client, size), 2),
                "anonymous_mb": {name: round(memory_mb(pid)) for name, pid in pids.items()},
            }
            steps.append(row)
            print(row, flush=True)
        found = {
            "query_1000_items_ms": round(await time_query(client), 1),
            "scan": await read_all(client, pids, count),
        }
    print(found)
    return {"steps": steps, **found}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        with BackgroundCluster(folder / "data") as cluster:
            document = asyncio.run(measure(cluster, options.items))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"kept in {results.append('growth', document)}")


if __name__ == "__main__":
    main()
