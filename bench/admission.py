"""Is a provisioned table admitted what it is provisioned for, whatever the routers and failures?

    python -m bench.admission [--routers 1,2,4] [--seconds 60]

A table of 200 WCU gets an open loop of four times as much, spread over the routers. After the
burst is used up, its successes per second should be 200 within 5 %. Then the same while the node
that leads the catalog is killed, and while a router is.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import results
from bench.open_loop import OpenLoop, Seen
from quorate.client import Client
from quorate.local.background import BackgroundCluster

TABLE = "bench-admission"
UNITS = 200
OVERLOAD = 4
SETTLE_SECONDS = 6
"""The first second's start level, the credit and the learning of rates are over by then."""


def http_ports(cluster: BackgroundCluster) -> list[int]:
    """Return the ports of all routers."""
    return [one.ports["http"] for one in cluster.processes().values() if one.kind == "router"]


async def create_table(cluster: BackgroundCluster, name: str, units: int) -> None:
    """Create a table with so many write units a second."""
    async with Client(cluster.grpc_address) as client:
        await client.create_table(
            name,
            partition_key=("id", "S"),
            read_capacity_units=units,
            write_capacity_units=units,
        )


def catalog_leader(cluster: BackgroundCluster) -> str:
    """Return the name of the node that leads the catalog."""
    leader: str = cluster.status()["catalog"]["leader"]
    return leader


async def saturate(cluster: BackgroundCluster, seconds: float, *, kill: Sequence[str] = ()) -> Seen:
    """Offer several times the table's rate; kill processes a third of the way."""
    loop = OpenLoop(http_ports(cluster), TABLE, UNITS * OVERLOAD)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(loop.run(SETTLE_SECONDS + seconds))
        if kill:
            await asyncio.sleep(SETTLE_SECONDS + seconds / 3)
            for name in kill:
                await asyncio.to_thread(cluster.kill, name)
    return running.result()


def show(label: str, seen: Seen) -> dict[str, Any]:
    """Print and return one run's figures."""
    mean = seen.done_per_second(SETTLE_SECONDS)
    row = {
        "run": label,
        "admitted_per_second": round(mean, 1),
        "off_percent": round((mean / UNITS - 1) * 100, 1),
        **seen.describe(),
    }
    print(
        f"{label:24} {mean:6.1f}/s  {row['off_percent']:+.1f} %  late {row['late']}"
        f"  failed {row['failed']}  refusal p50 {row['throttled_latency']['p50_ms']:.1f} ms",
        flush=True,
    )
    return row


async def measure(cluster: BackgroundCluster, routers: int, seconds: float) -> list[dict[str, Any]]:
    """Run all on one cluster."""
    await create_table(cluster, TABLE, UNITS)
    rows = [show(f"{routers} routers", await saturate(cluster, seconds))]
    if routers > 1:
        leader = catalog_leader(cluster)
        rows.append(show("catalog leader killed", await saturate(cluster, seconds, kill=[leader])))
        cluster.restart(leader)
        cluster.wait_healthy()
        rows.append(show("a router killed", await saturate(cluster, seconds, kill=["r2"])))
    return rows


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--routers", default="1,2,4")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--data-dir", type=Path, help="where data goes")
    options = parser.parse_args()
    rows = []
    for routers in map(int, options.routers.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
        try:
            with BackgroundCluster(folder / "data", routers=routers) as cluster:
                rows += asyncio.run(measure(cluster, routers, options.seconds))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"kept in {results.append('admission', {'units': UNITS, 'rows': rows})}")


if __name__ == "__main__":
    main()
