"""The catalog survives the wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quorate.cluster.catalog import Catalog, NodeRecord, PartitionRecord, TableRecord
from quorate.cluster.codec import decode_catalog, encode_catalog
from quorate.v1 import catalog_pb2

ids = st.integers(1, 2**32 - 1)
names = st.text(max_size=20)
tables = st.builds(TableRecord, id=ids, name=names, definition=st.binary(max_size=50))
nodes = st.builds(NodeRecord, id=ids, name=names, az=names, address=names)
partitions = st.builds(
    PartitionRecord,
    id=ids,
    low_token=st.integers(0, 2**64 - 1),
    replicas=st.lists(ids, max_size=3).map(tuple),
)
catalogs = st.builds(
    Catalog,
    epoch=st.integers(0, 2**64 - 1),
    cluster_id=names,
    next_table_id=ids,
    tables=st.lists(tables, max_size=4).map(tuple),
    nodes=st.lists(nodes, max_size=4).map(tuple),
    partitions=st.lists(partitions, max_size=4).map(tuple),
)


@given(catalogs)
def test_a_catalog_survives_the_wire(catalog: Catalog) -> None:
    wire = encode_catalog(catalog).SerializeToString()

    assert decode_catalog(catalog_pb2.Catalog.FromString(wire)) == catalog


def test_a_catalog_finds_its_records_by_name_and_id() -> None:
    table = TableRecord(id=3, name="music", definition=b"{}", version=2)
    node = NodeRecord(id=1, name="a1", az="az-a", address="h:1")
    partition = PartitionRecord(id=1, low_token=0, replicas=(1,))

    catalog = Catalog(tables=(table,), nodes=(node,), partitions=(partition,))

    assert catalog.table_by_name == {"music": table}
    assert catalog.table_by_id == {3: table}
    assert catalog.node_by_id == {1: node}
    assert catalog.partition_by_id == {1: partition}
