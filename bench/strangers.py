"""What others notice while one stranger attacks a router.

    python -m bench.strangers [--only http-gzip,grpc-watches] [--seconds 6]

A cluster of three nodes and one router. Two clients put, one over HTTP and one over gRPC, each
one item after the other, and a probe asks for /health. In turn: for some seconds nobody attacks,
for as many a process at another address does (`bench.attacks`), and then it is ended. *p99* and
*p50* are of the puts, *beside* and *after* as times of what they were before; *after* is measured
from five seconds after the end on. *Refused* are puts not done. *MiB* is the router's largest size.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.attacks import ATTACKS
from bench.tables import create_table, on_demand
from quorate.client import Client, QuorateError
from quorate.local.background import BackgroundCluster

TABLE = "bench-strangers"
ATTACKED = "attacked"
ITEM = b'{"TableName":"bench-strangers","Item":{"id":{"S":"%d"},"v":{"S":"x"}}}'
PAUSE_SECONDS = 0.005
SETTLE_SECONDS = 5.0
MEMORY_LOOK_SECONDS = 0.1


@dataclass
class Seen:
    """What one client saw in one phase."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def p50_ms(self) -> float:
        """Median, milliseconds."""
        return 1000 * statistics.median(self.seconds) if self.seconds else float("nan")

    @property
    def p99_ms(self) -> float:
        """99th percentile, milliseconds."""
        if not self.seconds:
            return float("nan")
        return 1000 * sorted(self.seconds)[int(0.99 * len(self.seconds))]


class Others:
    """Clients that go on whatever happens; what they see goes to the phase that is on."""

    def __init__(self, cluster: BackgroundCluster) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self._phase = ""
        self.seen: dict[tuple[str, str], Seen] = {}
        self.memory_bytes: dict[str, int] = {}
        self._threads = [
            threading.Thread(target=work)
            for work in (self._put_http, self._put_grpc, self._probe, self._look_at_memory)
        ]

    def begin(self, phase: str) -> None:
        """Enter what is seen from now on under another name."""
        self._phase = phase

    def __enter__(self) -> Others:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _note(self, who: str, phase: str, began_at: float, *, done: bool) -> None:
        seen = self.seen.setdefault((phase, who), Seen())
        seen.seconds.append(time.monotonic() - began_at)
        seen.refused += not done

    def _put_http(self) -> None:
        host, port = self._cluster.http_url.removeprefix("http://").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        headers = {
            "X-Amz-Target": "DynamoDB_20120810.PutItem",
            "Content-Type": "application/x-amz-json-1.0",
        }
        number = 0
        while not self._stop.is_set():
            number += 1
            phase, began_at = self._phase, time.monotonic()
            try:
                connection.request("POST", "/", ITEM % (number % 1000), headers)
                answer = connection.getresponse()
                answer.read()
                done = answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                done = False
            self._note("http", phase, began_at, done=done)
            time.sleep(PAUSE_SECONDS)

    def _put_grpc(self) -> None:
        async def put() -> None:
            async with Client(self._cluster.grpc_address) as client:
                number = 0
                while not self._stop.is_set():
                    number += 1
                    phase, began_at = self._phase, time.monotonic()
                    try:
                        item = {"id": str(number % 1000), "v": "x"}
                        await client.put_item(TABLE, item, deadline_seconds=10.0)
                        done = True
                    except QuorateError:
                        done = False
                    self._note("grpc", phase, began_at, done=done)
                    await asyncio.sleep(PAUSE_SECONDS)

        asyncio.run(put())

    def _probe(self) -> None:
        host, port = self._cluster.admin_address.split(":")
        while not self._stop.is_set():
            phase, began_at = self._phase, time.monotonic()
            connection = http.client.HTTPConnection(host, int(port), timeout=3)
            try:
                connection.request("GET", "/health")
                done = connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                done = False
            finally:
                connection.close()
            self._note("probe", phase, began_at, done=done)
            time.sleep(10 * PAUSE_SECONDS)

    def _look_at_memory(self) -> None:
        pid = self._cluster.pid_of("r1")
        while not self._stop.is_set():
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            size_bytes = pages * os.sysconf("SC_PAGESIZE")
            self.memory_bytes[self._phase] = max(self.memory_bytes.get(self._phase, 0), size_bytes)
            time.sleep(MEMORY_LOOK_SECONDS)


@contextlib.contextmanager
def attacking(cluster: BackgroundCluster, name: str) -> Iterator[None]:
    """Run an attack in a process of its own."""
    command = [
        *(sys.executable, "-m", "bench.attacks", name),
        *("--http", cluster.http_url.removeprefix("http://")),
        *("--grpc", cluster.grpc_address, "--admin", cluster.admin_address),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield
        finally:
            process.kill()


def measure(cluster: BackgroundCluster, others: Others, name: str, seconds: float) -> list[str]:
    """Return a row of the table."""
    others.begin(f"{name} before")
    time.sleep(seconds)
    with attacking(cluster, name):
        others.begin(f"{name} beside")
        time.sleep(seconds)
    others.begin(f"{name} ended")
    time.sleep(SETTLE_SECONDS)
    others.begin(f"{name} after")
    time.sleep(seconds / 2)
    others.begin("")
    row = [name]
    for who in ("http", "grpc"):
        before, beside, after = (
            others.seen.get((f"{name} {when}", who), Seen())
            for when in ("before", "beside", "after")
        )
        row += [
            f"{before.p99_ms:.0f}",
            f"{beside.p99_ms:.0f} ({beside.p99_ms / before.p99_ms:.1f})",
            f"{beside.p50_ms / before.p50_ms:.1f}",
            f"{beside.refused} of {len(beside.seconds)}",
            f"{after.p99_ms / before.p99_ms:.1f}",
        ]
    probe = others.seen.get((f"{name} beside", "probe"), Seen())
    row.append(f"{probe.refused} of {len(probe.seconds)}")
    row.append(f"{others.memory_bytes.get(f'{name} beside', 0) >> 20}")
    return row


HEAD = (
    "attack",
    *("http p99 ms", "beside (times)", "p50 times", "refused", "after, times"),
    *("grpc p99 ms", "beside (times)", "p50 times", "refused", "after, times"),
    *("probes refused", "router MiB"),
)


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="", help="attacks, with commas")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each phase")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(ATTACKS)
    print("|", " | ".join(HEAD), "|")
    print("|", " | ".join("---" for _ in HEAD), "|")
    with tempfile.TemporaryDirectory() as folder:
        cluster = BackgroundCluster(Path(folder) / "data", partitions=3)
        with cluster:
            for table in (TABLE, ATTACKED):
                create_table(cluster, table, on_demand())
            with Others(cluster) as others:
                time.sleep(1.0)
                for name in names:
                    print(
                        "|",
                        " | ".join(measure(cluster, others, name, given.seconds)),
                        "|",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
