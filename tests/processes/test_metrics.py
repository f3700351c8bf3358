"""What processes tell Prometheus and probes, read from a cluster that runs."""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics

from node.exits import REFUSED_EXIT
from quorate.local import admin_http
from quorate.local.background import BackgroundCluster, free_ports, wait_until
from quorate.local.processes import plan_node
from quorate.local.topology import HOST, new_topology
from tests.deploy.metric_names import in_dashboard, in_document, in_rules
from tests.processes.metrics_page import page, scrape, value, write
from tests.prometheus_programs import program, run

SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}


def names_in(families: dict[str, Metric]) -> set[str]:
    """Return the names that an expression may use."""
    return {
        family.name + suffix for family in families.values() for suffix in SUFFIXES[family.type]
    }


def groups(cluster: BackgroundCluster) -> list[str]:
    return [str(partition["id"]) for partition in cluster.status()["partitions"]]


def wait_until_nodes_are_ready(cluster: BackgroundCluster) -> None:
    def are_ready() -> bool:
        try:
            pages = [page(cluster, name, "/ready") for name in ("a1", "b1", "c1")]
        except admin_http.AdminUnreachable:
            return False  # one is starting
        return all(each == (200, "ready\n") for each in pages)

    wait_until(are_ready, what="all nodes are ready", timeout_seconds=30)


def test_rules_and_dashboard_use_metrics_that_are_there_and_the_document_names_all(
    cluster: BackgroundCluster,
) -> None:
    write(cluster, 3)

    node, router = scrape(cluster, "a1"), scrape(cluster, "r1")

    shown = names_in(node) | names_in(router)
    assert in_rules() <= shown
    assert in_dashboard() <= shown
    ours = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in (*node.values(), *router.values())
        if family.name.startswith("quorate_")
    }
    assert ours == in_document()


def test_metrics_keep_to_the_conventions(cluster: BackgroundCluster) -> None:
    for name in ("a1", "r1"):
        _, text = page(cluster, name, "/metrics")
        run(program("promtool"), "check", "metrics", text=text)


def test_openmetrics_is_what_it_says_it_is(cluster: BackgroundCluster) -> None:
    write(cluster, 3)
    for name in ("a1", "r1"):
        port = cluster.processes()[name].ports["admin"]
        asked = urllib.request.Request(
            f"http://{HOST}:{port}/metrics",
            headers={"Accept": "application/openmetrics-text; version=1.0.0"},
        )
        with urllib.request.urlopen(asked, timeout=10) as answer:
            text = answer.read().decode()
        found = list(openmetrics.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
        assert {family.name for family in found} == scrape(cluster, name).keys()


def test_a_write_shows_in_the_metrics_of_its_nodes(cluster: BackgroundCluster) -> None:
    def entries() -> float:
        return sum(
            value(cluster, name, "quorate_node_log_commit_entries_sum")
            for name in ("a1", "b1", "c1")
        )

    wait_until_nodes_are_ready(cluster)
    before = entries()
    write(cluster, 10)

    # Ten entries, one after the other, and each on at least two disks before its answer.
    assert entries() >= before + 20
    for name in ("a1", "b1", "c1"):
        assert value(cluster, name, "quorate_node_log_commit_duration_seconds_sum") > 0
        assert value(cluster, name, "quorate_node_log_commit_size_bytes_sum") > 0
        assert value(cluster, name, "quorate_node_loop_delay_seconds_count") > 0
        assert value(cluster, name, "quorate_node_ready") == 1
        assert value(cluster, name, "quorate_node_log_size_bytes") > 0
    assert value(cluster, "r1", "quorate_router_ready") == 1


def test_a_node_tells_how_far_its_peers_are(cluster: BackgroundCluster) -> None:
    wait_until_nodes_are_ready(cluster)

    found = {
        sample.labels["peer"]: sample.value
        for sample in scrape(cluster, "a1")["quorate_node_peer_round_trip_seconds"].samples
    }

    assert found.keys() == {"b1", "c1"}
    assert all(0 < seconds < 2 for seconds in found.values())
    assert value(cluster, "a1", "quorate_node_members") == 3


def test_each_group_has_one_leader_which_sees_all_voters(cluster: BackgroundCluster) -> None:
    scrapes = [scrape(cluster, name) for name in ("a1", "b1", "c1")]

    for group in (*groups(cluster), "0"):
        voters = [
            sample.value
            for families in scrapes
            for sample in families["quorate_node_group_active_voters"].samples
            if sample.labels == {"group": group}
        ]
        leads = [
            sample.value
            for families in scrapes
            for sample in families["quorate_node_group_is_leader"].samples
            if sample.labels == {"group": group}
        ]
        assert sorted(leads) == [0, 0, 1]
        assert voters == [3]


def test_node_without_a_quorum_is_alive_and_not_ready_and_is_ready_once_it_has_one(
    cluster: BackgroundCluster,
) -> None:
    cluster.kill("b1")
    wait_until(
        lambda: value(cluster, "a1", "quorate_node_peer_stream_up", peer="b1") == 0,
        what="a1 tells that b1 is gone",
        timeout_seconds=10,
    )

    def lost(name: str) -> bool:
        """Whether every leader on this node misses one voter."""
        active = scrape(cluster, name)["quorate_node_group_active_voters"].samples
        return all(sample.value == 2 for sample in active)

    wait_until(
        lambda: lost("a1") and lost("c1"), what="leaders tell of two voters", timeout_seconds=10
    )

    cluster.kill("c1")
    wait_until(
        lambda: page(cluster, "a1", "/ready")[0] == 503, what="a1 unready", timeout_seconds=10
    )
    assert page(cluster, "a1", "/health") == (200, "ok\n")
    every = [*groups(cluster), "0"]
    wait_until(
        lambda: (
            not any(
                value(cluster, "a1", "quorate_node_group_has_leader", group=group)
                for group in every
            )
        ),
        what="a1 knows no leader of any group",
        timeout_seconds=10,
    )
    assert "group 0: no leader is known" in page(cluster, "a1", "/ready")[1]
    assert value(cluster, "a1", "quorate_node_ready") == 0

    cluster.restart("b1")
    cluster.restart("c1")
    wait_until_nodes_are_ready(cluster)


def test_a_scrape_does_not_need_the_quorum_or_the_catalog(cluster: BackgroundCluster) -> None:
    """The page of a node that has lost its peers is as long as ever: it is needed most then."""
    before = scrape(cluster, "c1").keys()
    cluster.kill("a1")
    cluster.kill("b1")

    assert scrape(cluster, "c1").keys() == before
    assert page(cluster, "c1", "/nothing")[0] == 404


def test_node_list_says_where_the_admin_faces_are(cluster: BackgroundCluster) -> None:
    ports = {name: view.ports for name, view in cluster.processes().items()}

    assert all("admin" in faces for faces in ports.values())
    assert len({faces["admin"] for faces in ports.values()}) == len(ports)


def lone_node(data_dir: Path, admin_port: int) -> list[str]:
    """Return the command line of the first node of a cluster whose others never come."""
    topology = new_topology(1, 3, free_ports(3))
    plan = plan_node(
        topology,
        topology.nodes[0],
        admin_port=admin_port,
        data_dir=data_dir,
        parent_pid=os.getpid(),
        log_level="info",
    )
    return list(plan.arguments)


def test_node_that_waits_for_the_others_is_alive_and_not_ready(tmp_path: Path) -> None:
    (admin_port,) = free_ports(1)

    def ask(path: str) -> tuple[int, bytes]:
        try:
            return admin_http.get(f"{HOST}:{admin_port}", path)
        except admin_http.AdminUnreachable:
            return 0, b""  # not yet

    with subprocess.Popen(lone_node(tmp_path, admin_port), stderr=subprocess.DEVNULL) as node:
        try:
            wait_until(lambda: ask("/health")[0] == 200, what="it is alive", timeout_seconds=20)
            assert ask("/ready") == (503, b"it does not take part yet\n")
            status, text = ask("/metrics")
            assert status == 200
            (ready,) = re.findall(rb"^quorate_node_ready\{.*\} (.*)$", text, re.MULTILINE)
            assert ready == b"0.0"
            assert b"quorate_node_build_info" in text
            assert b"quorate_node_group" not in text
        finally:
            node.terminate()
    assert node.returncode == 0


def test_node_whose_admin_address_is_taken_says_so_and_ends(
    cluster: BackgroundCluster, tmp_path: Path
) -> None:
    taken = cluster.processes()["a1"].ports["admin"]

    refused = subprocess.run(
        lone_node(tmp_path, taken), capture_output=True, text=True, timeout=30, check=False
    )

    assert refused.returncode == REFUSED_EXIT
    (sentence,) = refused.stderr.strip().splitlines()[-1:]
    assert f"cannot listen on {HOST}:{taken} for admin" in sentence
