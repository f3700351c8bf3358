"""New clusters whose processes all start at once, in random order: how soon is each healthy?

`python -m bench.cold_starts --runs 100`: of each shape in turn (nodes an AZ, partitions), so many
in all. Healthy: every node answers, every partition has a leader, no replica lags, the router is
ready; counted from when the first process was started. Prints a row a shape, and says of each
start that takes longer than BOUND_SECONDS with which seed it can be had again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

from bench import results
from quorate.local import admin_http
from quorate.local.background import free_ports, is_whole
from quorate.local.data_dir import key_path
from quorate.local.processes import RouterPorts, plan_node, plan_router
from quorate.local.topology import HOST, new_topology, node_names
from quorate.security.sealing import create_key_file

BOUND_SECONDS: Final = 10.0
"""A start that takes longer counts as failed. Ours: two busy cores, up to ten processes."""

PATIENCE_SECONDS: Final = 60.0
"""How long a start is watched, to tell a slow one from one that hangs."""

APART_SECONDS: Final = 0.3
"""Longest pause between two processes' starts: mostly they start while others do."""

POLL_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Shape:
    """What a new cluster is to be."""

    nodes_per_az: int
    partitions: int

    def __str__(self) -> str:
        return f"{self.nodes_per_az} an AZ, {self.partitions} partitions"


SHAPES: Final = tuple(
    Shape(nodes_per_az, partitions)
    for partitions in (12, 30, 100, 300)
    for nodes_per_az in (1, 2, 3)
)


def start_cold(shape: Shape, seed: int, directory: Path, patience_seconds: float) -> float | None:
    """Start a new cluster in `directory`; return the seconds until it is healthy, None if never.

    Everything is ended again.
    """
    rng = Random(seed)
    names = node_names(shape.nodes_per_az)
    ports = free_ports(2 * len(names) + 3)
    http, grpc, admin = ports[-3:]
    topology = new_topology(shape.nodes_per_az, shape.partitions, ports[: len(names)])
    create_key_file(key_path(directory))
    plans = [
        plan_node(
            topology,
            node,
            admin_port=admin_port,
            data_dir=directory,
            parent_pid=os.getpid(),
            log_level="info",
        )
        for node, admin_port in zip(topology.nodes, ports[len(names) :], strict=False)
    ]
    plans.append(
        plan_router(
            topology,
            1,
            RouterPorts(http=http, grpc=grpc, admin=admin),
            key_file=key_path(directory),
            parent_pid=os.getpid(),
            log_level="info",
        )
    )
    rng.shuffle(plans)
    pause_seconds = rng.choice((0.0, 0.0, APART_SECONDS))
    running: list[subprocess.Popen[bytes]] = []
    started = time.monotonic()
    try:
        for plan in plans:
            with (directory / f"{plan.name}.log").open("wb") as output:
                running.append(
                    subprocess.Popen(plan.arguments, stdout=output, stderr=subprocess.STDOUT)
                )
            time.sleep(pause_seconds * rng.random())
        while time.monotonic() - started < patience_seconds:
            if _is_healthy(f"{HOST}:{admin}"):
                return time.monotonic() - started
            time.sleep(POLL_SECONDS)
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()
    return None


def _is_healthy(admin_address: str) -> bool:
    try:
        if admin_http.get(admin_address, "/ready")[0] != 200:
            return False
        code, body = admin_http.get(admin_address, "/status")
    except admin_http.AdminUnreachable:
        return False
    return code == 200 and is_whole(json.loads(body))


def main() -> int:
    """Start clusters; return how many were not healthy in time."""
    parser = argparse.ArgumentParser(prog="python -m bench.cold_starts", description=__doc__)
    parser.add_argument("--runs", type=int, default=24, help="starts in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first start")
    parser.add_argument("--data-dir", type=Path, help="where; else a temporary directory")
    arguments = parser.parse_args()
    seconds: dict[Shape, list[float | None]] = defaultdict(list)
    failed = 0
    for number in range(arguments.runs):
        shape, seed = SHAPES[number % len(SHAPES)], arguments.seed + number
        with tempfile.TemporaryDirectory(prefix="cold-", dir=arguments.data_dir) as directory:
            took = start_cold(shape, seed, Path(directory), PATIENCE_SECONDS)
        seconds[shape].append(took)
        if took is None or took > BOUND_SECONDS:
            failed += 1
            print(f"{shape}, seed {seed}: {took or 'never'}", flush=True)
    print("| nodes an AZ | partitions | starts | p50 s | max s | not within 10 s |")
    print("|---|---|---|---|---|---|")
    for shape in sorted(seconds, key=lambda each: (each.nodes_per_az, each.partitions)):
        took_all = [each if each is not None else PATIENCE_SECONDS for each in seconds[shape]]
        late = sum(each > BOUND_SECONDS for each in took_all)
        print(
            f"| {shape.nodes_per_az} | {shape.partitions} | {len(took_all)}"
            f" | {median(took_all):.1f} | {max(took_all):.1f} | {late} |"
        )
    results.append(
        "cold_starts",
        {"seed": arguments.seed, "seconds": {str(key): each for key, each in seconds.items()}},
    )
    return failed


if __name__ == "__main__":
    sys.exit(main())
