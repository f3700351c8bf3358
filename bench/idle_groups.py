"""What many groups cost: start-up, memory and processor time at rest, and peace beside a hot one.

    python -m bench.idle_groups [--partitions 1000]

First nothing is written: heartbeats are all there is. Then one partition gets all the load there
is, and the terms of the others say whether anybody missed a heartbeat for an election timeout.
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
from bench.memory import create_table, pids_of
from bench.processes import cpu_of, memory_mb
from quorate.local.background import BackgroundCluster

TABLE = "bench-memory"
SETTLE_SECONDS = 6.0
"""No leadership was handed over for balance in so long, and a checkpoint was made. Ours."""

SETTLE_SECONDS_MAX = 120.0


def node_pids(cluster: BackgroundCluster) -> dict[str, int]:
    """Return the pids of the nodes, without the router's."""
    nodes = {node["name"] for node in cluster.status()["nodes"]}
    return {name: pid for name, pid in pids_of(cluster).items() if name in nodes}


def terms(cluster: BackgroundCluster) -> dict[int, int]:
    """Return the newest term of every partition."""
    return {one["id"]: one["term"] for one in cluster.status()["partitions"]}


def elections(before: dict[int, int], after: dict[int, int]) -> int:
    """Return how many partitions have another term."""
    return sum(after[partition] != term for partition, term in before.items())


def settle(cluster: BackgroundCluster) -> None:
    """Wait until leaderships are where they should be: a hand-over is a new term, too."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    before: dict[int, int] = {}
    while elections(before, now := terms(cluster)) or not before:
        if time.monotonic() > deadline:
            print("leaderships are still being balanced: some of the elections below are that")
            return
        before = now
        time.sleep(SETTLE_SECONDS)


def rest(cluster: BackgroundCluster, seconds: float) -> dict[str, Any]:
    """Return each node's share of a processor, and the elections, while nothing is written."""
    pids = node_pids(cluster)
    before = terms(cluster)
    used, started = cpu_of(pids), time.monotonic()
    time.sleep(seconds)
    more, passed = cpu_of(pids), time.monotonic() - started
    return {
        "cpu": {name: round((more[name] - used[name]) / passed, 4) for name in pids},
        "memory_mb": {name: round(memory_mb(pid), 1) for name, pid in pids.items()},
        "elections": elections(before, terms(cluster)),
    }


def hot(cluster: BackgroundCluster, seconds: float) -> dict[str, Any]:
    """Write one key, hence one partition, as fast as it goes; return the elections elsewhere."""
    asyncio.run(create_table(cluster))
    before = terms(cluster)
    command = [
        *(sys.executable, "-m", "bench.load", "--kind", "http"),
        *("--address", f"127.0.0.1:{cluster.public.http}", "--table", TABLE),
        *("--connections", "256", "--seconds", str(seconds), "--keys", "1"),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {
        "elections": elections(before, terms(cluster)),
        "load": done.stdout.splitlines()[-1],
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each part")
    parser.add_argument("--partitions", type=int, default=1000)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    started = time.monotonic()
    try:
        with BackgroundCluster(folder / "data", partitions=options.partitions) as cluster:
            cluster.wait_healthy()
            start_seconds = round(time.monotonic() - started, 2)
            print(f"{options.partitions} partitions led after {start_seconds} s", flush=True)
            settle(cluster)
            at_rest = rest(cluster, options.seconds)
            shares = "  ".join(f"{name} {share:.1%}" for name, share in at_rest["cpu"].items())
            print(f"at rest: {shares}; {at_rest['elections']} elections", flush=True)
            beside_hot = hot(cluster, options.seconds)
            print(f"beside a hot one: {beside_hot['elections']} elections; {beside_hot['load']}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = {"start_seconds": start_seconds, "rest": at_rest, "hot": beside_hot}
    path = results.append("idle_groups", {"partitions": options.partitions, **document})
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
