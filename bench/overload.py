"""What ten times its capacity does to a cluster: goodput, refusals, memory, elections, recovery.

    python -m bench.overload [--request batch|put] [--times 1,2,10]

First the cluster's capacity: the best rate of closed loops. Then an open loop of so many times as
much and, without a pause, one of half the capacity: from which second on is all of it served again?
Then the capacity again, for the machine's speed changes: goodput is compared with the mean of both.
The load shares the machine with the cluster; the share of the processors that it takes is printed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import results
from bench.open_loop import CLOSED, OpenLoop, Plan, Seen
from bench.processes import cpu_of, memory_mb, pids_of
from bench.tables import create_table, on_demand
from quorate.local.background import BackgroundCluster

TABLE = "bench-overload"
LOOPS = {"put": (64, 256), "batch": (16, 64)}
"""Requests in flight when the capacity is looked for: the better one counts."""

LEAD_SECONDS = 2
AFTER_SECONDS = 10
CONNECTIONS, CONNECTIONS_MAX = 1_024, 4_000


@dataclass(slots=True)
class Watched:
    """What was seen of the processes meanwhile: the most memory, and time used, by name."""

    memory_mb: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    elections: int = 0


class Watch(threading.Thread):
    """Looks at the memory of processes, several times a second, until told to stop."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        super().__init__(daemon=True)
        self._pids = pids
        self._stopped = threading.Event()
        self._cpu = cpu_of(pids)
        self.seen = Watched(dict.fromkeys(pids, 0.0))

    def run(self) -> None:
        """Look."""
        while not self._stopped.wait(0.2):
            for name, pid in self._pids.items():
                self.seen.memory_mb[name] = max(self.seen.memory_mb[name], memory_mb(pid))

    def stop(self) -> Watched:
        """Return what was seen."""
        self._stopped.set()
        self.join()
        now = cpu_of(self._pids)
        self.seen.cpu_seconds = {name: now[name] - used for name, used in self._cpu.items()}
        return self.seen


def terms(cluster: BackgroundCluster) -> int:
    """Return the sum of all groups' terms: it grows with each election."""
    return sum(partition["term"] for partition in cluster.status()["partitions"])


def load(cluster: BackgroundCluster, rates: tuple[tuple[float, float], ...], **more: Any) -> Plan:  # noqa: ANN401
    """Return a plan for all routers of a cluster."""
    processes = cluster.processes().values()
    ports = tuple(one.ports["http"] for one in processes if one.kind == "router")
    return Plan(ports=ports, table=TABLE, rates=rates, **more)


def capacity(cluster: BackgroundCluster, request: str, *, seconds: float) -> float:
    """Return the best rate of closed loops, in requests a second."""
    best = 0.0
    for connections in LOOPS[request]:
        plan = load(
            cluster,
            ((CLOSED, LEAD_SECONDS + seconds),),
            connections=connections,
            connections_max=connections,
            request=request,
        )
        seen = OpenLoop(plan).wait()
        rate = seen.done_per_second(LEAD_SECONDS)
        print(f"capacity, {connections} in flight: {rate:.0f} requests/s", flush=True)
        best = max(best, rate)
    return best


def overload(
    cluster: BackgroundCluster, rate: float, times: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Offer so many times a rate, then half of it; return the figures."""
    plan = load(
        cluster,
        ((rate * 0.5, LEAD_SECONDS), (rate * times, options.seconds), (rate * 0.5, AFTER_SECONDS)),
        connections=CONNECTIONS,
        connections_max=CONNECTIONS_MAX,
        request=options.request,
    )
    pids = pids_of(cluster)
    idle_mb = {name: memory_mb(pid) for name, pid in pids.items()}
    before = terms(cluster)
    watch = Watch(pids)
    watch.start()
    seen = OpenLoop(plan, processes=options.processes).wait()
    watched = watch.stop()
    low, high = LEAD_SECONDS, LEAD_SECONDS + int(options.seconds)
    return {
        "times": times,
        "offered_per_second": round(rate * times),
        "sent_per_second": round(sent(seen, low, high)),
        "goodput_per_second": round(seen.done_per_second(low, high)),
        "recovered_after_seconds": recovery(seen, high, rate * 0.5),
        "elections": terms(cluster) - before,
        "memory_mb": {
            name: [round(idle_mb[name]), round(mb)] for name, mb in watched.memory_mb.items()
        },
        "processors": {
            **{name: round(used / plan.seconds, 2) for name, used in watched.cpu_seconds.items()},
            "load": round(seen.cpu_seconds / plan.seconds, 2),
        },
        "during": seen.describe(low, high),
        "after": seen.describe(high),
        "rates": plan.rates,
        "by_second": seen.by_second(),
    }


def sent(seen: Seen, low: int, high: int) -> float:
    """Return how many requests a second were sent and answered, one way or the other."""
    chosen = seen.seconds[low:high]
    return sum(len(one.done) + len(one.refused) + one.failed for one in chosen) / len(chosen)


def recovery(seen: Seen, high: int, rate: float) -> int | None:
    """Return after how many seconds all of a rate was served and nothing refused; None is never."""
    for after, second in enumerate(seen.seconds[high:]):
        if len(second.done) > rate * 0.97 and not second.refused and not second.failed:
            return after
    return None


def show(figures: Mapping[str, Any]) -> None:
    """Print one run."""
    during = figures["during"]
    print(
        f"{figures['times']:4g} times: offered {figures['offered_per_second']}/s, answered"
        f" {figures['sent_per_second']}/s; goodput {figures['goodput_per_second']}/s,"
        f" {figures['goodput_of_capacity']:.0%} of capacity, p50"
        f" {during['done_latency']['p50_ms']:.0f} p99 {during['done_latency']['p99_ms']:.0f} ms;"
        f" refusals p50 {during['refused_latency']['p50_ms']:.1f} p99"
        f" {during['refused_latency']['p99_ms']:.0f} ms; failed {during['failed']}"
        f" {during['first_failure'][:100]}; recovered after {figures['recovered_after_seconds']} s;"
        f" elections {figures['elections']}\n"
        f"     processors {figures['processors']}  MB before, at most {figures['memory_mb']}",
        flush=True,
    )


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--request", choices=("put", "batch"), default="batch")
    parser.add_argument("--times", default="1,2,5,10")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--routers", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--processes", type=int, default=2, help="of the load")
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    rows = []
    try:
        with BackgroundCluster(
            folder / "data", partitions=options.partitions, routers=options.routers
        ) as cluster:
            create_table(cluster, TABLE, on_demand())  # nothing but the cluster is its limit
            rate = capacity(cluster, options.request, seconds=4)
            for times in map(float, options.times.split(",")):
                figures = overload(cluster, rate, times, options)
                before, rate = rate, capacity(cluster, options.request, seconds=4)
                figures["capacity_per_second"] = [round(before), round(rate)]
                figures["goodput_of_capacity"] = round(
                    figures["goodput_per_second"] / statistics.mean((before, rate)), 3
                )
                show(figures)
                rows.append(figures)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    document = {"request": options.request, "rows": rows}
    print(f"kept in {results.append('overload', document)}")


if __name__ == "__main__":
    main()
