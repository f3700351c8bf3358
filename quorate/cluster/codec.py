"""The catalog between its wire form and its plain form."""

from __future__ import annotations

from collections.abc import Iterable

from quorate.cluster.catalog import (
    AccessKeyRecord,
    Catalog,
    Grant,
    NodeRecord,
    PartitionRecord,
    TableRecord,
    UserRecord,
)
from quorate.v1 import catalog_pb2


def encode_catalog(catalog: Catalog) -> catalog_pb2.Catalog:
    """Return the wire form of a catalog."""
    return catalog_pb2.Catalog(
        epoch=catalog.epoch,
        cluster_id=catalog.cluster_id,
        next_table_id=catalog.next_table_id,
        tables=[
            catalog_pb2.Table(
                id=table.id, name=table.name, definition=table.definition, version=table.version
            )
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
                id=partition.id,
                low_token=partition.low_token,
                replicas=partition.replicas,
                moved=partition.moved,
            )
            for partition in catalog.partitions
        ],
        next_node_id=catalog.next_node_id,
        catalog_replicas=catalog.catalog_replicas,
        users=[
            catalog_pb2.User(
                name=user.name,
                access_keys=encode_access_keys(user.access_keys),
                grants=encode_grants(user.grants),
            )
            for user in catalog.users
        ],
        closed=catalog.closed,
    )


def decode_catalog(message: catalog_pb2.Catalog) -> Catalog:
    """Return the plain form of a catalog; the pair of `encode_catalog`."""
    return Catalog(
        epoch=message.epoch,
        cluster_id=message.cluster_id,
        next_table_id=message.next_table_id,
        tables=tuple(
            TableRecord(
                id=table.id, name=table.name, definition=table.definition, version=table.version
            )
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
                moved=partition.moved,
            )
            for partition in message.partitions
        ),
        next_node_id=message.next_node_id,
        catalog_replicas=tuple(message.catalog_replicas),
        users=tuple(
            UserRecord(
                name=user.name,
                access_keys=decode_access_keys(user.access_keys),
                grants=decode_grants(user.grants),
            )
            for user in message.users
        ),
        closed=message.closed,
    )


def encode_access_key(key: AccessKeyRecord) -> catalog_pb2.AccessKey:
    """Return the wire form of an access key."""
    return catalog_pb2.AccessKey(id=key.id, sealed_secret=key.sealed_secret)


def decode_access_key(message: catalog_pb2.AccessKey) -> AccessKeyRecord:
    """Return the plain form of an access key; the pair of `encode_access_key`."""
    return AccessKeyRecord(id=message.id, sealed_secret=message.sealed_secret)


def encode_access_keys(keys: Iterable[AccessKeyRecord]) -> list[catalog_pb2.AccessKey]:
    """Return the wire form of access keys."""
    return [encode_access_key(key) for key in keys]


def decode_access_keys(messages: Iterable[catalog_pb2.AccessKey]) -> tuple[AccessKeyRecord, ...]:
    """Return the plain form of access keys; the pair of `encode_access_keys`."""
    return tuple(decode_access_key(message) for message in messages)


def encode_grants(grants: Iterable[Grant]) -> list[catalog_pb2.Grant]:
    """Return the wire form of grants."""
    return [catalog_pb2.Grant(actions=grant.actions, tables=grant.tables) for grant in grants]


def decode_grants(messages: Iterable[catalog_pb2.Grant]) -> tuple[Grant, ...]:
    """Return the plain form of grants; the pair of `encode_grants`."""
    return tuple(
        Grant(actions=tuple(message.actions), tables=tuple(message.tables)) for message in messages
    )
