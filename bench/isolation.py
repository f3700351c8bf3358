"""Does a table over its provision, or one hot partition, slow another table on the same nodes?

    python -m bench.isolation [--seconds 10] [--runs 5]

A quiet table gets a steady 100 puts a second, from a process of its own. What its p99 is beside a
noisy table of 200 WCU that is offered five and ten times as much, over all partitions and on one
key, is compared with its p99 beside the same table within its provision: what a table has paid for
takes its share of the processors, and so does the load itself. Both tables are used through one
router, and in the last case through a router each: then they share nothing but the nodes.

All processes share the machine's processors, and so do the loads.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import results
from bench.admission import http_ports
from bench.open_loop import OpenLoop, Plan, Seen
from bench.processes import cpu_of, pids_of
from bench.tables import create_table, provisioned
from quorate.local.background import BackgroundCluster

QUIET, NOISY = "bench-quiet", "bench-noisy"
QUIET_RATE, NOISY_UNITS = 100, 200
DRAIN_SECONDS, DRAIN_TIMES = 2, 10
"""A table that is to be over its provision is first rid of what it has saved up: spending that is
within its provision."""

SETTLE_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Noise:
    """What runs beside the quiet table: so many times its provision, on so many keys."""

    times: int
    keys: int = 10_000
    through_other_router: bool = False


WITHIN = "within its provision"
NOISES = {
    "alone": Noise(0),
    WITHIN: Noise(1),
    "5 times": Noise(5),
    "10 times": Noise(10),
    "10 times, one hot key": Noise(10, keys=1),
    "10 times, another router": Noise(10, through_other_router=True),
}


def once(cluster: BackgroundCluster, noise: Noise, seconds: float) -> tuple[Seen, Seen | None]:
    """Run the quiet load, beside a noise."""
    first, other = http_ports(cluster)
    noisy = None
    if noise.times:
        noisy_plan = Plan(
            ports=(other if noise.through_other_router else first,),
            table=NOISY,
            rates=(
                ((DRAIN_TIMES if noise.times > 1 else 1) * NOISY_UNITS, DRAIN_SECONDS),
                (noise.times * NOISY_UNITS, seconds - DRAIN_SECONDS),
            ),
            keys=noise.keys,
        )
        noisy = OpenLoop(noisy_plan)
    quiet_plan = Plan(ports=(first,), table=QUIET, rates=((QUIET_RATE, seconds),), seed=2)
    quiet = OpenLoop(quiet_plan).wait()
    return quiet, None if noisy is None else noisy.wait()


def measure(cluster: BackgroundCluster, seconds: float, runs: int) -> list[dict[str, Any]]:
    """Return a row for each kind of noise, runs interleaved."""
    create_table(cluster, QUIET, provisioned(QUIET_RATE * 2))
    create_table(cluster, NOISY, provisioned(NOISY_UNITS))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in NOISES}
    for noise in NOISES.values():
        once(cluster, noise, SETTLE_SECONDS + 1)  # what is done for the first time is slower
    pids = pids_of(cluster)
    for _ in range(runs):
        for name, noise in NOISES.items():
            before = sum(cpu_of(pids).values())
            quiet, noisy = once(cluster, noise, seconds)
            used = sum(cpu_of(pids).values()) - before + quiet.cpu_seconds
            admitted = 0.0
            if noisy is not None:
                used += noisy.cpu_seconds
                admitted = noisy.done_per_second(SETTLE_SECONDS)
            found[name].append(
                {
                    **quiet.done_ms(SETTLE_SECONDS),
                    "noisy_admitted_per_second": round(admitted, 1),
                    "processors": round(used / seconds, 2),
                }
            )
    return [summary(name, of_runs, found[WITHIN]) for name, of_runs in found.items()]


def summary(name: str, runs: list[dict[str, Any]], within: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one kind of noise's row, and print it."""
    p50, p99, processors = (
        statistics.median(run[figure] for run in runs)
        for figure in ("p50_ms", "p99_ms", "processors")
    )
    of_within = p99 / statistics.median(run["p99_ms"] for run in within)
    print(
        f"{name:25} p50 {p50:6.2f} ms  p99 {p99:6.2f} ms, {of_within:.2f} of within;"
        f" {processors:.2f} processors; p99 of the runs {[run['p99_ms'] for run in runs]}"
    )
    return {
        "noise": name,
        "p50_ms": p50,
        "p99_ms": p99,
        "of_within": round(of_within, 2),
        "processors": processors,
        "runs": runs,
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        with BackgroundCluster(folder / "data", routers=2) as cluster:
            rows = measure(cluster, options.seconds, options.runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"kept in {results.append('isolation', {'rows': rows})}")


if __name__ == "__main__":
    main()
