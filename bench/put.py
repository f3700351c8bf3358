"""Concurrent PutItem: writes per second, latencies, and processor time per write and process.

    python -m bench.put [--connections 1,64,256] [--kinds http,pipeline,unary] [--runs 3]

A cluster of its own is started for it: three nodes and one router on this machine. The figures
are medians over the runs. bench/README.md says how to read them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import results
from bench.load import KINDS
from bench.processes import cpu_of, pids_of
from quorate.client import Client
from quorate.local.background import BackgroundCluster

TABLE = "bench-put"
LOAD_GENERATOR = "load"


def run_load(
    cluster: BackgroundCluster, kind: str, connections: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Run one load and return its document with the processor microseconds per write."""
    address = f"127.0.0.1:{cluster.public.http}" if kind == "http" else cluster.grpc_address
    command = [
        *(sys.executable, "-m", "bench.load", "--kind", kind, "--address", address),
        *("--table", TABLE, "--connections", str(connections)),
        *("--seconds", str(options.seconds), "--keys", str(options.keys)),
    ]
    pids = pids_of(cluster)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        before = cpu_of(pids)
        last = process.stdout.readline()
        after = cpu_of(pids)
    if first != "measuring" or not last:
        raise SystemExit(f"the load generator ended with {process.returncode}")
    document: dict[str, Any] = json.loads(last)
    writes = max(1, document["writes"])
    microseconds = {name: round((after[name] - before[name]) / writes * 1e6, 1) for name in pids}
    microseconds[LOAD_GENERATOR] = round(document.pop("cpu_seconds") / writes * 1e6, 1)
    return {**document, "cpu_us_per_write": microseconds}


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of every figure."""
    figures = ("writes_per_second", "p50_ms", "p99_ms", "p999_ms")
    names = runs[0]["cpu_us_per_write"]
    return {
        **{figure: statistics.median(run[figure] for run in runs) for figure in figures},
        "errors": sum(run["errors"] for run in runs),
        "first_error": next((run["first_error"] for run in runs if run["first_error"]), ""),
        "cpu_us_per_write": {
            name: round(statistics.median(run["cpu_us_per_write"][name] for run in runs), 1)
            for name in names
        },
        "writes_per_second_of_runs": [run["writes_per_second"] for run in runs],
    }


def print_row(kind: str, connections: int, row: dict[str, Any]) -> None:
    """Print one line of the table."""
    cpu = "  ".join(f"{name} {value:.0f}" for name, value in row["cpu_us_per_write"].items())
    errors = f"  {row['errors']} ERRORS, such as: {row['first_error']}" if row["errors"] else ""
    print(
        f"{kind:9}{connections:>5}{row['writes_per_second']:>11,.0f}{row['p50_ms']:>9.2f}"
        f"{row['p99_ms']:>9.2f}{row['p999_ms']:>9.2f}   {cpu}{errors}",
        flush=True,
    )


async def create_table(cluster: BackgroundCluster) -> None:
    """Create the table that is written to."""
    async with Client(cluster.grpc_address) as client:
        await client.create_table(TABLE, partition_key=("id", "S"))


def bench(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Start a cluster, measure every combination, and print as it goes."""
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    rows = []
    try:
        with BackgroundCluster(
            folder / "data", partitions=options.partitions, secure=options.secure
        ) as cluster:
            asyncio.run(create_table(cluster))
            cluster.wait_healthy()
            print(
                f"{options.partitions} partitions, {options.runs} runs of {options.seconds:g} s;"
                " processor time in microseconds per write\n"
                f"{'client':9}{'open':>5}{'writes/s':>11}{'p50 ms':>9}{'p99':>9}{'p99.9':>9}",
                flush=True,
            )
            for kind in options.kinds:
                for connections in options.connections:
                    runs = [
                        run_load(cluster, kind, connections, options) for _ in range(options.runs)
                    ]
                    row = median_of(runs)
                    print_row(kind, connections, row)
                    rows.append({"client": kind, "connections": connections, **row})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return rows


def numbers(text: str) -> list[int]:
    """Return the numbers in a list with commas."""
    return [int(part) for part in text.split(",")]


def kinds(text: str) -> list[str]:
    """Return the kinds of clients in a list with commas."""
    chosen = text.split(",")
    if not set(chosen) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(KINDS)}")
    return chosen


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=numbers, default=[1, 64, 256])
    parser.add_argument("--kinds", type=kinds, default=list(KINDS))
    parser.add_argument("--partitions", type=int, default=12)
    parser.add_argument("--secure", action="store_true", help="TLS between the processes")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--keys", type=int, default=100_000, help="size of the working set")
    parser.add_argument("--data-dir", type=Path, help="where data goes; decides which disk")
    options = parser.parse_args()
    rows = bench(options)
    path = results.append(
        "put",
        {
            "partitions": options.partitions,
            "seconds": options.seconds,
            "runs": options.runs,
            "keys": options.keys,
            "rows": rows,
        },
    )
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
