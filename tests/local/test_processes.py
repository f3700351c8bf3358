"""The command lines that a supervisor runs are the ones that the commands take."""

from __future__ import annotations

from pathlib import Path

from quorate.local.processes import ProcessPlan, RouterPorts, plan_node, plan_router
from quorate.local.topology import LocalNode, Topology, add_node, new_topology


def topology() -> Topology:
    return new_topology(1, 12, [17_001, 17_002, 17_003])


def plan(cluster: Topology, node: LocalNode) -> ProcessPlan:
    return plan_node(
        cluster,
        node,
        admin_port=17_009,
        data_dir=Path("/d"),
        parent_pid=7,
        log_level="info",
    )


def test_a_node_is_told_who_it_is_and_who_the_others_are() -> None:
    cluster = topology()

    planned = plan(cluster, cluster.nodes[1])

    assert (planned.name, planned.az, planned.kind) == ("b1", "az-b", "node")
    assert planned.arguments[3:] == (
        *("node", "--parent-pid", "7", "--log-level", "info", "--log-format", "text"),
        *("--name", "b1", "--az", "az-b", "--listen", "127.0.0.1:17002"),
        *("--admin", "127.0.0.1:17009"),
        *("--data-dir", "/d/nodes/b1"),
        *("--cluster-id", cluster.cluster_id, "--partitions", "12"),
        *("--member", "a1=az-a@127.0.0.1:17001"),
        *("--member", "b1=az-b@127.0.0.1:17002"),
        *("--member", "c1=az-c@127.0.0.1:17003"),
    )


def test_an_added_node_joins_the_others_which_are_told_of_it() -> None:
    cluster = add_node(topology(), "d1", "az-b", 17_004)

    added, initial = (
        plan(cluster, node).arguments for node in (cluster.added[0], cluster.nodes[0])
    )

    joined = [added[at + 1] for at, part in enumerate(added) if part == "--join"]
    assert joined == ["127.0.0.1:17001", "127.0.0.1:17002", "127.0.0.1:17003"]
    assert "--member" not in added
    assert initial[initial.index("--join") + 1] == "127.0.0.1:17004"
    assert initial.count("--member") == 3


def test_routers_go_round_the_azs_and_know_all_nodes() -> None:
    cluster = topology()
    ports = RouterPorts(http=8000, grpc=8001, admin=8002)

    plans = [
        plan_router(
            cluster,
            number,
            ports,
            key_file=Path("k"),
            certificate=None,
            parent_pid=7,
            log_level="info",
        )
        for number in (1, 2, 3, 4)
    ]

    assert [(plan.name, plan.az) for plan in plans] == [
        ("r1", "az-a"),
        ("r2", "az-b"),
        ("r3", "az-c"),
        ("r4", "az-a"),
    ]
    nodes = [
        plans[0].arguments[at + 1] for at, part in enumerate(plans[0].arguments) if part == "--node"
    ]
    assert nodes == ["127.0.0.1:17001", "127.0.0.1:17002", "127.0.0.1:17003"]
