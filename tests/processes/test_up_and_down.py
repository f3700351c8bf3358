"""`quorate up` from start to end: nothing half-started, nothing left behind, the data goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from quorate.local.background import BackgroundCluster, wait_until
from tests.processes.conftest import TABLE, dynamodb, make_table

ITEM = {"group": {"S": "kept"}, "id": {"S": "x"}, "value": {"N": "42"}}


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def running_pids(cluster: BackgroundCluster) -> list[int]:
    return [process.pid for process in cluster.processes().values() if process.pid is not None]


def ports(cluster: BackgroundCluster) -> dict[str, Mapping[str, int]]:
    """Return where each process listens, by name and face."""
    return {name: process.ports for name, process in cluster.processes().items()}


def stored(cluster: BackgroundCluster) -> object:
    client = dynamodb(cluster.http_url)
    try:
        key = {"group": ITEM["group"], "id": ITEM["id"]}
        return client.get_item(TableName=TABLE, Key=key, ConsistentRead=True).get("Item")
    finally:
        client.close()


def fill(cluster: BackgroundCluster) -> None:
    make_table(cluster, TABLE)
    client = dynamodb(cluster.http_url)
    try:
        client.put_item(TableName=TABLE, Item=ITEM)
    finally:
        client.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_stops_everything_when_asked_and_a_second_start_goes_on_with_the_data(
    own_cluster: Callable[..., BackgroundCluster], number: signal.Signals
) -> None:
    cluster = own_cluster()
    cluster.start()
    fill(cluster)
    pids = running_pids(cluster)
    assert len(pids) == 4
    listening = ports(cluster)

    code = cluster.stop(number)

    assert code == 0
    assert not any(map(is_running, pids))
    assert cluster.output().rstrip().endswith("stopped")
    public = cluster.public
    assert f"export QUORATE_GRPC_PORT={public.grpc} QUORATE_ADMIN_PORT={public.admin}" in (
        cluster.output()
    )
    assert not (cluster.data_dir / "run" / "control.sock").exists()

    cluster.start()

    assert stored(cluster) == ITEM
    assert ports(cluster) == listening  # the admin faces too, which something may scrape
    cluster.stop()


def test_a_node_whose_admin_port_is_taken_meanwhile_gets_another_and_keeps_that(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster()
    cluster.start()
    first = ports(cluster)
    cluster.stop()

    with socket.create_server(("127.0.0.1", first["b1"]["admin"])):
        cluster.start()
        second = ports(cluster)
        cluster.stop()
    cluster.start()

    assert second["b1"]["admin"] != first["b1"]["admin"]
    assert {**second, "b1": {}} == {**first, "b1": {}}
    assert ports(cluster) == second
    cluster.stop()


def test_a_started_cluster_says_what_to_type_next_and_when_a_node_was_killed(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster()
    cluster.start()

    said = cluster.output().splitlines()
    pasted = "\n".join(said[said.index("to try it, in another terminal:") + 1 :][:2])
    environment = {**os.environ, "QUORATE_GRPC_PORT": str(cluster.public.grpc)}
    environment["QUORATE_ADMIN_PORT"] = str(cluster.public.admin)
    ended = subprocess.run(
        pasted, shell=True, env=environment, capture_output=True, text=True, check=False
    )
    cluster.kill("a1")

    assert "table songs is active" in ended.stdout
    assert "healthy" in ended.stdout
    assert re.search(r"^\d\d:\d\d:\d\d a1 killed$", cluster.output(), re.MULTILINE)
    cluster.stop()


def test_killed_supervisor_leaves_no_process_behind(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """Orphans would hold the ports and the directories, and nobody would know of them."""
    cluster = own_cluster()
    cluster.start()
    fill(cluster)
    pids = running_pids(cluster)

    cluster.stop(signal.SIGKILL)

    wait_until(
        lambda: not any(map(is_running, pids)), what="all children are gone", timeout_seconds=5
    )
    cluster.start()
    assert stored(cluster) == ITEM
    cluster.stop()


def test_process_that_cannot_start_ends_up_with_its_words_and_without_the_others(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """A node's log is damaged: the start fails as a whole, and says which and why."""
    cluster = own_cluster()
    cluster.start()
    cluster.stop()
    (cluster.data_dir / "nodes" / "b1" / "log" / "data.mdb").write_bytes(b"rubbish")

    cluster.spawn()
    process = cluster.process
    assert process is not None
    code = process.wait(30)
    cluster.process = None

    assert code == 1
    assert "b1 ended with exit code 3 while the cluster was starting" in cluster.output()
    for folder in (cluster.data_dir / "run").glob("*.pid"):
        pytest.fail(f"{folder} is left behind")


def test_cluster_starts_without_the_node_whose_disk_was_lost_and_says_what_to_do(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster(partitions=2)
    cluster.start()
    cluster.stop()
    shutil.rmtree(cluster.data_dir / "nodes" / "b1")

    cluster.start()

    assert cluster.wait_ended("b1") == "ended with exit code 4"
    wait_until(
        lambda: "b1 does not take part: " in cluster.output(),
        what="it is told that b1 does not take part",
        timeout_seconds=10,
    )
    assert "quorate node replace b1 b1" in cluster.output()
    cluster.wait_ready()
    cluster.stop()
