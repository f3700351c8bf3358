"""Tables of a cluster under measurement, made and changed by plain calls."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from quorate.local.background import BackgroundCluster, partition_of

SECONDS_MAX = 10.0


def call(cluster: BackgroundCluster, operation: str, body: Mapping[str, Any]) -> None:
    """Call an operation of the control plane. Raises HTTPError if it is refused."""
    request = urllib.request.Request(
        cluster.http_url,
        data=json.dumps(body).encode(),
        headers={
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
        },
    )
    with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
        answer.read()


def provisioned(units: int) -> dict[str, Any]:
    """Return what CreateTable and UpdateTable are told for so many units of each kind."""
    each = {"ReadCapacityUnits": units, "WriteCapacityUnits": units}
    return {"BillingMode": "PROVISIONED", "ProvisionedThroughput": each}


def on_demand(units_max: int | None = None) -> dict[str, Any]:
    """Return the same for a table on demand, with a maximum of write units or without."""
    if units_max is None:
        return {"BillingMode": "PAY_PER_REQUEST"}
    most = {"MaxWriteRequestUnits": units_max}
    return {"BillingMode": "PAY_PER_REQUEST", "OnDemandThroughput": most}


def create_table(cluster: BackgroundCluster, name: str, capacity: Mapping[str, Any]) -> None:
    """Create a table with a partition key `id`."""
    keys = {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    }
    call(cluster, "CreateTable", {"TableName": name, **keys, **capacity})


def create_limited_table(cluster: BackgroundCluster, name: str, units: int) -> None:
    """Create a table with so many units and nothing saved up: it was on demand before."""
    create_table(cluster, name, on_demand())
    update_table(cluster, name, provisioned(units))


def update_table(cluster: BackgroundCluster, name: str, capacity: Mapping[str, Any]) -> None:
    """Change a table's capacity."""
    call(cluster, "UpdateTable", {"TableName": name, **capacity})


def key_of_each_partition(cluster: BackgroundCluster, table_name: str) -> dict[int, str]:
    """Return a partition key of a table that lies in each partition."""
    status = cluster.status()
    found: dict[int, str] = {}
    for number in range(10_000):
        key = f"probe-{number}"
        found.setdefault(partition_of(status, table_name, {"S": key}), key)
        if len(found) == len(status["partitions"]):
            return found
    raise AssertionError("a partition has none of ten thousand keys")
