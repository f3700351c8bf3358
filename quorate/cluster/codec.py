"""The catalog between its wire form and its plain form."""

from __future__ import annotations

from quorate.cluster.catalog import Catalog, NodeRecord, PartitionRecord, TableRecord
from quorate.v1 import catalog_pb2


def encode_catalog(catalog: Catalog) -> catalog_pb2.Catalog:
    """Return the wire form of a catalog."""
    return catalog_pb2.Catalog(
        epoch=catalog.epoch,
        cluster_id=catalog.cluster_id,
        next_table_id=catalog.next_table_id,
        tables=[
            catalog_pb2.Table(id=table.id, name=table.name, definition=table.definition)
            for table in catalog.tables
        ],
        nodes=[
            catalog_pb2.Node(
                id=node.id,
                name=node.name,
                az=node.az,
                address=node.address,
                incarnation=node.incarnation,
                replacement=node.replacement,
            )
            for node in catalog.nodes
        ],
        partitions=[
            catalog_pb2.Partition(
                id=partition.id, low_token=partition.low_token, replicas=partition.replicas
            )
            for partition in catalog.partitions
        ],
        next_node_id=catalog.next_node_id,
        catalog_replicas=catalog.catalog_replicas,
    )


def decode_catalog(message: catalog_pb2.Catalog) -> Catalog:
    """Return the plain form of a catalog; the pair of `encode_catalog`."""
    return Catalog(
        epoch=message.epoch,
        cluster_id=message.cluster_id,
        next_table_id=message.next_table_id,
        tables=tuple(
            TableRecord(id=table.id, name=table.name, definition=table.definition)
            for table in message.tables
        ),
        nodes=tuple(
            NodeRecord(
                id=node.id,
                name=node.name,
                az=node.az,
                address=node.address,
                incarnation=node.incarnation,
                replacement=node.replacement,
            )
            for node in message.nodes
        ),
        partitions=tuple(
            PartitionRecord(
                id=partition.id,
                low_token=partition.low_token,
                replicas=tuple(partition.replicas),
            )
            for partition in message.partitions
        ),
        next_node_id=message.next_node_id,
        catalog_replicas=tuple(message.catalog_replicas),
    )
