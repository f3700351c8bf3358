"""Does a table over its provision, or one hot partition, slow another table on the same nodes?

    python -m bench.isolation [--seconds 20]

A quiet table gets a steady 100 puts a second. Its p99 alone is compared with its p99 while a
noisy table of 200 WCU is offered ten times as much, over all partitions and on one key.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench import results
from bench.admission import create_table, http_ports
from bench.open_loop import OpenLoop, Seen
from quorate.local.background import BackgroundCluster

QUIET, NOISY = "bench-quiet", "bench-noisy"
QUIET_RATE, NOISY_UNITS, OVERLOAD = 100, 200, 10
NOISES = {"alone": 0, "over its provision": 10_000, "one hot key": 1}
"""What runs beside the quiet table, and how many keys the noise has; 0 is none."""


async def once(cluster: BackgroundCluster, keys: int, seconds: float) -> tuple[Seen, Seen | None]:
    """Run the quiet load, beside a noise of so many keys."""
    ports = http_ports(cluster)
    quiet = OpenLoop(ports, QUIET, QUIET_RATE, seed=2)
    if not keys:
        return await quiet.run(seconds), None
    noisy = OpenLoop(ports, NOISY, NOISY_UNITS * OVERLOAD, keys=keys)
    async with asyncio.TaskGroup() as tasks:
        noise = tasks.create_task(noisy.run(seconds))
        seen = await quiet.run(seconds)
    return seen, noise.result()


async def measure(cluster: BackgroundCluster, seconds: float, runs: int) -> list[dict[str, Any]]:
    """Return a row for each kind of noise, runs interleaved."""
    await create_table(cluster, QUIET, QUIET_RATE * 2)
    await create_table(cluster, NOISY, NOISY_UNITS)
    found: dict[str, list[dict[str, Any]]] = {noise: [] for noise in NOISES}
    for _ in range(runs):
        for noise, keys in NOISES.items():
            quiet, noisy = await once(cluster, keys, seconds)
            figures = quiet.describe()["done_latency"]
            admitted = noisy.done_per_second(2) if noisy else 0.0
            found[noise].append({**figures, "noisy_admitted_per_second": round(admitted, 1)})
    rows = []
    for noise, of_runs in found.items():
        p99 = statistics.median(run["p99_ms"] for run in of_runs)
        alone = statistics.median(run["p99_ms"] for run in found["alone"])
        p50 = statistics.median(run["p50_ms"] for run in of_runs)
        rows.append({"noise": noise, "p50_ms": p50, "p99_ms": p99, "p99_ratio": p99 / alone})
        print(f"{noise:20} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  ratio {p99 / alone:.2f}")
    return [*rows, {"runs": found}]


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        with BackgroundCluster(folder / "data") as cluster:
            rows = asyncio.run(measure(cluster, options.seconds, options.runs))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"kept in {results.append('isolation', {'rows': rows})}")


if __name__ == "__main__":
    main()
