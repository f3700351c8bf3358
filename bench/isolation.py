"""Does a table over its provision, or one hot partition, slow another table on the same nodes?

    python -m bench.isolation [--seconds 15] [--runs 3]

A quiet table gets a steady 100 puts a second, from a process of its own. What its p99 is beside a
noisy table of 200 WCU that is offered ten times as much, over all partitions and on one key, is
compared with its p99 beside the same table within its provision, and with its p99 alone: what a
table has paid for takes its share of the processors, and so does the load itself.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench import results
from bench.admission import http_ports
from bench.open_loop import OpenLoop, Plan, Seen
from bench.tables import create_table, provisioned
from quorate.local.background import BackgroundCluster

QUIET, NOISY = "bench-quiet", "bench-noisy"
QUIET_RATE, NOISY_UNITS, OVERLOAD = 100, 200, 10
NOISES = {
    "alone": (0, 0),
    "within its provision": (NOISY_UNITS, 10_000),
    "over its provision": (NOISY_UNITS * OVERLOAD, 10_000),
    "one hot key": (NOISY_UNITS * OVERLOAD, 1),
}
"""What runs beside the quiet table: (requests a second, how many keys they have)."""

SETTLE_SECONDS = 2


def once(
    cluster: BackgroundCluster, rate: float, keys: int, seconds: float
) -> tuple[Seen, Seen | None]:
    """Run the quiet load, beside a noise of such a rate, with so many keys."""
    ports = tuple(http_ports(cluster))
    quiet_plan = Plan(ports=ports, table=QUIET, rates=((QUIET_RATE, seconds),), seed=2)
    noisy = None
    if rate:
        noisy = OpenLoop(Plan(ports=ports, table=NOISY, rates=((rate, seconds),), keys=keys))
    quiet = OpenLoop(quiet_plan).wait()
    return quiet, None if noisy is None else noisy.wait()


def measure(cluster: BackgroundCluster, seconds: float, runs: int) -> list[dict[str, Any]]:
    """Return a row for each kind of noise, runs interleaved."""
    create_table(cluster, QUIET, provisioned(QUIET_RATE * 2))
    create_table(cluster, NOISY, provisioned(NOISY_UNITS))
    found: dict[str, list[dict[str, Any]]] = {noise: [] for noise in NOISES}
    once(cluster, NOISY_UNITS, 1, SETTLE_SECONDS)  # what is done for the first time is slower
    for _ in range(runs):
        for noise, (rate, keys) in NOISES.items():
            quiet, noisy = once(cluster, rate, keys, seconds)
            admitted = noisy.done_per_second(SETTLE_SECONDS) if noisy else 0.0
            found[noise].append(
                {**quiet.done_ms(SETTLE_SECONDS), "noisy_admitted_per_second": round(admitted, 1)}
            )
    rows: list[dict[str, Any]] = []
    for noise, of_runs in found.items():
        p99 = statistics.median(run["p99_ms"] for run in of_runs)
        alone, within = (
            statistics.median(run["p99_ms"] for run in found[other])
            for other in ("alone", "within its provision")
        )
        p50 = statistics.median(run["p50_ms"] for run in of_runs)
        rows.append(
            {
                "noise": noise,
                "p50_ms": p50,
                "p99_ms": p99,
                "of_alone": round(p99 / alone, 2),
                "of_within": round(p99 / within, 2),
                "runs": of_runs,
            }
        )
        print(
            f"{noise:20} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms, {p99 / alone:.2f} of alone,"
            f" {p99 / within:.2f} of within; runs {[run['p99_ms'] for run in of_runs]}"
        )
    return rows


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
            rows = measure(cluster, options.seconds, options.runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"kept in {results.append('isolation', {'rows': rows})}")


if __name__ == "__main__":
    main()
