"""The load of bench.put over HTTP on three local etcd members, so that ratios can be stated.

    apt-get install etcd-server etcd-client
    python -m bench.etcd [--connections 1,64,256] [--runs 3]

etcd keeps everything in one Raft group and serves this through its JSON gateway; all connections
go to its leader, which is kindest to it. Run it just before or after `bench.put`, on the same
disk: a machine's minutes differ more than databases do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import results
from bench.put import numbers
from quorate.local.background import free_ports, wait_until

MEMBERS = ("e1", "e2", "e3")


@contextlib.contextmanager
def members(folder: Path) -> Iterator[list[str]]:
    """Run three members; yield their client addresses, host:port."""
    ports = free_ports(2 * len(MEMBERS))
    client = {name: f"127.0.0.1:{ports[2 * at]}" for at, name in enumerate(MEMBERS)}
    peer = {name: f"127.0.0.1:{ports[2 * at + 1]}" for at, name in enumerate(MEMBERS)}
    cluster = ",".join(f"{name}=http://{peer[name]}" for name in MEMBERS)
    with contextlib.ExitStack() as stack:
        for name in MEMBERS:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [
                    *("etcd", "--name", name, "--data-dir", str(folder / name)),
                    *("--listen-client-urls", f"http://{client[name]}"),
                    *("--advertise-client-urls", f"http://{client[name]}"),
                    *("--listen-peer-urls", f"http://{peer[name]}"),
                    *("--initial-advertise-peer-urls", f"http://{peer[name]}"),
                    *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        addresses = list(client.values())
        wait_until(
            lambda: all(status(address) is not None for address in addresses),
            what="etcd serves",
            timeout_seconds=20,
        )
        yield addresses


def status(address: str) -> dict[str, Any] | None:
    """Return what a member says of itself, None if it does not answer or knows no leader."""
    request = urllib.request.Request(
        f"http://{address}/v3/maintenance/status", data=b"{}", method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            document: dict[str, Any] = json.loads(response.read())
    except (urllib.error.URLError, OSError):
        return None
    return document if document.get("leader", "0") != "0" else None


def leader_of(addresses: list[str]) -> str:
    """Return the leader's client address."""
    for address in addresses:
        found = status(address)
        if found is not None and found["leader"] == found["header"]["member_id"]:
            return address
    raise SystemExit("etcd has no leader")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=numbers, default=[1, 64, 256])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data-dir", type=Path, help="where data goes; decides which disk")
    options = parser.parse_args()
    if shutil.which("etcd") is None:
        raise SystemExit("etcd is not installed (on Debian and Ubuntu: apt install etcd-server)")
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    rows = []
    try:
        with members(folder) as addresses:
            leader = leader_of(addresses)
            print(f"{'client':9}{'open':>5}{'writes/s':>11}{'p50 ms':>9}{'p99':>9}{'p99.9':>9}")
            for connections in options.connections:
                runs = []
                for _ in range(options.runs):
                    command = [
                        *(sys.executable, "-m", "bench.load", "--kind", "etcd"),
                        *("--address", leader, "--table", "bench"),
                        *("--connections", str(connections), "--seconds", str(options.seconds)),
                    ]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    runs.append(json.loads(done.stdout.splitlines()[-1]))
                figures = ("writes_per_second", "p50_ms", "p99_ms", "p999_ms")
                row = {name: statistics.median(run[name] for run in runs) for name in figures}
                print(
                    f"{'etcd':9}{connections:>5}{row['writes_per_second']:>11,.0f}"
                    f"{row['p50_ms']:>9.2f}{row['p99_ms']:>9.2f}{row['p999_ms']:>9.2f}",
                    flush=True,
                )
                rows.append({"client": "etcd", "connections": connections, **row})
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = results.append("etcd", {"seconds": options.seconds, "runs": options.runs, "rows": rows})
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
