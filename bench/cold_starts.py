"""How long a new cluster takes to get healthy when all its processes are started at once.

    python -m bench.cold_starts [--runs 100] [--seed 1] [--nodes-per-az 1 2 3] [--partitions 12 300]

The processes start in an order, and within a time, that each run's seed decides. Healthy: every
node answers, every partition has a leader, and no replica lags. Wanted: each start within ten
seconds, counted from the last process's start. On a busy machine that is mostly how long Python
waits for a processor, so the second time begins when all processes answer.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from itertools import cycle, product
from math import ceil
from pathlib import Path
from typing import Any

from bench import results
from quorate.local.background import ClusterFailed
from quorate.local.cold_start import ColdStart, Healthy

WANTED_SECONDS = 10.0
SECONDS_MAX = 60.0
"""A start that takes longer has failed."""


def start_once(folder: Path, nodes_per_az: int, partitions: int, seed: int) -> Healthy | None:
    """Return how long it took to be healthy, None if it never was; then the story is printed."""
    try:
        with ColdStart(folder, nodes_per_az=nodes_per_az, partitions=partitions, seed=seed) as it:
            return it.wait_healthy(timeout_seconds=SECONDS_MAX)
    except ClusterFailed as failure:
        print(f"{nodes_per_az} an AZ, {partitions} partitions: {failure}")
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def describe(nodes_per_az: int, partitions: int, taken: list[Healthy | None]) -> dict[str, Any]:
    """Return a row of the table, of the starts of one kind."""
    healthy = [each for each in taken if each is not None]
    started = [each.since_started for each in healthy]
    return {
        "nodes_per_az": nodes_per_az,
        "partitions": partitions,
        "starts": len(taken),
        "never": len(taken) - len(healthy),
        "late": sum(seconds > WANTED_SECONDS for seconds in started),
        "since_started": percentiles(started),
        "since_up": percentiles([each.since_up for each in healthy]),
    }


def percentiles(seconds: list[float]) -> list[float]:
    """Return p50, p99 and the most; nothing of nothing."""
    ranked = sorted(seconds)
    return [round(ranked[ceil(share * len(ranked)) - 1], 1) for share in (0.5, 0.99, 1.0) if ranked]


def main() -> int:
    """Measure, print, keep; return 1 if a start never got healthy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="starts in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first one")
    parser.add_argument("--nodes-per-az", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--partitions", type=int, nargs="+", default=[12, 30, 100, 300])
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    kinds = list(product(options.nodes_per_az, options.partitions))
    taken: dict[tuple[int, int], list[Healthy | None]] = {kind: [] for kind in kinds}
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        for seed, kind in zip(range(options.seed, options.seed + options.runs), cycle(kinds)):
            healthy = start_once(folder / "data", *kind, seed)
            taken[kind].append(healthy)
            took = "never"
            if healthy is not None:
                took = f"{healthy.since_started:.1f} s, since all were up {healthy.since_up:.1f} s"
            load = os.getloadavg()[0]
            print(
                f"seed {seed:4}  {kind[0]} an AZ  {kind[1]:4} partitions  {took}  ({load:.1f})",
                flush=True,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = [describe(*kind, each) for kind, each in taken.items() if each]
    print(
        "\nnodes an AZ  partitions  starts  never  above 10 s   p50   p99   max   since all were up"
    )
    for row in rows:
        print(
            f"{row['nodes_per_az']:11}  {row['partitions']:10}  {row['starts']:6}  {row['never']:5}"
            f"  {row['late']:10}"
            + "".join(f"{seconds:6}" for seconds in (*row["since_started"], *row["since_up"]))
        )
    print(f"kept in {results.append('cold_starts', {'seed': options.seed, 'kinds': rows})}")
    return 1 if any(row["never"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
