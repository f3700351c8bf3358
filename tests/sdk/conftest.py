"""One cluster for the whole folder, and a table of its own for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from quorate.local.background import BackgroundCluster

CREDENTIALS = {
    "region_name": "local",
    "aws_access_key_id": "any",
    "aws_secret_access_key": "any",
}


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUORATE_GRPC_REFLECTION", "1")
        with BackgroundCluster(tmp_path_factory.mktemp("sdk") / "data") as cluster:
            yield cluster


@pytest.fixture(scope="package")
def dynamodb(cluster: BackgroundCluster) -> Iterator[Any]:
    """A boto3 client; errors are not retried, so that a test sees them."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=cluster.http_url,
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
        **CREDENTIALS,
    )
    yield client
    client.close()


@pytest.fixture(scope="package")
def resource(cluster: BackgroundCluster) -> Iterator[Any]:
    """A boto3 resource as the README's snippet makes it."""
    resource = boto3.resource("dynamodb", endpoint_url=cluster.http_url, **CREDENTIALS)
    yield resource
    resource.meta.client.close()


@pytest.fixture
def table(dynamodb: Any) -> Iterator[str]:
    """Name of a fresh table with a partition key `artist` and a sort key `song`."""
    name = f"sdk-{uuid4().hex[:12]}"
    dynamodb.create_table(
        TableName=name,
        KeySchema=[
            {"AttributeName": "artist", "KeyType": "HASH"},
            {"AttributeName": "song", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "artist", "AttributeType": "S"},
            {"AttributeName": "song", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10}
    )
    yield name
    dynamodb.delete_table(TableName=name)
