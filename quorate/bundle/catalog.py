"""The catalog as a document without anything that opens something."""

from __future__ import annotations

import json

from quorate.cluster.catalog import Catalog, TableRecord, UserRecord


def describe_catalog(catalog: Catalog) -> dict[str, object]:
    """Return a catalog field by field, so that what is added to it is not sent by itself."""
    return {
        "epoch": catalog.epoch,
        "cluster_id": catalog.cluster_id,
        "next_table_id": catalog.next_table_id,
        "next_node_id": catalog.next_node_id,
        "catalog_replicas": list(catalog.catalog_replicas),
        "nodes": [
            {
                "id": node.id,
                "name": node.name,
                "az": node.az,
                "address": node.address,
                "incarnation": node.incarnation,
                "replacement": node.replacement,
            }
            for node in catalog.nodes
        ],
        "partitions": [
            {
                "id": partition.id,
                "low_token": partition.low_token,
                "replicas": list(partition.replicas),
                "moved": partition.moved,
            }
            for partition in catalog.partitions
        ],
        "tables": [_describe_table(table) for table in catalog.tables],
        "users": [_describe_user(user) for user in catalog.users],
        "closed": catalog.closed,
    }


def _describe_table(table: TableRecord) -> dict[str, object]:
    try:
        definition = json.loads(table.definition)
    except ValueError:
        definition = f"{len(table.definition)} bytes that are no JSON"
    return {
        "id": table.id,
        "name": table.name,
        "version": table.version,
        "definition": definition,
    }


def _describe_user(user: UserRecord) -> dict[str, object]:
    """Return what a user may do; of the keys, only how many there are."""
    return {
        "name": user.name,
        "access_keys": len(user.access_keys),
        "grants": [
            {"actions": list(grant.actions), "tables": list(grant.tables)} for grant in user.grants
        ],
    }
