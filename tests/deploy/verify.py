"""Breaks a Compose cluster under load and reads back every write that it acknowledged.

    docker compose -f deploy/compose.yaml up --build --wait
    .venv/bin/python -m tests.deploy.verify [--compose "docker compose -f deploy/compose.yaml"]

A node is killed and started, all processes are stopped and started in turn, a node gets a new
container (and with it another address), and a node's volume is lost and the node replaced. It exits
with 1 if an acknowledged write is not there afterwards, or if a request failed in spite of the
SDK's retries. The cluster is to be a throw-away one: a volume of it is removed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import boto3
from botocore.config import Config

from quorate.cli.status import fetch_status, troubles

TABLE: Final = "verify"

NODES: Final = ("node-a", "node-b", "node-c")
PROCESSES: Final = (*NODES, "router-1", "router-2")

WRITERS: Final = 4
"""Threads that put one item after the other. Ours: some write is always under way."""

SETTLE_SECONDS: Final = 180.0
"""A cluster that is not well after this long has failed. Ours, for a loaded machine."""

OUTAGE_SECONDS: Final = 5.0
"""A killed node stays away so long. Ours: longer than an election."""


def make_client(endpoint: str) -> Any:
    """Return boto3's client with its own retries, standard mode."""
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name="local",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"mode": "standard", "total_max_attempts": 10}),
    )


class Load:
    """Writers that note what was acknowledged, and what was not."""

    def __init__(self, endpoint: str) -> None:
        """Nothing is written before `start`."""
        self.acknowledged: list[str] = []
        self.failures: list[str] = []
        self.longest_gap_seconds = 0.0
        self._endpoint = endpoint
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._newest = 0.0
        self._threads = [
            threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)
        ]

    def start(self) -> None:
        """Begin to write."""
        self._newest = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the writes under way end, and write no more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def take_gap(self) -> float:
        """Return the longest time without an acknowledgement since the last call, seconds."""
        with self._lock:
            gap, self.longest_gap_seconds = self.longest_gap_seconds, 0.0
            return gap

    def _write(self, writer: int) -> None:
        client = make_client(self._endpoint)
        number = 0
        while not self._stopping.is_set():
            key = f"{writer}-{number}"
            number += 1
            try:
                client.put_item(TableName=TABLE, Item={"pk": {"S": key}, "of": {"S": f"v{key}"}})
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller was not served
                with self._lock:
                    self.failures.append(f"{key}: {error}")
                continue
            with self._lock:
                now = time.monotonic()
                self.longest_gap_seconds = max(self.longest_gap_seconds, now - self._newest)
                self._newest = now
                self.acknowledged.append(key)


def missing(endpoint: str, keys: Sequence[str]) -> list[str]:
    """Return the keys that a strong read does not find with their values."""
    client = make_client(endpoint)
    lost = []
    for key in keys:
        answer = client.get_item(TableName=TABLE, Key={"pk": {"S": key}}, ConsistentRead=True)
        if answer.get("Item", {}).get("of") != {"S": f"v{key}"}:
            lost.append(key)
    return lost


class Cluster:
    """The Compose project and its admin face."""

    def __init__(self, compose: str, admin: str) -> None:
        """`compose` is the command with its -f options; `admin` the gateway's host:port."""
        self._compose = shlex.split(compose)
        self._admin = admin

    def do(self, *arguments: str) -> None:
        """Run a Compose command; raises CalledProcessError."""
        print("  compose", *arguments, flush=True)
        subprocess.run([*self._compose, *arguments], check=True, capture_output=True)

    def wait_until_level(self) -> float:
        """Wait until all is well and no replica is behind; return how long it took, seconds."""
        started = time.monotonic()
        while time.monotonic() < started + SETTLE_SECONDS:
            if not self._troubles():
                return time.monotonic() - started
            time.sleep(0.5)
        raise TimeoutError(f"after {SETTLE_SECONDS:.0f} s: {'; '.join(self._troubles())}")

    def _troubles(self) -> list[str]:
        try:
            document = fetch_status(self._admin)
        except SystemExit:
            return ["no router answers"]
        behind = [
            f"{replica['node']} is behind in partition {partition['id']}"
            for partition in document["partitions"]
            for replica in partition["replicas"]
            if replica["role"] == "learner" or not replica["healthy"]
        ]
        under_way = [
            f"{each['old']['name']} is being replaced" for each in document["replacements"]
        ]
        return troubles(document) + behind + under_way


def kill_a_node(cluster: Cluster) -> None:
    """SIGKILL; its container is started again a little later."""
    cluster.do("kill", "node-b")
    time.sleep(OUTAGE_SECONDS)
    cluster.do("start", "node-b")


def restart(name: str) -> Callable[[Cluster], None]:
    """Return the step that gives a process SIGTERM and starts it, and waits until it is ready."""

    def step(cluster: Cluster) -> None:
        cluster.do("restart", "-t", "30", name)
        cluster.do("up", "-d", "--no-deps", "--wait", name)

    return step


def renew_a_container(cluster: Cluster) -> None:
    """Another container of the same volume, as an upgrade makes it, with another address."""
    cluster.do("rm", "-sf", "node-a")
    squatter = ["docker", "run", "-d", "--rm", "--network", "quorate_nodes"]
    sleep = ["--entrypoint", "sleep", "quorate:0.1.0", str(OUTAGE_SECONDS)]
    subprocess.run([*squatter, *sleep], check=True, capture_output=True)  # takes the old one
    cluster.do("up", "-d", "--no-deps", "node-a")


def lose_a_volume(cluster: Cluster) -> None:
    """The node comes back with an empty directory, as a new member."""
    cluster.do("rm", "-sfv", "node-c")
    subprocess.run(["docker", "volume", "rm", "quorate_node-c"], check=True, capture_output=True)
    cluster.do("up", "-d", "--no-deps", "node-c")
    cluster.do("run", "--rm", "-T", "admin", "node", "replace", "node-c", "node-c")
    time.sleep(OUTAGE_SECONDS)


STEPS: Final[dict[str, Callable[[Cluster], None]]] = {
    "a node is killed": kill_a_node,
    **{f"{name} is restarted": restart(name) for name in PROCESSES},
    "a node gets a new container": renew_a_container,
    "a volume is lost": lose_a_volume,
}


def main() -> int:
    """Run the steps; print a line of JSON with the figures of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--compose", default="docker compose -f deploy/compose.yaml")
    parser.add_argument("--endpoint", default="http://127.0.0.1:8000")
    parser.add_argument("--admin", default="127.0.0.1:8002")
    options = parser.parse_args()
    cluster = Cluster(options.compose, options.admin)
    cluster.wait_until_level()
    client = make_client(options.endpoint)
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=TABLE)
    load = Load(options.endpoint)
    load.start()
    try:
        for name, step in STEPS.items():
            print(name, flush=True)
            before = len(load.acknowledged), len(load.failures)
            load.take_gap()
            step(cluster)
            level = cluster.wait_until_level()
            figures = {
                "acknowledged": len(load.acknowledged) - before[0],
                "failed": len(load.failures) - before[1],
                "longest_gap_seconds": round(load.take_gap(), 2),
                "level_after_seconds": round(level, 1),
            }
            print(" ", json.dumps(figures), flush=True)
    finally:
        load.stop()
    lost = missing(options.endpoint, load.acknowledged)
    print(f"{len(load.acknowledged)} acknowledged, {len(lost)} lost, {len(load.failures)} failed")
    for line in (*lost, *load.failures):
        print(" ", line)
    return 1 if lost or load.failures else 0


if __name__ == "__main__":
    sys.exit(main())
