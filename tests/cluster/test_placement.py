"""Placement: one replica in each AZ, evenly, and few of them move when a node comes."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from quorate.cluster.catalog import NodeRecord
from quorate.cluster.placement import place_partitions, propose_replicas

AZS = ("az-a", "az-b", "az-c")

# Names differ from example to example, so that no lucky set of names carries the test.
clusters = st.tuples(st.integers(1, 5), st.text("abcdefgh", min_size=1, max_size=4))


def nodes_of(per_az: int, prefix: str = "") -> list[NodeRecord]:
    names = sorted(f"{prefix}{az[-1]}{number}" for az in AZS for number in range(per_az))
    return [
        NodeRecord(id=position, name=name, az=f"az-{name[len(prefix)]}", address="")
        for position, name in enumerate(names, start=1)
    ]


def with_one_more(nodes: list[NodeRecord], az: str) -> list[NodeRecord]:
    return [*nodes, NodeRecord(id=len(nodes) + 1, name=f"new-{az}", az=az, address="")]


@given(clusters, st.integers(1, 64))
def test_every_partition_has_one_replica_in_each_az(cluster: tuple[int, str], count: int) -> None:
    nodes = nodes_of(*cluster)
    az_of = {node.id: node.az for node in nodes}

    partitions = place_partitions(count, nodes)

    assert [partition.id for partition in partitions] == list(range(1, count + 1))
    for partition in partitions:
        assert sorted(az_of[replica] for replica in partition.replicas) == list(AZS)


@given(clusters)
@settings(max_examples=30)
def test_replicas_are_spread_evenly_over_the_nodes_of_an_az(cluster: tuple[int, str]) -> None:
    nodes, count = nodes_of(*cluster), 1000

    held = Counter(
        replica for partition in place_partitions(count, nodes) for replica in partition.replicas
    )

    fair = count / cluster[0]
    assert all(0.6 * fair <= held[node.id] <= 1.4 * fair for node in nodes)


@given(st.integers(3, 60))
def test_preferred_leaders_are_spread_evenly_over_the_azs(count: int) -> None:
    nodes = nodes_of(1)

    leaders = Counter(partition.replicas[0] for partition in place_partitions(count, nodes))

    assert max(leaders.values()) - min(leaders.values()) <= 1
    assert len(leaders) == len(AZS)


@given(clusters, st.sampled_from(AZS))
@settings(max_examples=30)
def test_a_new_node_takes_its_share_from_its_az_and_nothing_else_moves(
    cluster: tuple[int, str], az: str
) -> None:
    before, count = nodes_of(*cluster), 1000
    after = with_one_more(before, az)
    new_id = after[-1].id

    moved = 0
    for partition_id in range(1, count + 1):
        old, new = propose_replicas(partition_id, before), propose_replicas(partition_id, after)
        assert all(old[other] == new[other] for other in AZS if other != az)
        if old[az] != new[az]:
            assert new[az] == new_id
            moved += 1

    fair = count / (cluster[0] + 1)
    assert 0.6 * fair <= moved <= 1.4 * fair


@given(clusters, st.integers(1, 30), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_does_not_matter(
    cluster: tuple[int, str], partition_id: int, rng: Random
) -> None:
    nodes = nodes_of(*cluster)
    shuffled = list(nodes)
    rng.shuffle(shuffled)

    assert propose_replicas(partition_id, shuffled) == propose_replicas(partition_id, nodes)


def test_placement_is_the_same_in_every_release() -> None:
    """Golden values: a change here would move data on every cluster that asks again."""
    nodes = nodes_of(2)

    placed = [partition.replicas for partition in place_partitions(6, nodes)]

    assert placed == [(2, 3, 5), (4, 6, 2), (5, 2, 4), (1, 3, 5), (3, 5, 2), (6, 1, 3)]
