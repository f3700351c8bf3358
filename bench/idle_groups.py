"""What many groups cost: start-up, memory and processor time at rest, and peace beside a hot one.

    python -m bench.idle_groups [--partitions 1000]

First nothing is written: heartbeats are all there is. Then one partition gets all the load there
is. A heartbeat waits for the loop that sends it and for the one that hears it, and each loop
measures twenty times a second how long that would be; what comes first on the wire is not measured.
So the two largest delays bound how late a heartbeat of an idle group came; it may be half an
election timeout. The terms say whether anybody missed heartbeats for a whole one.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import results
from bench.memory import create_table
from bench.processes import cpu_of, memory_mb, pids_of
from quorate.local import admin_http
from quorate.local.background import BackgroundCluster
from quorate.local.topology import HOST

TABLE = "bench-memory"
SETTLE_SECONDS = 6.0
"""No leadership was handed over for balance in so long, and a checkpoint was made. Ours."""

SETTLE_SECONDS_MAX = 120.0

LATE_SECONDS_MAX = 0.5
"""Half an election timeout."""

DELAY_BUCKET = re.compile(
    r'^quorate_node_loop_delay_seconds_bucket{.*\ble="([^"]+)".*} (\S+)$', re.MULTILINE
)


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
    pids = pids_of(cluster, "node")
    before = terms(cluster)
    used, started = cpu_of(pids), time.monotonic()
    time.sleep(seconds)
    more, passed = cpu_of(pids), time.monotonic() - started
    return {
        "cpu": {name: round((more[name] - used[name]) / passed, 4) for name in pids},
        "memory_mb": {name: round(memory_mb(pid), 1) for name, pid in pids.items()},
        "elections": elections(before, terms(cluster)),
    }


def loop_delays(cluster: BackgroundCluster) -> dict[str, dict[float, float]]:
    """Return each node's count of loop delays up to each bucket's bound, seconds."""
    counts = {}
    for name in pids_of(cluster, "node"):
        address = f"{HOST}:{cluster.processes()[name].ports['admin']}"
        _, page = admin_http.get(address, "/metrics")
        text = page.decode()
        counts[name] = {float(bound): float(count) for bound, count in DELAY_BUCKET.findall(text)}
    return counts


def longest_delay(before: dict[float, float], after: dict[float, float]) -> float:
    """Return the bound, seconds, that all delays between two readings kept."""
    grown = {bound: after[bound] - before[bound] for bound in after}
    return min(bound for bound, count in grown.items() if count == max(grown.values()))


def hot(cluster: BackgroundCluster, seconds: float) -> dict[str, Any]:
    """Write one key, hence one partition, as fast as it goes; return the elections elsewhere."""
    asyncio.run(create_table(cluster))
    before, delays_before = terms(cluster), loop_delays(cluster)
    command = [
        *(sys.executable, "-m", "bench.load", "--kind", "http"),
        *("--address", f"127.0.0.1:{cluster.public.http}", "--table", TABLE),
        *("--connections", "256", "--seconds", str(seconds), "--keys", "1"),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    delays = sorted(
        longest_delay(delays_before[name], after) for name, after in loop_delays(cluster).items()
    )
    return {
        "elections": elections(before, terms(cluster)),
        "late_seconds_max": sum(delays[-2:]),
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
            late = beside_hot["late_seconds_max"]
            print(f"beside a hot one: {beside_hot['elections']} elections; {beside_hot['load']}")
            print(f"heartbeats at most {late:.3f} s late; they may be {LATE_SECONDS_MAX}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = {"start_seconds": start_seconds, "rest": at_rest, "hot": beside_hot}
    path = results.append("idle_groups", {"partitions": options.partitions, **document})
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
