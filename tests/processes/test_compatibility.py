"""A cluster of format 1, as it was left, is started by this release and serves everything."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from quorate.local.background import BackgroundCluster
from tests.compatibility.__main__ import contents
from tests.compatibility.paths import CLUSTER, CONTENTS
from tests.processes.conftest import dynamodb


def test_cluster_of_format_1_goes_on_with_all_it_had(tmp_path: Path) -> None:
    with tarfile.open(CLUSTER) as packed:
        packed.extractall(tmp_path, filter="data")
    with BackgroundCluster(tmp_path / "data") as cluster:
        client = dynamodb(cluster.http_url, attempts_max=4)
        try:
            assert contents(client) == json.loads(CONTENTS.read_text())
            client.put_item(TableName="flat", Item={"id": {"S": "written by this release"}})
        finally:
            client.close()
        cluster.wait_healthy()
