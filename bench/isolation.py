"""Does a table over its provision, or one hot partition, slow another table on the same nodes?

    python -m bench.isolation [--seconds 15] [--runs 3]

A quiet table gets a steady 100 puts a second, from a process of its own. What its p99 is beside a
noisy table of 200 WCU that is offered ten times as much, over all partitions and on one key, is
compared with its p99 beside the same table within its provision, and with its p99 alone: what a
table has paid for takes its share of the processors, and so does the load itself.

Processes share the machine's processors, whatever the cluster does. So there is a control: the
noisy table within its provision, and beside it a process of nobody's that uses as much processor
time, in as many pieces, as refusals have cost the router and the load. What is above it is ours.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bench import results
from bench.admission import http_ports
from bench.open_loop import OpenLoop, Plan, Seen
from bench.processes import cpu_of, pids_of
from bench.tables import create_table, provisioned
from quorate.local.background import BackgroundCluster

QUIET, NOISY = "bench-quiet", "bench-noisy"
QUIET_RATE, NOISY_UNITS, OVERLOAD = 100, 200, 10
WITHIN, OVER, BUSY = "within its provision", "over its provision", "within, busy machine"
NOISES = {
    "alone": (0, 0),
    WITHIN: (NOISY_UNITS, 10_000),
    OVER: (NOISY_UNITS * OVERLOAD, 10_000),
    "one hot key": (NOISY_UNITS * OVERLOAD, 1),
    BUSY: (NOISY_UNITS, 10_000),
}
"""What runs beside the quiet table: (requests a second, how many keys they have)."""

REFUSALS_PER_SECOND = NOISY_UNITS * (OVERLOAD - 1)

SETTLE_SECONDS = 2

BURN = """
import sys, time
count, seconds = map(float, sys.argv[1:])
due = time.perf_counter()
while True:
    due += 1 / count
    time.sleep(max(0.0, due - time.perf_counter()))
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
"""
"""Uses so many seconds of a processor, so many times a second."""


@contextmanager
def burning(seconds: float) -> Iterator[None]:
    """Use so much processor time a second, in as many pieces as there are refusals."""
    pieces = [str(REFUSALS_PER_SECOND), str(max(0.0, seconds) / REFUSALS_PER_SECOND)]
    process = subprocess.Popen([sys.executable, "-c", BURN, *pieces])
    try:
        yield
    finally:
        process.kill()
        process.wait()


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
    routers = pids_of(cluster, "router")
    for _ in range(runs):
        used: dict[str, float] = {}  # by routers and the load, in seconds of a processor a second
        for noise, (rate, keys) in NOISES.items():
            before = cpu_of(routers)
            with burning(used[OVER] - used[WITHIN]) if noise == BUSY else nullcontext():
                quiet, noisy = once(cluster, rate, keys, seconds)
            spent = sum(cpu_of(routers).values()) - sum(before.values())
            admitted = noisy.done_per_second(SETTLE_SECONDS) if noisy else 0.0
            used[noise] = (spent + (noisy.cpu_seconds if noisy else 0.0)) / seconds
            found[noise].append(
                {
                    **quiet.done_ms(SETTLE_SECONDS),
                    "noisy_admitted_per_second": round(admitted, 1),
                    "router_and_load_processors": round(used[noise], 3),
                }
            )
    rows: list[dict[str, Any]] = []
    for noise, of_runs in found.items():
        p99 = statistics.median(run["p99_ms"] for run in of_runs)
        alone, within, busy = (
            statistics.median(run["p99_ms"] for run in found[other])
            for other in ("alone", WITHIN, BUSY)
        )
        p50 = statistics.median(run["p50_ms"] for run in of_runs)
        rows.append(
            {
                "noise": noise,
                "p50_ms": p50,
                "p99_ms": p99,
                "of_alone": round(p99 / alone, 2),
                "of_within": round(p99 / within, 2),
                "of_busy": round(p99 / busy, 2),
                "runs": of_runs,
            }
        )
        print(
            f"{noise:20} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms, {p99 / alone:.2f} of alone,"
            f" {p99 / within:.2f} of within, {p99 / busy:.2f} of busy;"
            f" runs {[run['p99_ms'] for run in of_runs]}"
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
