"""From the id that a client is told to the router's line, and on to the entry on three disks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from quorate.local.background import BackgroundCluster, wait_until
from tests.processes.conftest import TABLE, dynamodb, make_table

NODES = ("a1", "b1", "c1")


def test_slow_write_is_found_from_the_client_s_id_to_its_entry(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster(partitions=3)
    cluster.start()
    make_table(cluster, TABLE)
    client = dynamodb(cluster.http_url)
    answers: list[dict[str, Any]] = []

    def write() -> None:
        item = {"group": {"S": "slow"}, "id": {"S": "x"}, "secret": {"S": "hush"}}
        answers.append(client.put_item(TableName=TABLE, Item=item))

    for name in NODES:
        cluster.pause(name)
    writing = threading.Thread(target=write)
    writing.start()
    writing.join(1.2)  # longer than what is logged as slow
    for name in NODES:
        cluster.resume(name)
    writing.join(10)
    client.close()
    (answer,) = answers
    told = answer["ResponseMetadata"]["RequestId"]

    log = cluster.data_dir / "run" / "r1.log"
    wait_until(lambda: "slow_request" in log.read_text(), what="the line", timeout_seconds=5)
    (line,) = [text for text in log.read_text().splitlines() if " slow_request " in text]
    facts = dict(part.split("=", 1) for part in line.split() if "=" in part)
    assert told.startswith(facts["request"].upper())
    assert float(facts["ms"]) > 1000
    assert "hush" not in line

    cluster.stop()
    for name in NODES:
        searched = subprocess.run(
            [sys.executable, "-m", "quorate", "log", "find", told,
             str(cluster.data_dir / "nodes" / name), "--json"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert searched.returncode == 0, searched.stderr
        (found,) = json.loads(searched.stdout)
        assert found["write"] == facts["write"]
        assert found["group"] == int(facts["partition"])
