"""What ten times its capacity does to a cluster: goodput, refusals, memory, elections, recovery.

    python -m bench.overload [--request batch|put] [--times 1,2,10] [--cycles 8]

Cycles of three phases of five seconds: as much as the cluster can do, asked by closed loops; an
open loop of so many times as much; and, without a pause, one of a third: from which second on is
all of it served again? What is served in the second phase is compared with the first of the same
cycle, medians of all cycles, for machines are faster and slower within seconds.

The load has one of the machine's processors to itself, the cluster has the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
import statistics
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import results
from bench.open_loop import CLOSED, OpenLoop, Plan, Second, Seen
from bench.processes import apart_from_load, cpu_between, memory_mb, pids_of, router_ports
from bench.tables import create_table, on_demand
from quorate.local.background import BackgroundCluster

TABLE = "bench-overload"
IN_FLIGHT = {"put": 1_024, "batch": 48}
"""Requests of the closed loops: with fewer or more of them less, or no more, gets done."""

LEAD_SECONDS, FIRST_SECONDS = 2, 8
PHASE_SECONDS = 5
"""The first second of a phase does not count: requests of the phase before are still answered."""

REST = 0.3
"""What is offered of the capacity after the overload: less than what a slow moment leaves of it."""

CONNECTIONS, CONNECTIONS_ALL = 1_024, 4_000
"""At first, and at most, those of the closed loops among them: a router takes hardly more from one
address."""


class Watch(threading.Thread):
    """Looks at the memory of processes, several times a second, until told to stop."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._stopped = threading.Event()
        self._most_mb = dict.fromkeys(pids, 0.0)

    def run(self) -> None:
        """Look."""
        while not self._stopped.wait(0.2):
            for name, pid in self._pids.items():
                self._most_mb[name] = max(self._most_mb[name], memory_mb(pid))

    def stop(self) -> dict[str, float]:
        """Return the most that each has had."""
        self._stopped.set()
        self.join()
        return self._most_mb


def terms(cluster: BackgroundCluster) -> int:
    """Return the sum of all groups' terms: it grows with each election."""
    return sum(partition["term"] for partition in cluster.status()["partitions"])


def load(cluster: BackgroundCluster, rates: tuple[tuple[float, float], ...], **more: Any) -> Plan:  # noqa: ANN401
    """Return a plan for all routers of a cluster."""
    return Plan(ports=tuple(router_ports(cluster)), table=TABLE, rates=rates, **more)


def closed(
    cluster: BackgroundCluster, request: str, rates: tuple[tuple[float, float], ...]
) -> Plan:
    """Return a plan of closed loops."""
    count = IN_FLIGHT[request]
    return load(cluster, rates, request=request, connections=count, connections_max=count)


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle: requests a second that closed loops got done, and what was served beyond that.

    The processors are those that nodes and routers used for the one and for the other.
    """

    capacity_per_second: float
    goodput_per_second: float
    recovered_after_seconds: int | None
    processors_at_capacity: dict[str, float]
    processors_beyond: dict[str, float]


def overload(
    cluster: BackgroundCluster, rate: float, times: float, request: str, count: int
) -> dict[str, Any]:
    """Run so many cycles with so many times a rate; return the figures."""
    rest = rate * REST
    asking = closed(cluster, request, ((CLOSED, PHASE_SECONDS), (0, 2 * PHASE_SECONDS)) * count)
    offered = load(
        cluster,
        ((0, PHASE_SECONDS), (rate * times, PHASE_SECONDS), (rest, PHASE_SECONDS)) * count,
        connections=CONNECTIONS,
        connections_max=CONNECTIONS_ALL - IN_FLIGHT[request],
        request=request,
    )
    pids = pids_of(cluster)
    idle_mb = {name: memory_mb(pid) for name, pid in pids.items()}
    before = terms(cluster)
    watch = Watch(pids)
    watch.start()
    loops = OpenLoop(asking), OpenLoop(offered)
    starts = [loops[0].started + number * PHASE_SECONDS for number in range(3 * count)]
    processors = [cpu_between(pids, start + 1, start + PHASE_SECONDS) for start in starts]
    at_capacity, beyond = loops[0].wait(), loops[1].wait()
    most_mb = watch.stop()
    cycles = [
        Cycle(
            phase(at_capacity, number, 0).done_per_second(1),
            phase(beyond, number, 1).done_per_second(1),
            recovery(phase(beyond, number, 2).seconds, rest),
            *processors[3 * number : 3 * number + 2],
        )
        for number in range(count)
    ]
    counted = [second for number in range(count) for second in phase(beyond, number, 1).seconds[1:]]
    during = Seen(counted, beyond.first_failure)
    return {
        "times": times,
        "offered_per_second": round(rate * times),
        "sent_per_second": round(sent(during)),
        "cycles": [dataclasses.asdict(cycle) for cycle in cycles],
        "goodput_of_capacity": sorted(
            round(cycle.goodput_per_second / cycle.capacity_per_second, 2) for cycle in cycles
        ),
        "elections": terms(cluster) - before,
        "memory_mb": {name: [round(idle_mb[name]), round(mb)] for name, mb in most_mb.items()},
        "during": during.describe(),
        "by_second": {"at_capacity": at_capacity.by_second(), "beyond": beyond.by_second()},
    }


def phase(seen: Seen, cycle: int, place: int) -> Seen:
    """Return the seconds of one of the three phases of a cycle."""
    start = (3 * cycle + place) * PHASE_SECONDS
    return Seen(seen.seconds[start : start + PHASE_SECONDS])


def sent(seen: Seen) -> float:
    """Return how many requests a second were sent and answered, one way or the other."""
    answered = sum(len(one.done) + len(one.refused) + one.failed for one in seen.seconds)
    return answered / len(seen.seconds)


def recovery(seconds: Sequence[Second], rate: float) -> int | None:
    """Return after how many seconds all of a rate was served and nothing refused; None is never."""
    least = rate - 3 * math.sqrt(rate)  # requests come at random moments
    for after, second in enumerate(seconds):
        unserved = len(second.refused) + second.failed + second.unsent
        if len(second.done) > least and not unserved:
            return after
    return None


def show(figures: Mapping[str, Any]) -> None:
    """Print the figures of one load."""
    during, cycles = figures["during"], figures["cycles"]
    shares = figures["goodput_of_capacity"]
    capacity_median = statistics.median(cycle["capacity_per_second"] for cycle in cycles)
    print(
        f"{figures['times']:4g} times: offered {figures['offered_per_second']}/s,"
        f" {figures['offered_per_second'] / capacity_median:.1f} times the capacity meanwhile;"
        f" answered {figures['sent_per_second']}/s;"
        f" goodput {statistics.median(shares):.0%} of capacity"
        f" ({', '.join(f'{share:.0%}' for share in shares)}), p50"
        f" {during['done_latency']['p50_ms']:.0f} p99 {during['done_latency']['p99_ms']:.0f} ms;"
        f" refusals p50 {during['refused_latency']['p50_ms']:.1f} p99"
        f" {during['refused_latency']['p99_ms']:.0f} ms; failed {during['failed']}"
        f" {during['first_failure'][:100]}; recovered after"
        f" {[cycle['recovered_after_seconds'] for cycle in cycles]} s;"
        f" elections {figures['elections']}\n"
        f"     processors at capacity {processors_used(cycles, 'processors_at_capacity')}, beyond"
        f" {processors_used(cycles, 'processors_beyond')}"
        f"  MB before, at most {figures['memory_mb']}",
        flush=True,
    )


def processors_used(cycles: Sequence[Mapping[str, Any]], when: str) -> dict[str, float]:
    """Return the medians of all cycles, by process."""
    return {
        name: round(statistics.median(cycle[when][name] for cycle in cycles), 2)
        for name in cycles[0][when]
    }


def measure(cluster: BackgroundCluster, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each load."""
    create_table(cluster, TABLE, on_demand())  # nothing but the cluster is its limit
    plan = closed(cluster, options.request, ((CLOSED, LEAD_SECONDS + FIRST_SECONDS),))
    rate = OpenLoop(plan).wait().done_per_second(LEAD_SECONDS)
    print(f"capacity at first: {rate:.0f} requests/s", flush=True)
    rows = []
    for times in map(float, options.times.split(",")):
        rows.append(overload(cluster, rate, times, options.request, options.cycles))
        show(rows[-1])
    return rows


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--request", choices=("put", "batch"), default="batch")
    parser.add_argument("--times", default="1,2,10")
    parser.add_argument("--cycles", type=int, default=8)
    parser.add_argument("--routers", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        planned = BackgroundCluster(
            folder / "data", partitions=options.partitions, routers=options.routers
        )
        with apart_from_load(planned) as cluster:
            rows = measure(cluster, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = {"request": options.request, "rows": rows}
    print(f"kept in {results.append('overload', document)}")


if __name__ == "__main__":
    main()
