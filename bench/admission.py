"""Is a provisioned table admitted what it is provisioned for, whatever happens around it?

    python -m bench.admission [--routers 1,2,4] [--seconds 60] [--only NAME]

A table of 200 units a second gets an open loop of four times as much. After the burst is used up
its successes per second should be 200 within 5 %: with all spreads over routers and partitions, for
writes and for reads, while the node that leads the catalog is killed, while a router is. Then its
capacity is changed under the load, up, down and to another mode and back; and it is left alone for
a while, to see that what it saves is what it can spend.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import results
from bench.open_loop import OpenLoop, Plan, Seen
from bench.processes import router_ports
from bench.tables import create_limited_table, on_demand, provisioned, update_table
from quorate.local.background import BackgroundCluster

TABLE = "bench-admission"
READ_TABLE = "bench-admission-reads"
UNITS = 200
OVERLOAD = 4
SETTLE_SECONDS = 6
"""The first second's start level, the credit and the learning of rates are over by then."""

SAVING_SECONDS = 45
LEVELS = (
    ("provisioned 400", provisioned(400), 400),
    ("provisioned 50", provisioned(50), 50),
    ("on demand, at most 300", on_demand(300), 300),
    ("provisioned 200", provisioned(200), 200),
)
"""What the table is changed to under load: (name, capacity, units a second)."""

Event = tuple[float, str, Callable[[], object]]
"""(seconds after the settling, name, what to do)."""


def catalog_leader(cluster: BackgroundCluster) -> str:
    """Return the name of the node that leads the catalog."""
    leader: str = cluster.status()["catalog"]["leader"]
    return leader


def saturate(plan: Plan, events: Sequence[Event] = ()) -> Seen:
    """Run a plan, and let events happen on the way."""
    loop = OpenLoop(plan)
    for at, _, act in events:
        time.sleep(max(0.0, loop.started + SETTLE_SECONDS + at - time.monotonic()))
        act()
    return loop.wait()


def row_of(name: str, seen: Seen, events: Sequence[Event] = ()) -> dict[str, Any]:
    """Print and return one run's figures."""
    mean = seen.done_per_second(SETTLE_SECONDS)
    row = {
        "run": name,
        "admitted_per_second": round(mean, 1),
        "off_percent": round((mean / UNITS - 1) * 100, 1),
        "events": [(SETTLE_SECONDS + at, what) for at, what, _ in events],
        "by_second": seen.by_second(),
        **seen.describe(SETTLE_SECONDS),
    }
    print(
        f"{name:32} {mean:6.1f}/s  {row['off_percent']:+5.1f} %  unsent {row['unsent']}"
        f"  failed {row['failed']} {row['first_failure'][:60]}"
        f"  refusals p50 {row['refused_latency']['p50_ms']:.1f} ms",
        flush=True,
    )
    return row


class Runs:
    """All runs on one cluster, by name."""

    def __init__(self, cluster: BackgroundCluster, routers: int, seconds: float) -> None:
        """Take a cluster that has the table."""
        self._cluster = cluster
        self._routers = routers
        self._seconds = seconds
        self._ports = router_ports(cluster)

    def _plan(self, **more: Any) -> Plan:  # noqa: ANN401 - fields of Plan
        fields: dict[str, Any] = {
            "ports": tuple(self._ports),
            "table": TABLE,
            "rates": ((UNITS * OVERLOAD, SETTLE_SECONDS + self._seconds),),
            **more,
        }
        return Plan(**fields)

    def all(self) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
        """Return what can be run, by name, one after another without pauses: those save units."""
        routers = f"{self._routers} router{'s' if self._routers > 1 else ''}"
        one_of_ten = tuple(self._ports[:1] * 9 + self._ports[1:2])
        yield routers, lambda: self._plain(routers)
        yield f"{routers}, one key", lambda: self._plain(f"{routers}, one key", keys=1)
        if self._routers == 2:
            yield "capacity changed", self._capacity_changed
            uneven = "nine tenths at one router"
            yield uneven, lambda: self._plain(uneven, ports=one_of_ten)
            yield "catalog's leader killed", self._catalog_leader_killed
            yield "a router killed", self._router_killed
            yield "saved and spent", self._saved_and_spent
        yield f"{routers}, reads", lambda: self._reads(f"{routers}, reads")

    def _plain(self, name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of Plan
        return row_of(name, saturate(self._plan(**more)))

    def _reads(self, name: str) -> dict[str, Any]:
        """Read from a table that has just been made: the other one has saved its reads so far."""
        create_limited_table(self._cluster, READ_TABLE, UNITS)
        return self._plain(name, table=READ_TABLE, request="get", keys=100)

    def _catalog_leader_killed(self) -> dict[str, Any]:
        leader = catalog_leader(self._cluster)
        events = [
            (self._seconds / 3, "killed", lambda: self._cluster.kill(leader)),
            (self._seconds * 2 / 3, "restarted", lambda: self._cluster.restart(leader)),
        ]
        row = row_of("catalog's leader killed", saturate(self._plan(), events), events)
        self._cluster.wait_healthy()
        return row

    def _router_killed(self) -> dict[str, Any]:
        events = [(self._seconds / 3, "killed", lambda: self._cluster.kill("r2"))]
        row = row_of("a router killed", saturate(self._plan(), events), events)
        self._cluster.restart("r2")
        self._cluster.wait_healthy()
        return row

    def _capacity_changed(self) -> dict[str, Any]:
        each = self._seconds / len(LEVELS)
        events: list[Event] = [
            (each * place, name, partial(update_table, self._cluster, TABLE, capacity))
            for place, (name, capacity, _) in enumerate(LEVELS)
        ]
        seen = saturate(self._plan(), events)
        row = row_of("capacity changed", seen, events)
        row["levels"] = []
        for (at, name, _), (_, _, units) in zip(events, LEVELS, strict=True):
            low, high = SETTLE_SECONDS + int(at) + 3, SETTLE_SECONDS + int(at + each)
            admitted = seen.done_per_second(low, high)
            row["levels"].append({"level": name, "units": units, "admitted": round(admitted, 1)})
            print(f"    {name:28} {admitted:6.1f}/s from 3 s after the change on")
        return row

    def _saved_and_spent(self) -> dict[str, Any]:
        """Leave the table alone, then ask for four times its rate: saved units, then the rate."""
        time.sleep(SAVING_SECONDS)
        seconds = SAVING_SECONDS / (OVERLOAD - 1) + SETTLE_SECONDS
        seen = saturate(self._plan(rates=((UNITS * OVERLOAD, float(round(seconds))),)))
        row = row_of("saved and spent", seen)
        admitted = sum(len(second.done) for second in seen.seconds)
        saved = admitted - UNITS * len(seen.seconds)
        row["saved_seconds"] = round(saved / UNITS, 1)
        print(f"    left alone for {SAVING_SECONDS} s: {saved / UNITS:.1f} s of capacity on top")
        return row


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--routers", default="1,2,4")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default="", help="runs whose names have this in them")
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    rows = []
    for routers in map(int, options.routers.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
        try:
            with BackgroundCluster(folder / "data", routers=routers) as cluster:
                create_limited_table(cluster, TABLE, UNITS)
                runs = Runs(cluster, routers, options.seconds)
                rows += [run() for name, run in runs.all() if options.only in name]
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"kept in {results.append('admission', {'units': UNITS, 'rows': rows})}")


if __name__ == "__main__":
    main()
