"""Which nodes there are in the beginning, and what they hold."""

from __future__ import annotations

from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.cluster.placement import place_partitions
from tests.sim.options import Options


def first_catalog(options: Options) -> Catalog:
    """Return what the first leader of the catalog's group proposes."""
    azs = [az for az, count in enumerate(options.cluster, start=1) for _ in range(count)]
    nodes = tuple(
        NodeRecord(
            id=number,
            name=f"n{number}",
            az=f"az-{az}",
            address=f"n{number}:1",
            incarnation=f"n{number}/1",
        )
        for number, az in enumerate(azs, start=1)
    )
    return Catalog(
        cluster_id="sim", nodes=nodes, partitions=place_partitions(options.partitions, nodes)
    )


def names_of_items(options: Options) -> list[str]:
    """Return the names in the main table: some in collections, some alone."""
    return [
        f"c{number % options.collections}#{number}" if number % 2 else f"k{number}"
        for number in range(options.keys)
    ]
