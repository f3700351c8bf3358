"""The stamp in a data directory, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quorate.local.topology import (
    TopologyRefused,
    add_node,
    check_same,
    check_unstamped,
    new_topology,
    node_names,
    read_stamp,
    stamp_path,
    with_admin_ports,
    write_stamp,
)


def test_nodes_are_named_after_their_azs() -> None:
    assert node_names(1) == [("a1", "az-a"), ("b1", "az-b"), ("c1", "az-c")]
    assert [name for name, _ in node_names(2)] == ["a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_stamp_is_read_as_it_was_written(tmp_path: Path) -> None:
    topology = new_topology(2, 24, list(range(10_000, 10_006)))

    write_stamp(tmp_path, topology)

    assert read_stamp(tmp_path) == topology
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]


def test_an_added_node_is_remembered_beside_the_initial_ones(tmp_path: Path) -> None:
    topology = new_topology(1, 12, [10_000, 10_001, 10_002])

    grown = add_node(topology, "d1", "az-b", 10_003)
    write_stamp(tmp_path, grown)

    assert read_stamp(tmp_path) == grown
    assert grown.nodes == topology.nodes
    assert [(node.name, node.az, node.port) for node in grown.added] == [("d1", "az-b", 10_003)]


@pytest.mark.parametrize(
    ("name", "az", "reason"),
    [
        ("a1", "az-a", "there is a node a1 already"),
        ("d1", "az-d", "there is no AZ 'az-d'"),
        ("../d1", "az-a", "no name of a node"),
        ("", "az-a", "no name of a node"),
    ],
)
def test_a_node_that_cannot_be_added_is_refused(name: str, az: str, reason: str) -> None:
    with pytest.raises(TopologyRefused, match=reason):
        add_node(new_topology(1, 12, [10_000, 10_001, 10_002]), name, az, 10_003)


def test_a_stamp_of_a_release_without_added_nodes_is_read(tmp_path: Path) -> None:
    topology = new_topology(1, 12, [10_000, 10_001, 10_002])
    write_stamp(tmp_path, topology)
    document = json.loads(stamp_path(tmp_path).read_text())
    del document["added"]
    stamp_path(tmp_path).write_text(json.dumps(document))

    assert read_stamp(tmp_path) == topology


def test_admin_ports_are_remembered_and_may_be_chosen_anew(tmp_path: Path) -> None:
    topology = with_admin_ports(new_topology(1, 12, [10_000, 10_001, 10_002]), {"a1": 1, "b1": 2})
    grown = add_node(topology, "d1", "az-b", 10_003, 3)

    changed = with_admin_ports(grown, {"b1": 4, "d1": 5})
    write_stamp(tmp_path, changed)

    assert read_stamp(tmp_path) == changed
    assert [node.admin_port for node in changed.all_nodes] == [1, 4, 0, 5]


def test_a_stamp_of_a_release_without_admin_ports_is_read(tmp_path: Path) -> None:
    topology = new_topology(1, 12, [10_000, 10_001, 10_002])
    write_stamp(tmp_path, topology)
    document = json.loads(stamp_path(tmp_path).read_text())
    for node in document["nodes"]:
        del node["admin_port"]
    stamp_path(tmp_path).write_text(json.dumps(document))

    assert read_stamp(tmp_path) == topology


def test_a_directory_without_stamp_has_no_topology(tmp_path: Path) -> None:
    assert read_stamp(tmp_path) is None


def test_two_clusters_have_different_ids() -> None:
    ports = [10_000, 10_001, 10_002]

    assert new_topology(1, 12, ports).cluster_id != new_topology(1, 12, ports).cluster_id


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\x00\x00"])
def test_a_spoilt_stamp_is_refused_by_name(tmp_path: Path, text: str) -> None:
    stamp_path(tmp_path).write_text(text)

    with pytest.raises(TopologyRefused, match=r"cluster\.json cannot be read"):
        read_stamp(tmp_path)


def test_a_stamp_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    stamp_path(tmp_path).write_text(json.dumps({"format": 99}))

    with pytest.raises(TopologyRefused, match="format 99"):
        read_stamp(tmp_path)


def test_another_topology_is_refused_and_none_asks_for_nothing(tmp_path: Path) -> None:
    topology = new_topology(1, 12, [10_000, 10_001, 10_002])

    check_same(topology, data_dir=tmp_path, nodes_per_az=None, partitions=None)
    check_same(topology, data_dir=tmp_path, nodes_per_az=1, partitions=12)
    with pytest.raises(TopologyRefused, match=r"1 node\(s\) per AZ, not 2"):
        check_same(topology, data_dir=tmp_path, nodes_per_az=2, partitions=None)
    with pytest.raises(TopologyRefused, match="12 partitions, not 24"):
        check_same(topology, data_dir=tmp_path, nodes_per_az=None, partitions=24)


def test_a_strangers_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    check_unstamped(tmp_path)

    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(TopologyRefused, match=r"thesis\.tex"):
        check_unstamped(tmp_path)


def test_nodes_without_stamp_are_not_started_over(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()

    with pytest.raises(TopologyRefused, match=r"its cluster\.json is gone"):
        check_unstamped(tmp_path)
