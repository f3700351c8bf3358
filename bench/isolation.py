"""Does a table over its provision, or one hot partition, slow another table on the same nodes?

    python -m bench.isolation [--units 50] [--pairs 10]

A quiet table gets 50 puts a second. Beside it a noisy table of 50 WCU is offered, five seconds each
in turn, nine tenths of what it is provisioned for, and several times as much, over all partitions
or on one key. The quiet table's p99 in the one turns is compared with that in the others, medians
of all; in turns that short the machine is as fast for both. Both tables are used through one
router, and in the last case through a router each: then they share nothing but the nodes.

The loads have one of the machine's processors to themselves, the cluster has the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import results
from bench.open_loop import OpenLoop, Plan
from bench.processes import apart_from_load, cpu_between, pids_of, router_ports
from bench.tables import create_limited_table
from quorate.local.background import BackgroundCluster

QUIET, NOISY = "bench-quiet", "bench-noisy"
QUIET_RATE = 50
TURN_SECONDS = 5
"""The first second of a turn does not count: requests of the turn before are still answered."""

DRAIN_TIMES, DRAIN_SECONDS = 10, 5
"""What the noisy table has saved up is spent first: that would be within its provision."""


@dataclass(frozen=True, slots=True)
class Noise:
    """So many times the noisy table's provision, on so many keys."""

    times: float
    keys: int = 10_000
    through_other_router: bool = False


WITHIN = Noise(0.9)
NOISES = {
    "none": Noise(0),
    "5 times": Noise(5),
    "10 times": Noise(10),
    "10 times, one hot key": Noise(10, keys=1),
    "10 times, another router": Noise(10, through_other_router=True),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What was seen in one turn; `processors` are those that the cluster used."""

    quiet_ms: dict[str, float]
    admitted_per_second: float
    processors: float


def compare(
    cluster: BackgroundCluster, noise: Noise, units: int, pairs: int
) -> tuple[list[Turn], list[Turn]]:
    """Return the turns beside a table within its provision, and those beside a noise."""
    first, other = router_ports(cluster)
    seconds = DRAIN_SECONDS + 2 * pairs * TURN_SECONDS
    quiet_plan = Plan(ports=(first,), table=QUIET, rates=((QUIET_RATE, seconds),), seed=2)
    noisy_plans = []
    for place, each in enumerate((WITHIN, noise)):
        turns = [(0.0, TURN_SECONDS), (0.0, TURN_SECONDS)]
        turns[place] = (each.times * units, TURN_SECONDS)
        plan = Plan(
            ports=(other if each.through_other_router else first,),
            table=NOISY,
            rates=((DRAIN_TIMES * units / 2, DRAIN_SECONDS), *turns * pairs),
            keys=each.keys,
        )
        noisy_plans.append(plan)
    loads = [OpenLoop(plan) for plan in (quiet_plan, *noisy_plans)]
    pids, began = pids_of(cluster), loads[0].started
    counted = [
        (start + 1, start + TURN_SECONDS) for start in range(DRAIN_SECONDS, seconds, TURN_SECONDS)
    ]
    processors = [
        sum(cpu_between(pids, began + low, began + high).values()) for low, high in counted
    ]
    quiet, *noisy = [load.wait() for load in loads]
    seen = [
        Turn(
            quiet.done_ms(low, high),
            sum(one.done_per_second(low, high) for one in noisy),
            used,
        )
        for (low, high), used in zip(counted, processors, strict=True)
    ]
    return seen[0::2], seen[1::2]


def summary(name: str, turns: list[Turn]) -> dict[str, Any]:
    """Return the medians of some turns, and print them."""
    row = {
        "noise": name,
        "p50_ms": statistics.median(turn.quiet_ms["p50_ms"] for turn in turns),
        "p99_ms": statistics.median(turn.quiet_ms["p99_ms"] for turn in turns),
        "processors": round(statistics.median(turn.processors for turn in turns), 2),
        "admitted_per_second": statistics.median(turn.admitted_per_second for turn in turns),
    }
    print(
        f"{name:25} p50 {row['p50_ms']:6.2f} ms  p99 {row['p99_ms']:6.2f} ms"
        f"  {row['processors']:.2f} processors  {row['admitted_per_second']:.0f} admitted/s"
        f"  p99 of the turns {[round(turn.quiet_ms['p99_ms'], 1) for turn in turns]}"
    )
    return {**row, "turns": [dataclasses.asdict(turn) for turn in turns]}


def measure(cluster: BackgroundCluster, units: int, pairs: int) -> list[dict[str, Any]]:
    """Return two rows for each noise: of the turns within the provision, and of those with it."""
    create_limited_table(cluster, QUIET, QUIET_RATE * 2)
    create_limited_table(cluster, NOISY, units)
    compare(cluster, WITHIN, units, 1)  # what is done for the first time is slower
    rows = []
    for name, noise in NOISES.items():
        within, beside = compare(cluster, noise, units, pairs)
        first, second = summary("within its provision", within), summary(name, beside)
        second["of_within"] = round(second["p99_ms"] / first["p99_ms"], 2)
        print(f"{name}: p99 {second['of_within']:.2f} of within its provision", flush=True)
        rows += [first, second]
    return rows


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=50, help="of the noisy table")
    parser.add_argument("--pairs", type=int, default=10, help="of turns, for each kind of noise")
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        with apart_from_load(BackgroundCluster(folder / "data", routers=2)) as cluster:
            rows = measure(cluster, options.units, options.pairs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"kept in {results.append('isolation', {'units': options.units, 'rows': rows})}")


if __name__ == "__main__":
    main()
