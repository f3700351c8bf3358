"""Makes the fixtures of a format with the release that has it: `python -m tests.compatibility`.

It starts a cluster of real processes. Do this once for a format; what is there is not overwritten.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.json_format import MessageToDict

from quorate.local.background import BackgroundCluster
from tests.compatibility.messages import files, filled, kinds
from tests.compatibility.paths import (
    CLUSTER,
    CONTENTS,
    FORMAT,
    MESSAGES,
    PACKED_BYTES_MAX,
    PROTOS,
)
from tests.processes.conftest import dynamodb

VALUES: dict[str, Any] = {
    "text": {"S": "Sinnerman ✓"},
    "number": {"N": "-12345678901234567890123456789.123456789"},
    "bytes": {"B": b"\x00\xff"},
    "true": {"BOOL": True},
    "nothing": {"NULL": True},
    "texts": {"SS": ["a", "b"]},
    "numbers": {"NS": ["1", "2.5"]},
    "list": {"L": [{"S": "x"}, {"M": {"deep": {"N": "1"}}}]},
    "map": {"M": {"a": {"L": []}, "b": {"S": ""}}},
}


def make_table(client: Any, name: str, *, sorted_by: str = "") -> None:
    """Create a table with the text key `id`, and a number to sort by if its name is given."""
    keys = [("id", "HASH", "S")] + ([(sorted_by, "RANGE", "N")] if sorted_by else [])
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind, _ in keys],
        AttributeDefinitions=[
            {"AttributeName": key, "AttributeType": value_type} for key, _, value_type in keys
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    client.get_waiter("table_exists").wait(TableName=name)


def write(client: Any, cluster: BackgroundCluster) -> None:
    """Leave a trace of everything that entries, items and states can hold."""
    make_table(client, "flat")
    make_table(client, "sorted", sorted_by="at")
    make_table(client, "dropped")
    for number in range(60):
        item = {"id": {"S": f"k{number}"}, **VALUES, "number": {"N": str(number)}}
        client.put_item(TableName="flat", Item=item)
        key = {"id": {"S": f"g{number % 3}"}, "at": {"N": str(number - 30)}}
        client.put_item(TableName="sorted", Item={**key, **VALUES})
        client.put_item(TableName="dropped", Item={"id": {"S": str(number)}})
    cluster.restart("b1")  # what is before this is in its tree, too
    cluster.wait_all_ready()
    for number in range(0, 60, 3):
        client.delete_item(TableName="flat", Key={"id": {"S": f"k{number}"}})
        client.update_item(
            TableName="flat",
            Key={"id": {"S": f"k{number + 1}"}},
            UpdateExpression="SET counted = if_not_exists(counted, :one) + :one REMOVE nothing",
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="ALL_NEW",
        )
        try:
            client.put_item(
                TableName="flat",
                Item={"id": {"S": f"k{number + 2}"}},
                ConditionExpression="attribute_not_exists(id)",
            )
        except client.exceptions.ConditionalCheckFailedException:
            continue
        raise AssertionError("the item is there")
    client.delete_table(TableName="dropped")
    client.get_waiter("table_not_exists").wait(TableName="dropped")


def contents(client: Any) -> dict[str, list[Any]]:
    """Return every item of every table, in an order of its own; bytes as hexadecimal text."""
    found = {}
    for name in sorted(client.list_tables()["TableNames"]):
        items = client.scan(TableName=name, ConsistentRead=True)["Items"]
        as_json = [
            json.loads(json.dumps(item, default=bytes.hex, sort_keys=True)) for item in items
        ]
        found[name] = sorted(as_json, key=json.dumps)
    return found


def make_cluster(folder: Path) -> None:
    """Run a cluster and pack its directory."""
    data = folder / "data"
    cluster = BackgroundCluster(data, partitions=2)
    with cluster:
        client = dynamodb(cluster.http_url, attempts_max=4)
        write(client, cluster)
        CONTENTS.write_text(json.dumps(contents(client), indent=1, sort_keys=True) + "\n")
        client.close()
        cluster.signal("a1", signal.SIGTERM)
        cluster.wait_ended("a1")
        cluster.stop(signal.SIGKILL)
    shutil.rmtree(data / "run", ignore_errors=True)
    for lock in data.rglob("lock*"):
        lock.unlink()
    with tarfile.open(CLUSTER, "w:xz") as packed:
        packed.add(data, "data")
    if CLUSTER.stat().st_size > PACKED_BYTES_MAX:
        sys.exit(f"{CLUSTER} has {CLUSTER.stat().st_size} bytes: too many for every clone")


def make_messages() -> None:
    """Write one message of each kind, and the definitions."""
    rows = {}
    for descriptor in kinds():
        message = filled(descriptor)
        rows[descriptor.full_name] = {
            "bytes": message.SerializeToString(deterministic=True).hex(),
            "means": MessageToDict(message, preserving_proto_field_name=True),
        }
    MESSAGES.write_text(json.dumps(rows, indent=1) + "\n")
    PROTOS.write_bytes(definitions().SerializeToString(deterministic=True))


def definitions() -> FileDescriptorSet:
    """Return the definitions of this release."""
    found = FileDescriptorSet()
    for file in files():
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        found.file.append(proto)
    return found


def main() -> None:
    """Make what is not there."""
    if FORMAT.exists():
        sys.exit(f"{FORMAT} is there: fixtures are made once, a new format gets a new folder")
    FORMAT.mkdir()
    make_messages()
    with tempfile.TemporaryDirectory(prefix="quorate-format-") as folder:
        make_cluster(Path(folder))


if __name__ == "__main__":
    main()
