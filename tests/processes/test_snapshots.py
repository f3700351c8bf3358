"""A follower that was away for too long: snapshots under load, killed on the way, then equal."""

from __future__ import annotations

import asyncio
import hashlib
import re
import signal
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from uuid import uuid4

from node.storage.items import ItemStore
from quorate import Client
from quorate.local.background import BackgroundCluster, wait_until
from tests.processes.conftest import TABLE, make_table
from tests.processes.raw_client import RawClient
from tests.processes.writing import lost, writing

AWAY = "b1"
GROUPS = [f"group-{number}" for number in range(24)]
"""Partition keys all over the ring."""

ITEM_BYTES = 250_000
FILL_BYTES = 200 << 20
"""More than a log keeps, which is cut at 128 MiB. Source: node.checkpoints."""


async def fill(client: Client) -> None:
    """Write until the logs have been cut."""
    numbers = iter(range(FILL_BYTES // ITEM_BYTES))

    async def write() -> None:
        for number in numbers:
            await client.put_item(
                TABLE,
                {"group": GROUPS[number % 24], "id": f"large-{number}", "pad": "x" * ITEM_BYTES},
            )

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(write())


def log_of(cluster: BackgroundCluster, name: str) -> str:
    return (cluster.data_dir / "run" / f"{name}.log").read_text()


def events(cluster: BackgroundCluster, event: str) -> list[str]:
    """Lines of all nodes that begin with an event."""
    found = []
    for name in ("a1", "b1", "c1"):
        found += [line for line in log_of(cluster, name).splitlines() if f" {event} " in line]
    return found


def parts_there(cluster: BackgroundCluster) -> dict[str, int]:
    """Return the sizes of what has arrived of snapshots, and is not installed yet."""
    directory = cluster.data_dir / "nodes" / AWAY / "snapshots"
    return {path.name: path.stat().st_size for path in directory.glob("*")}


def has_grown(cluster: BackgroundCluster, before: dict[str, int]) -> bool:
    """Whether a part of a snapshot has arrived since, or more of one that was there."""
    return any(
        size > before.get(name, 4 << 20)  # of a new one, so much that it is worth going on
        for name, size in parts_there(cluster).items()
    )


def contents(directory: Path) -> str:
    """Return a hash of all items of a stopped node."""
    store = ItemStore.open(directory / "items", create=False)
    found = hashlib.sha256()
    try:
        assert store.installs() == []
        for key, image in store.scan(b"", b"\xff" * 64):
            found.update(b"%d %d" % (len(key), len(image)) + key + image)
    finally:
        store.close()
    return found.hexdigest()


async def end_when(
    cluster: BackgroundCluster, ready: Callable[[], object], what: str, number: signal.Signals
) -> str:
    """Send a signal at a moment; return how the process ended."""
    await asyncio.to_thread(wait_until, lambda: bool(ready()), what=what, timeout_seconds=60)
    cluster.signal(AWAY, number)
    return await asyncio.to_thread(cluster.wait_ended, AWAY)


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


def test_follower_that_was_away_gets_snapshots_under_load_though_ended_on_the_way(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """S58, S61, S65, S66. Stopped and killed in transfers, killed at an install; nobody notices."""
    cluster = own_cluster(partitions=3)
    cluster.start()
    make_table(cluster, TABLE)

    async def story() -> tuple[float, float]:
        async with (
            RawClient(cluster.public.http) as raw,
            Client(cluster.grpc_address, deadline_seconds=20.0) as client,
        ):
            await asyncio.to_thread(cluster.kill, AWAY)
            await asyncio.to_thread(cluster.wait_ended, AWAY)
            await fill(client)
            prefix = uuid4().hex
            async with writing(
                raw, TABLE, prefix=prefix + "a", partition_keys=GROUPS, writers=4
            ) as quiet:
                await asyncio.sleep(3.0)
            async with writing(
                raw, TABLE, prefix=prefix + "b", partition_keys=GROUPS, writers=4
            ) as busy:
                # Killed first: a stop may take the time in which what comes arrives as a whole.
                for number in (signal.SIGKILL, signal.SIGTERM):
                    grown = partial(has_grown, cluster, parts_there(cluster))
                    await asyncio.to_thread(cluster.restart, AWAY)
                    ended = await end_when(cluster, grown, "a part has arrived", number)
                    assert (ended == "ended with exit code 0") == (number is signal.SIGTERM)
                await asyncio.to_thread(cluster.restart, AWAY)
                await end_when(
                    cluster,
                    lambda: events(cluster, "snapshot_received"),
                    "one is there",
                    signal.SIGKILL,
                )
                await asyncio.to_thread(cluster.restart, AWAY)
                await asyncio.to_thread(cluster.wait_healthy, timeout_seconds=90)
            assert len(quiet.acknowledged) > 100, "thin"
            assert len(busy.acknowledged) > 300, "thin"
            assert not quiet.failures
            assert await lost(client, TABLE, quiet) == []
            assert await lost(client, TABLE, busy) == []
            return p99(quiet.seconds), p99(busy.seconds)

    quiet, busy = asyncio.run(story())

    sent = events(cluster, "snapshot_sent")
    assert len(sent) >= 3
    resumed = [line for line in sent if re.search(r"began_at=[1-9]", line)]
    assert resumed, "every transfer began anew"
    assert busy < max(10 * quiet, 1.0), (quiet, busy)
    cluster.stop()
    nodes = cluster.data_dir / "nodes"
    first = contents(nodes / "a1")
    assert contents(nodes / "c1") == first
    assert contents(nodes / AWAY) == first
    assert list((nodes / AWAY / "snapshots").iterdir()) == []
    print(f"p99 of writes: {quiet * 1000:.0f} ms before, {busy * 1000:.0f} ms meanwhile")
