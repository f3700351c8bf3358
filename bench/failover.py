"""How long writes and strong reads of a partition stop when its leader is killed.

    python -m bench.failover [--kills 30] [--between 3]

An open-loop probe in its own process starts a put and a consistent get every 10 ms on one key of
the partition, each with 250 ms, without retries. The leader gets SIGKILL at a random moment,
and is restarted later. The gap is the longest time between two successes around the kill, minus the
normal spacing. Beside it a Client, which retries, writes to the same partition and counts errors.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import results
from quorate.client import Client, QuorateError
from quorate.demo.probe import INTERVAL_MS_DEFAULT, OK, Attempt, ProbeProcess, gap_ms
from quorate.local.background import BackgroundCluster
from quorate.local.topology import HOST

TABLE = "bench-failover"
KEY = "probed"

OUTAGE_SECONDS = 3.0
"""The killed node stays away so long, and a gap longer than this reads as this. Ours."""

ELECTION_SECONDS = 1.2
"""The kill's moment is drawn over one heartbeat and election period. Ours: above the default."""

LEAD_SECONDS = 1.0
"""The probe runs so long before a kill can come. Ours."""


@dataclass(slots=True)
class Kill:
    """One kill and what it did; gaps in milliseconds."""

    leader: str
    write_gap_ms: float
    read_gap_ms: float
    attempts: int
    failed: int
    client_writes: int
    client_errors: int
    client_slowest_ms: float


async def write_with_retries(
    client: Client, stop: asyncio.Event, latencies: list[float], errors: list[str]
) -> None:
    """Write every 10 ms as users do: through a client that retries."""
    number = 0
    while not stop.is_set():
        number += 1
        started = time.monotonic()
        try:
            await client.put_item(TABLE, {"id": KEY, "number": number})
            latencies.append((time.monotonic() - started) * 1000)
        except QuorateError as error:
            errors.append(str(error))
        await asyncio.sleep(0.01)


async def kill_once(cluster: BackgroundCluster, client: Client, rng: random.Random) -> Kill:
    """Kill the leader of the probed partition once, and bring it back."""
    stop = asyncio.Event()
    latencies: list[float] = []
    errors: list[str] = []
    probe = ProbeProcess(HOST, [cluster.public.http], table_name=TABLE, keys=[KEY])
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write_with_retries(client, stop, latencies, errors))
            await asyncio.sleep(LEAD_SECONDS + rng.uniform(0, ELECTION_SECONDS))
            leader = await asyncio.to_thread(cluster.leader_of, TABLE, {"S": KEY})
            killed = time.monotonic()
            await asyncio.to_thread(cluster.kill, leader)
            await asyncio.sleep(OUTAGE_SECONDS)
            stop.set()
        restarted = time.monotonic()
        attempts = await asyncio.to_thread(probe.finish)
    finally:
        probe.kill()
    await asyncio.to_thread(cluster.restart, leader)
    await asyncio.to_thread(cluster.wait_healthy)
    return Kill(
        leader=leader,
        write_gap_ms=_gap(attempts, "put", killed, restarted),
        read_gap_ms=_gap(attempts, "get", killed, restarted),
        attempts=len(attempts),
        failed=sum(attempt.outcome != OK for attempt in attempts),
        client_writes=len(latencies),
        client_errors=len(errors),
        client_slowest_ms=round(max(latencies, default=0.0), 1),
    )


def _gap(attempts: Sequence[Attempt], kind: str, killed: float, restarted: float) -> float:
    gap = gap_ms(attempts, kind, after=killed, before=restarted, interval_ms=INTERVAL_MS_DEFAULT)
    return OUTAGE_SECONDS * 1000 if gap is None else round(gap, 1)


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return min, p50, p95 and max."""
    ordered = sorted(values)
    return {
        "min": ordered[0],
        "p50": round(statistics.median(ordered), 1),
        "p95": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
        "max": ordered[-1],
    }


async def bench(cluster: BackgroundCluster, options: argparse.Namespace) -> list[Kill]:
    """Kill so often, and print each."""
    rng = random.Random(options.seed)
    kills = []
    async with Client(cluster.grpc_address) as client:
        await client.create_table(TABLE, partition_key=("id", "S"))
        for number in range(1, options.kills + 1):
            kill = await kill_once(cluster, client, rng)
            kills.append(kill)
            print(
                f"{number:3}: {kill.leader} killed; gap of writes {kill.write_gap_ms:6.0f} ms, of"
                f" strong reads {kill.read_gap_ms:6.0f} ms; a retrying client: {kill.client_errors}"
                f" errors, slowest write {kill.client_slowest_ms:6.0f} ms",
                flush=True,
            )
            await asyncio.sleep(options.between)
    return kills


def report(kills: Sequence[Kill]) -> dict[str, Any]:
    """Print the summary and return it."""
    document: dict[str, Any] = {
        "kills": len(kills),
        "write_gap_ms": summary([kill.write_gap_ms for kill in kills]),
        "read_gap_ms": summary([kill.read_gap_ms for kill in kills]),
        "client_slowest_ms": summary([kill.client_slowest_ms for kill in kills]),
        "client_writes": sum(kill.client_writes for kill in kills),
        "client_errors": sum(kill.client_errors for kill in kills),
    }
    for name in ("write_gap_ms", "read_gap_ms", "client_slowest_ms"):
        row = document[name]
        print(
            f"{name:18} min {row['min']:6.0f}  p50 {row['p50']:6.0f}  p95 {row['p95']:6.0f}"
            f"  max {row['max']:6.0f}  (n = {len(kills)})"
        )
    print(f"errors of a retrying client: {document['client_errors']}")
    return document


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--between", type=float, default=1.0, help="seconds between two kills")
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--secure", action="store_true", help="TLS between the processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, help="where data goes; decides which disk")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        with BackgroundCluster(
            folder / "data", partitions=options.partitions, secure=options.secure
        ) as cluster:
            kills = asyncio.run(bench(cluster, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = report(kills)
    gaps = [kill.write_gap_ms for kill in kills]
    path = results.append(
        "failover", {"partitions": options.partitions, **document, "write_gaps_ms": gaps}
    )
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
