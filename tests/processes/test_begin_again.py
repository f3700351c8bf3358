"""docs/INCIDENTS.md, "Two disks are lost": what the third node has is copied into a new cluster."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from quorate.local.background import BackgroundCluster
from tests.processes.conftest import TABLE, dynamodb, make_table

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs/INCIDENTS.md"
COUNT: Final = 1_100  # more than a batch of the script


def script() -> str:
    """Return the document's own."""
    (found,) = re.findall(r"   ```python\n(.*?)   ```", DOCUMENT.read_text(), re.DOTALL)
    return re.sub(r"^   ", "", found, flags=re.MULTILINE)


def items(client: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for page in client.get_paginator("scan").paginate(TableName=TABLE):
        found |= {item["id"]["S"]: item["value"]["N"] for item in page["Items"]}
    return found


def test_what_the_third_node_has_begins_a_new_cluster(
    own_cluster: Callable[..., BackgroundCluster], tmp_path: Path
) -> None:
    old, new = own_cluster("old", partitions=3), own_cluster("new", partitions=3)
    old.start()
    make_table(old, TABLE)
    client = dynamodb(old.http_url)
    written = {f"id-{number}": str(number) for number in range(COUNT)}
    entries = [
        {"PutRequest": {"Item": {"group": {"S": "g"}, "id": {"S": key}, "value": {"N": value}}}}
        for key, value in written.items()
    ]
    for start in range(0, COUNT, 25):
        client.batch_write_item(RequestItems={TABLE: entries[start : start + 25]})
    client.close()
    old.wait_healthy()  # nobody is behind
    for node in ("b1", "c1"):
        old.kill(node)
        shutil.rmtree(old.data_dir / "nodes" / node)
    new.start()
    program = tmp_path / "begin_again.py"
    program.write_text(script())

    ended = subprocess.run(
        [sys.executable, str(program), old.grpc_address, new.grpc_address],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{TABLE} {COUNT}\n"
    client = dynamodb(new.http_url)
    assert items(client) == written
    client.close()
    new.stop()


def test_copy_of_all_stopped_nodes_brings_back_what_it_had(
    own_cluster: Callable[..., BackgroundCluster], tmp_path: Path
) -> None:
    """docs/OPERATIONS.md, "Backup and restore"."""
    cluster = own_cluster(partitions=3)
    cluster.start()
    make_table(cluster, TABLE)

    def put(name: str) -> None:
        client = dynamodb(cluster.http_url)
        item = {"group": {"S": "g"}, "id": {"S": name}, "value": {"N": "1"}}
        client.put_item(TableName=TABLE, Item=item)
        client.close()

    put("before")
    cluster.stop()
    nodes, kept = cluster.data_dir / "nodes", tmp_path / "kept"
    subprocess.run(["cp", "-a", "--sparse=always", str(nodes), str(kept)], check=True)
    cluster.start()
    put("after")
    cluster.stop()
    shutil.rmtree(nodes)
    subprocess.run(["cp", "-a", "--sparse=always", str(kept), str(nodes)], check=True)
    cluster.start()

    client = dynamodb(cluster.http_url)
    assert items(client) == {"before": "1"}
    client.close()
    put("again")
    cluster.stop()
