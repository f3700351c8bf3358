"""Directories: wiped, in use, held by another cluster. One sentence, a code, nothing harmed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from uuid import uuid4

from node.storage.log import LogStore
from quorate.local.background import BackgroundCluster, free_ports
from quorate.local.processes import plan_node
from quorate.local.topology import HOST, read_stamp
from tests.processes.conftest import TABLE, dynamodb

IDENTITY_EXIT = 4
IN_USE_EXIT = 5
REFUSED_EXIT = 2


def put(cluster: BackgroundCluster, group: str) -> None:
    client = dynamodb(cluster.http_url, attempts_max=5)
    try:
        client.put_item(TableName=TABLE, Item={"group": {"S": group}, "id": {"S": "x"}})
        found = client.get_item(
            TableName=TABLE, Key={"group": {"S": group}, "id": {"S": "x"}}, ConsistentRead=True
        )
    finally:
        client.close()
    assert "Item" in found


def put_everywhere(cluster: BackgroundCluster) -> None:
    """Write and read keys all over the ring."""
    run = uuid4().hex
    for number in range(20):
        put(cluster, f"{run}-{number}")


def run_up(cluster: BackgroundCluster) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        cluster.command(), capture_output=True, text=True, timeout=30, check=False
    )


def test_wiped_node_is_refused_and_the_others_go_on(cluster: BackgroundCluster) -> None:
    """An empty disk must not vote under the old name: it may have voted, or acknowledged."""
    directory = cluster.data_dir / "nodes" / "b1"
    aside = cluster.data_dir / "nodes" / "b1.aside"
    cluster.kill("b1")
    directory.rename(aside)
    try:
        cluster.restart("b1")
        ended = cluster.wait_ended("b1")
        log = (cluster.data_dir / "run" / "b1.log").read_text()
        put_everywhere(cluster)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        aside.rename(directory)

    assert ended == f"ended with exit code {IDENTITY_EXIT}"
    sentence = log.splitlines()[-1]
    assert sentence.startswith("quorate node: ")
    assert "Traceback" not in log


def test_a_data_directory_is_its_owners_alone(cluster: BackgroundCluster) -> None:
    """Items, keys in logs, the start's token: no other user of the machine may read them."""
    directory = cluster.data_dir / "nodes" / "b1"
    cluster.kill("b1")
    directory.chmod(0o755)
    (directory / "items" / "data.mdb").chmod(0o644)

    cluster.restart("b1")
    cluster.wait_healthy()

    log = (cluster.data_dir / "run" / "b1.log").read_text()
    assert "directory_closed_to_others" in log
    everything = [cluster.data_dir, *cluster.data_dir.rglob("*")]
    assert [path for path in everything if path.stat().st_mode & 0o077] == []


def test_second_process_on_a_nodes_directory_ends_and_the_first_is_unharmed(
    cluster: BackgroundCluster,
) -> None:
    """S56."""
    topology = read_stamp(cluster.data_dir)
    assert topology is not None
    pid = cluster.pid_of("a1")
    plan = plan_node(
        topology,
        topology.nodes[0],
        admin_port=free_ports(1)[0],
        data_dir=cluster.data_dir,
        parent_pid=os.getpid(),
        log_level="info",
    )

    second = subprocess.run(plan.arguments, capture_output=True, text=True, timeout=30, check=False)

    assert second.returncode == IN_USE_EXIT
    assert second.stdout == ""
    assert len(second.stderr.strip().splitlines()) == 1
    assert cluster.pid_of("a1") == pid
    put_everywhere(cluster)


def test_second_up_on_a_data_directory_is_refused_and_the_first_is_unharmed(
    cluster: BackgroundCluster,
) -> None:
    second = run_up(BackgroundCluster(cluster.data_dir))

    assert second.returncode == REFUSED_EXIT
    assert second.stderr.count("\n") == 1
    assert "is held by another running cluster" in second.stderr
    put_everywhere(cluster)


def test_up_names_the_port_that_is_in_use_and_leaves_nothing_behind(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster()
    with socket.create_server((HOST, cluster.public.http)):
        refused = run_up(cluster)

    assert refused.returncode == REFUSED_EXIT
    assert refused.stderr.count("\n") == 1
    assert f"port {cluster.public.http} (DynamoDB HTTP) is in use" in refused.stderr
    assert not cluster.data_dir.exists()


def test_up_names_a_settled_node_port_that_is_in_use(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster(partitions=1)
    cluster.start()
    port = cluster.processes()["b1"].ports["node"]
    cluster.stop()
    with socket.create_server((HOST, port)):
        refused = run_up(cluster)

    assert refused.returncode == REFUSED_EXIT
    assert f"port {port} (of node b1" in refused.stderr


def test_up_refuses_a_folder_that_is_not_a_clusters(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster()
    cluster.data_dir.mkdir()
    (cluster.data_dir / "thesis.txt").write_text("mine")

    refused = run_up(cluster)

    assert refused.returncode == REFUSED_EXIT
    assert "thesis.txt" in refused.stderr
    assert [path.name for path in cluster.data_dir.iterdir() if path.name != "run"] == [
        "thesis.txt"
    ]


def test_node_with_the_directory_of_another_cluster_is_refused(
    cluster: BackgroundCluster, own_cluster: Callable[..., BackgroundCluster]
) -> None:
    """Two clusters that meet in one directory would mix their logs."""
    topology = read_stamp(cluster.data_dir)
    assert topology is not None
    stranger = own_cluster().data_dir
    (stranger / "nodes").mkdir(parents=True)
    cluster.kill("c1")
    shutil.copytree(cluster.data_dir / "nodes" / "c1", stranger / "nodes" / "c1")
    plan = plan_node(
        topology,
        topology.nodes[2],
        admin_port=free_ports(1)[0],
        data_dir=stranger,
        parent_pid=os.getpid(),
        log_level="info",
    )
    arguments = list(plan.arguments)
    arguments[arguments.index("--cluster-id") + 1] = "another-cluster"
    arguments[arguments.index("--listen") + 1] = f"{HOST}:{free_ports(1)[0]}"
    members = [at for at, part in enumerate(arguments) if part.startswith("c1=")]
    arguments[members[0]] = f"c1=az-c@{arguments[arguments.index('--listen') + 1]}"

    refused = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)

    assert refused.returncode == IDENTITY_EXIT
    assert len(refused.stderr.strip().splitlines()) == 1


def test_node_whose_log_is_gone_is_refused_for_good(cluster: BackgroundCluster) -> None:
    """D10: it has forgotten its votes; to start it again would change nothing."""
    log = cluster.data_dir / "nodes" / "c1" / "log"
    aside = cluster.data_dir.with_name("log.aside")
    cluster.kill("c1")
    log.rename(aside)
    try:
        cluster.restart("c1")
        ended = cluster.wait_ended("c1")
        sentence = (cluster.data_dir / "run" / "c1.log").read_text().splitlines()[-1]
    finally:
        aside.rename(log)

    assert ended == f"ended with exit code {IDENTITY_EXIT}"
    assert "log/ is missing" in sentence
    assert "quorate node replace" in sentence


def test_node_with_the_log_of_another_one_is_refused(cluster: BackgroundCluster) -> None:
    """It holds another node's votes: with them this one would vote twice in a term."""
    log = cluster.data_dir / "nodes" / "c1" / "log"
    aside = cluster.data_dir.with_name("log.aside")
    cluster.kill("c1")
    log.rename(aside)
    LogStore.open(log, owner=uuid4().hex).close()
    try:
        cluster.restart("c1")
        ended = cluster.wait_ended("c1")
        sentence = (cluster.data_dir / "run" / "c1.log").read_text().splitlines()[-1]
    finally:
        shutil.rmtree(log)
        aside.rename(log)

    assert ended == f"ended with exit code {IDENTITY_EXIT}"
    assert "log is of another data directory" in sentence
    assert "quorate node replace" in sentence
