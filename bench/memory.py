"""Memory of an idle node, and of a node under load at a constant working set.

    python -m bench.memory [--seconds 30]

The working set is constant, so what grows after the memtable has reached its bound is a leak.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import results
from bench.processes import cpu_of, memory_mb, pids_of, resident_mb
from quorate.client import Client
from quorate.local.background import BackgroundCluster

TABLE = "bench-memory"
IDLE_SECONDS = 5.0


def sample(cluster: BackgroundCluster) -> dict[str, Any]:
    """Return what every process uses now, and the nodes' own words on it."""
    pids = pids_of(cluster)
    return {
        "anonymous_mb": {name: round(memory_mb(pid), 1) for name, pid in pids.items()},
        "resident_mb": {name: round(resident_mb(pid), 1) for name, pid in pids.items()},
        "memtable_mb": {
            node["name"]: round(int(node["memtable_bytes"]) / (1 << 20), 1)
            for node in cluster.status()["nodes"]
        },
        "log_mb": {
            node["name"]: round(int(node["log_bytes"]) / (1 << 20), 1)
            for node in cluster.status()["nodes"]
        },
    }


def show(label: str, found: dict[str, Any]) -> None:
    """Print one sample."""
    parts = "  ".join(
        f"{name} {anonymous:.0f}/{found['resident_mb'][name]:.0f}"
        for name, anonymous in found["anonymous_mb"].items()
    )
    tables = "  ".join(f"{name} {size:.0f}" for name, size in found["memtable_mb"].items())
    print(f"{label:>10}  {parts}   memtable {tables}", flush=True)


def idle_cpu(cluster: BackgroundCluster) -> dict[str, float]:
    """Return the share of one processor that each process uses without any load."""
    pids = pids_of(cluster)
    before, started = cpu_of(pids), time.monotonic()
    time.sleep(IDLE_SECONDS)
    after, seconds = cpu_of(pids), time.monotonic() - started
    return {name: round((after[name] - before[name]) / seconds, 4) for name in pids}


async def create_table(cluster: BackgroundCluster) -> None:
    """Create the table that is written to."""
    async with Client(cluster.grpc_address) as client:
        await client.create_table(TABLE, partition_key=("id", "S"))


def bench(cluster: BackgroundCluster, options: argparse.Namespace) -> dict[str, Any]:
    """Sample idle, then under load."""
    asyncio.run(create_table(cluster))
    cluster.wait_healthy()
    print("MB of memory: anonymous/resident (with mapped files) of each process")
    shares = idle_cpu(cluster)
    idle = sample(cluster)
    show("idle", idle)
    print("idle, share of a processor: " + "  ".join(f"{n} {s:.1%}" for n, s in shares.items()))
    command = [
        *(sys.executable, "-m", "bench.load", "--kind", "http"),
        *("--address", f"127.0.0.1:{cluster.public.http}", "--table", TABLE),
        *("--connections", str(options.connections), "--seconds", str(options.seconds)),
        *("--keys", str(options.keys)),
    ]
    samples = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        started = time.monotonic()
        for number in range(1, options.samples + 1):
            at = started + options.seconds * number / (options.samples + 1)
            time.sleep(max(0.0, at - time.monotonic()))
            found = sample(cluster)
            samples.append({"seconds": round(time.monotonic() - started, 1), **found})
            show(f"{time.monotonic() - started:.0f} s", found)
        load = process.stdout.readline()
    print(f"load: {load.strip()}")
    return {"idle": idle, "idle_cpu": shares, "loaded": samples, "load": load.strip()}


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--keys", type=int, default=20_000, help="size of the working set")
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        with BackgroundCluster(folder / "data", partitions=options.partitions) as cluster:
            document = bench(cluster, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = results.append(
        "memory", {"partitions": options.partitions, "keys": options.keys, **document}
    )
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
