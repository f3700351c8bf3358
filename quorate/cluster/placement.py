"""Which nodes hold a partition: consistent hashing with virtual nodes, within each AZ.

Adding a node to an AZ moves about 1/n of that AZ's replicas to it and nothing in the others.
Hashing only proposes; the catalog stores what was chosen.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from quorate.cluster.catalog import NodeRecord, PartitionRecord
from quorate.cluster.ring import equal_arcs

VIRTUAL_NODES: Final = 128
"""Points each node has on its AZ's placement circle. Ours: keeps shares within some 20 %."""


def _point(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=64)
def _circle(members: tuple[tuple[str, int], ...]) -> list[tuple[int, int]]:
    """Return the sorted (point, node id) of an AZ's nodes, given as (name, id)."""
    return sorted(
        (_point(f"node/{name}/{replica}"), node_id)
        for name, node_id in members
        for replica in range(VIRTUAL_NODES)
    )


def propose_replicas(partition_id: int, nodes: Sequence[NodeRecord]) -> dict[str, int]:
    """Return one node id for each AZ, by AZ name: the first point clockwise of the partition's."""
    position = _point(f"partition/{partition_id}")
    chosen: dict[str, int] = {}
    for az in sorted({node.az for node in nodes}):
        circle = _circle(tuple(sorted((node.name, node.id) for node in nodes if node.az == az)))
        at = bisect_right(circle, (position, 0)) % len(circle)
        chosen[az] = circle[at][1]
    return chosen


def place_partitions(count: int, nodes: Sequence[NodeRecord]) -> tuple[PartitionRecord, ...]:
    """Cut the ring into `count` partitions and place each; leaders rotate over the AZs.

    Shape: partition ids from 1; every partition has one replica in each AZ that has nodes.
    """
    azs = sorted({node.az for node in nodes})
    assert azs, "a cluster has at least one node"
    partitions = []
    for number, low_token in enumerate(equal_arcs(count)):
        by_az = propose_replicas(number + 1, nodes)
        first = number % len(azs)
        replicas = tuple(by_az[az] for az in azs[first:] + azs[:first])
        partitions.append(PartitionRecord(id=number + 1, low_token=low_token, replicas=replicas))
    return tuple(partitions)


def catalog_voters(nodes: Sequence[NodeRecord]) -> tuple[int, ...]:
    """Return the initial nodes that hold the catalog: the first of each AZ by number."""
    first_of_az: dict[str, int] = {}
    for node in sorted(nodes, key=lambda node: node.id):
        first_of_az.setdefault(node.az, node.id)
    return tuple(sorted(first_of_az.values()))
