"""A cluster's processes: where they listen and run, what they use of processors and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from quorate.local.background import BackgroundCluster

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def pids_of(cluster: BackgroundCluster, kind: str = "") -> dict[str, int]:
    """Return the pids of the cluster's processes that run, by name; only one kind's if given."""
    return {
        name: one.pid
        for name, one in cluster.processes().items()
        if one.pid is not None and kind in ("", one.kind)
    }


@contextmanager
def apart_from_load(cluster: BackgroundCluster) -> Iterator[BackgroundCluster]:
    """Run a cluster; what is started meanwhile has one of the machine's processors to itself.

    Elsewhere a load has machines of its own: what sending costs is not to be a cluster's loss. With
    one processor they share it.
    """
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, processors[:-1] or processors)
    try:
        with cluster:
            os.sched_setaffinity(0, processors[-1:])
            yield cluster
    finally:
        os.sched_setaffinity(0, processors)


def router_ports(cluster: BackgroundCluster) -> list[int]:
    """Return where the routers take DynamoDB's HTTP."""
    return [one.ports["http"] for one in cluster.processes().values() if one.kind == "router"]


def cpu_seconds(pid: int) -> float:
    """Return the user and system time that a process has used."""
    # The fields after the command's name, which may hold anything; utime and stime are the 14th
    # and 15th of the whole line. Source: proc(5).
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def cpu_of(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the processor time of each process by name."""
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def cpu_between(pids: Mapping[str, int], low: float, high: float) -> dict[str, float]:
    """Return the processors that each process uses between two moments that are to come."""
    time.sleep(max(0.0, low - time.monotonic()))
    before, low = cpu_of(pids), time.monotonic()
    time.sleep(max(0.0, high - time.monotonic()))
    after, high = cpu_of(pids), time.monotonic()
    return {name: (after[name] - before[name]) / (high - low) for name in pids}


def memory_mb(pid: int) -> float:
    """Return the resident set of a process in MB, without file-backed pages.

    LMDB maps its files: their pages are the kernel's cache, and go when memory is needed.
    """
    anonymous = 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            anonymous = int(line.split()[1])
    return anonymous / 1024


def resident_mb(pid: int) -> float:
    """Return the whole resident set of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
