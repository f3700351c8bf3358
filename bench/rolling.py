"""A rolling restart of every process under load: what clients see, and where the time goes.

    python -m bench.rolling [--rounds 5] [--churn]

Three nodes and two routers are stopped with SIGTERM and started again, one after the other, each
when all others are ready. Meanwhile boto3 clients with their default retries write through one
address of both routers, and an open-loop probe in its own process starts a put and a consistent
get every 10 ms on a key of each partition, with 250 ms and no retries, at whichever router takes
its connection.

A hand-over is a change of a partition's leader: away from a node that stops, or back to one that
has been started. Its gap is the time between the last successful put before the election and the
first one after it, minus the normal spacing. With `--churn`, tables are made and dropped all the
while. It ends with 1 if a request of boto3 failed, if an acknowledged write is missing, if a gap is
over the bound, or if a process that was told to stop ended with another code than 0.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3

from bench import results
from bench.churn import TableChurn
from bench.gateway import Gateway
from bench.node_log import Event, read_events
from bench.processes import router_ports
from bench.results import summary
from bench.tables import key_of_each_partition
from quorate.demo.probe import INTERVAL_MS_DEFAULT, OK, Attempt, ProbeProcess, longest_gap
from quorate.local.background import BackgroundCluster
from quorate.local.topology import HOST

TABLE = "bench-rolling"

WRITERS = 2
"""Threads that put one item after the other. Ours."""

PAUSE_SECONDS = 0.05
"""Between two puts of a writer. Ours: eight processes share the machine, and what is measured is
hand-overs, not how long processes wait for a core."""

AWAY_SECONDS_MAX = 9.0
"""Longest wait between two restarts, drawn anew for each. Ours: leaderships go back one a second
from 5 s on, so that some restarts find them back and some do not."""

AROUND_SECONDS = 3.0
"""Longest time from a signal to the elections that it causes. Ours: as long as a node drains."""

WELL = "ended with exit code 0"
"""In the supervisor's words."""

BOUND_MS = 150.0
"""Longest gap of a hand-over. Source: the recovery targets of the project."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """One change of a partition's leader; times in milliseconds."""

    partition: int
    cause: str  # "stop", "return", or "none": nobody has handed it over
    gap_ms: float
    read_gap_ms: float
    signal_to_sent_ms: float  # 0 for a return
    sent_to_elected_ms: float
    elected_to_serving_ms: float
    serving_to_first_ok_ms: float


class Writers:
    """boto3 clients as people have them, and the account of what they were told."""

    def __init__(self, port: int) -> None:
        """Write through the gateway at this port."""
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self.slowest_seconds = 0.0
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(number, port)) for number in range(WRITERS)
        ]

    def start(self) -> None:
        """Begin to write."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the writes under way end, and write no more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int, port: int) -> None:
        client = make_client(port)
        number = 0
        while not self._stopping.wait(PAUSE_SECONDS):
            number += 1
            key = f"{writer}-{number}"
            started = time.monotonic()
            try:
                client.put_item(TableName=TABLE, Item={"id": {"S": key}, "of": {"S": key}})
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller was not served
                self.failures.append(f"{key}: {error}")
                continue
            self.acknowledged.append(key)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)


def make_client(port: int) -> Any:  # noqa: ANN401  (boto3 makes its classes as it runs)
    """Return a boto3 client with all its defaults."""
    return boto3.client(
        "dynamodb",
        endpoint_url=f"http://{HOST}:{port}",
        region_name="local",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def missing(port: int, keys: Iterable[str]) -> list[str]:
    """Return the keys that a strong read does not find."""
    client = make_client(port)
    return [
        key
        for key in keys
        if "Item"
        not in client.get_item(TableName=TABLE, Key={"id": {"S": key}}, ConsistentRead=True)
    ]


def restart_all(
    cluster: BackgroundCluster, rng: random.Random, away_seconds_max: float
) -> Counter[str]:
    """Restart every process, each when all of them are ready; return how they ended."""
    ends: Counter[str] = Counter()
    for process in cluster.processes().values():
        cluster.wait_all_ready()
        time.sleep(rng.uniform(0, away_seconds_max))
        cluster.wait_all_ready()
        cluster.signal(process.name, signal.SIGTERM)
        end = cluster.wait_ended(process.name, timeout_seconds=30.0)
        ends[end] += 1
        cluster.restart(process.name)
        print(f"  {process.name} {end}, and was started again", flush=True)
    cluster.wait_all_ready()
    return ends


def hand_overs(
    events: Sequence[Event], attempts: Sequence[Attempt], keys: Mapping[int, str]
) -> list[HandOver]:
    """Match elections with what caused them and with what the probe saw."""
    found = []
    oks = {
        (kind, partition): sorted(
            attempt.ended
            for attempt in attempts
            if (attempt.kind, attempt.key, attempt.outcome) == (kind, key, OK)
        )
        for kind in ("put", "get")
        for partition, key in keys.items()
    }
    for elected in _of("leader_elected", events):
        partition, term = int(elected.facts["group"]), int(elected.facts["term"])
        if partition not in keys:
            continue  # the catalog's
        asked = _of("handing_over", events, group=partition, term=term - 1)
        served = _of("leader_serves", events, group=partition, term=term)
        puts, gets = oks["put", partition], oks["get", partition]
        sent_at = asked[-1].at if asked else elected.at
        signals = [
            event.at
            for event in _of("stopping", events)
            if asked and event.node == asked[-1].node and 0 <= sent_at - event.at < AROUND_SECONDS
        ]
        served_at = served[0].at if served else elected.at
        found.append(
            HandOver(
                partition=partition,
                cause="none" if not asked else "stop" if signals else "return",
                gap_ms=_gap_around(elected.at, puts),
                read_gap_ms=_gap_around(elected.at, gets),
                signal_to_sent_ms=_ms(signals[-1], sent_at) if signals else 0.0,
                sent_to_elected_ms=_ms(sent_at, elected.at),
                elected_to_serving_ms=_ms(elected.at, served_at),
                serving_to_first_ok_ms=_ms(served_at, puts[bisect(puts, served_at)]),
            )
        )
    return found


def _of(
    name: str, events: Sequence[Event], *, group: int | None = None, term: int | None = None
) -> list[Event]:
    """Return the events of a name, of one group and term only if these are given."""
    return [
        event
        for event in events
        if event.name == name
        and group in (None, int(event.facts.get("group", 0)))
        and term in (None, int(event.facts.get("term", 0)))
    ]


def _gap_around(at: float, oks: Sequence[float]) -> float:
    """Return the time between the successes before and after a moment, beyond the spacing, ms."""
    after = bisect(oks, at)
    return _ms(oks[after - 1] + INTERVAL_MS_DEFAULT / 1000, oks[after])


def _ms(began: float, ended: float) -> float:
    return round(max(0.0, ended - began) * 1000, 1)


def longest_pauses(
    attempts: Sequence[Attempt], keys: Mapping[int, str]
) -> dict[int, tuple[float, float]]:
    """Return for each partition when its longest gap of writes began, and how long it was, ms."""
    pauses = {}
    for partition, key in keys.items():
        of_key = [attempt for attempt in attempts if attempt.key == key]
        gap = longest_gap(of_key, "put", after=0.0, before=float("inf"))
        assert gap is not None
        pauses[partition] = gap.started, round(gap.ms - INTERVAL_MS_DEFAULT, 1)
    return pauses


def measure(
    cluster: BackgroundCluster, ports: Sequence[int], gateway_port: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Restart everything so many times; return the figures. `ports` are the routers'."""
    client = make_client(gateway_port)
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=TABLE)
    keys = key_of_each_partition(cluster, TABLE)
    rng = random.Random(options.seed)
    found: list[HandOver] = []
    longest_ms = 0.0
    ends: Counter[str] = Counter()
    writers = Writers(gateway_port)
    writers.start()
    churn = TableChurn(gateway_port) if options.churn else None
    with ExitStack() as until_the_end:
        until_the_end.callback(writers.stop)
        if churn is not None:
            until_the_end.enter_context(churn)
        for number in range(1, options.rounds + 1):
            print(f"round {number} of {options.rounds}", flush=True)
            probe = ProbeProcess(HOST, ports, table_name=TABLE, keys=list(keys.values()))
            try:
                time.sleep(1.0)
                began = time.monotonic()
                ends += restart_all(cluster, rng, options.away)
                time.sleep(1.0)
                attempts = probe.finish()
            finally:
                probe.kill()
            events = read_events(cluster, began)
            of_round = hand_overs(events, attempts, keys)
            for each in of_round:
                print(f"  {each}", flush=True)
            for partition, (at, pause_ms) in longest_pauses(attempts, keys).items():
                longest_ms = max(longest_ms, pause_ms)
                print(f"  partition {partition}: {pause_ms} ms at {at - began:.3f} s", flush=True)
            found += of_round
    lost = missing(gateway_port, writers.acknowledged)
    return {
        "partitions": len(keys),
        "rounds": options.rounds,
        "tables_made": 0 if churn is None else churn.made,
        "ends": dict(ends),
        "hand_overs": [asdict(each) for each in found],
        "longest_pause_ms": longest_ms,
        "acknowledged": len(writers.acknowledged),
        "failed": writers.failures,
        "lost": lost,
        "slowest_write_ms": round(writers.slowest_seconds * 1000),
    }


def report(document: dict[str, Any]) -> bool:
    """Print the figures; return whether all is as it should be."""
    rows = document["hand_overs"]
    for cause in ("stop", "return", "none"):
        of_cause = [row for row in rows if row["cause"] == cause]
        if not of_cause:
            continue
        print(f"{cause}: n = {len(of_cause)}")
        for name in (name for name in of_cause[0] if name.endswith("_ms")):
            row = summary([each[name] for each in of_cause])
            print(
                f"  {name:24} min {row['min']:6.1f}  p50 {row['p50']:6.1f}  p95 {row['p95']:6.1f}"
                f"  max {row['max']:6.1f}"
            )
    print(f"longest pause of any partition at any time: {document['longest_pause_ms']:.0f} ms")
    print(
        f"boto3: {document['acknowledged']} acknowledged, {len(document['lost'])} lost,"
        f" {len(document['failed'])} failed; slowest {document['slowest_write_ms']} ms"
    )
    print(f"ends: {document['ends']}; {document['tables_made']} tables were made and dropped")
    for line in (*document["lost"], *document["failed"]):
        print(" ", line)
    gaps = [row["gap_ms"] for row in rows]
    return (
        not document["lost"]
        and not document["failed"]
        and max(gaps, default=0) < BOUND_MS
        and set(document["ends"]) == {WELL}
    )


def main() -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=3)
    parser.add_argument("--away", type=float, default=AWAY_SECONDS_MAX)
    parser.add_argument("--churn", action="store_true", help="make and drop tables meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data-dir", type=Path, help="where data goes; decides which disk")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="quorate-bench-", dir=options.data_dir))
    try:
        cluster = BackgroundCluster(folder / "data", partitions=options.partitions, routers=2)
        with cluster, Gateway(http_ports := router_ports(cluster)) as gateway:
            document = measure(cluster, http_ports, gateway.port, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    is_well = report(document)
    print(f"kept in {results.append('rolling', document)}")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
