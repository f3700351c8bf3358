"""One cluster for all stories that leave it as they found it, and what they need to talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from quorate.local.background import BackgroundCluster

TABLE = "stories"


def make_table(cluster: BackgroundCluster, name: str) -> None:
    """Create a table with the keys `group` and `id`, and wait until it is active."""
    client = dynamodb(cluster.http_url)
    try:
        client.create_table(
            TableName=name,
            KeySchema=[
                {"AttributeName": "group", "KeyType": "HASH"},
                {"AttributeName": "id", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "group", "AttributeType": "S"},
                {"AttributeName": "id", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(
            TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
        )
    finally:
        client.close()


def dynamodb(url: str, *, attempts_max: int = 1) -> Any:
    """Return a boto3 client; with one attempt nothing is retried."""
    return boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name="local",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(
            retries={"total_max_attempts": attempts_max, "mode": "standard"},
            connect_timeout=2,
            read_timeout=10,
            max_pool_connections=64,
        ),
    )


@pytest.fixture(scope="package")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundCluster]:
    cluster = BackgroundCluster(tmp_path_factory.mktemp("shared") / "data", routers=2)
    with cluster:
        make_table(cluster, TABLE)
        yield cluster


@pytest.fixture
def cluster(shared_cluster: BackgroundCluster) -> Iterator[BackgroundCluster]:
    """The shared cluster; whatever a story kills or pauses runs again after it."""
    yield shared_cluster
    heal(shared_cluster)


def heal(cluster: BackgroundCluster) -> None:
    """Resume and restart what is not running, and wait until no replica lags."""
    for process in cluster.processes().values():
        if process.state == "paused":
            cluster.resume(process.name)
        elif process.pid is None:
            cluster.restart(process.name)
    cluster.wait_healthy()


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Callable[..., BackgroundCluster]]:
    """Make clusters that a story may ruin; whatever is left of them is killed in the end."""
    made: list[BackgroundCluster] = []

    def make(name: str = "data", **options: Any) -> BackgroundCluster:
        cluster = BackgroundCluster(tmp_path / name, **options)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        if cluster.process is not None:
            cluster.process.kill()
            cluster.process.wait()
            cluster.process = None
