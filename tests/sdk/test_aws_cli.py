"""The AWS CLI, from a virtual environment of its own: its botocore and boto3's do not mix."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from quorate.local.background import BackgroundCluster

AWS = Path(__file__).parents[2] / ".venv-awscli" / "bin" / "aws"

pytestmark = pytest.mark.skipif(
    not AWS.exists(), reason=f"the AWS CLI is not in {AWS.parent}: `make test` puts it there"
)


class Cli:
    """Runs `aws dynamodb ...` against the cluster."""

    def __init__(self, cluster: BackgroundCluster, home: Path) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ENDPOINT_URL_DYNAMODB": cluster.http_url,
            "AWS_REGION": "local",
            "AWS_DEFAULT_REGION": "local",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_PAGER": "",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(AWS.parent / "python"), str(AWS), "dynamodb", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ask(self, *arguments: str) -> Any:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture
def cli(cluster: BackgroundCluster, tmp_path: Path) -> Cli:
    return Cli(cluster, tmp_path)


def test_cli_writes_reads_counts_and_deletes(cli: Cli) -> None:
    """The commands that DynamoDB's own tutorial shows, in its order."""
    table = f"cli-{uuid4().hex[:8]}"
    key = json.dumps({"id": {"S": "first"}})
    cli.ask(
        *("create-table", "--table-name", table, "--billing-mode", "PAY_PER_REQUEST"),
        *("--attribute-definitions", "AttributeName=id,AttributeType=S"),
        *("--key-schema", "AttributeName=id,KeyType=HASH"),
    )
    cli.ask("wait", "table-exists", "--table-name", table)
    item = {"id": {"S": "first"}, "hits": {"N": "0"}, "tags": {"SS": ["a", "b"]}}
    cli.ask("put-item", "--table-name", table, "--item", json.dumps(item))
    updated = cli.ask(
        *("update-item", "--table-name", table, "--key", key),
        *("--update-expression", "ADD hits :n"),
        *("--expression-attribute-values", json.dumps({":n": {"N": "5"}})),
        *("--return-values", "UPDATED_NEW"),
    )
    got = cli.ask("get-item", "--table-name", table, "--key", key, "--consistent-read")
    refused = cli.run(
        *("put-item", "--table-name", table, "--item", json.dumps(item)),
        *("--condition-expression", "attribute_not_exists(id)"),
    )
    queried = cli.ask(
        *("query", "--table-name", table, "--key-condition-expression", "id = :id"),
        *("--expression-attribute-values", json.dumps({":id": {"S": "first"}})),
        "--consistent-read",
    )
    scanned = cli.ask("scan", "--table-name", table, "--select", "COUNT", "--consistent-read")
    cli.ask("delete-item", "--table-name", table, "--key", key)
    gone = cli.ask("get-item", "--table-name", table, "--key", key, "--consistent-read")
    listed = cli.ask("list-tables")
    cli.ask("delete-table", "--table-name", table)

    assert updated["Attributes"] == {"hits": {"N": "5"}}
    assert got["Item"]["hits"] == {"N": "5"}
    assert sorted(got["Item"]["tags"]["SS"]) == ["a", "b"]
    assert refused.returncode != 0
    assert "ConditionalCheckFailedException" in refused.stderr
    assert queried["Count"] == scanned["Count"] == 1
    assert gone is None
    assert table in listed["TableNames"]


def test_cli_batches(cli: Cli, table: str) -> None:
    puts = [
        {"PutRequest": {"Item": {"artist": {"S": "a"}, "song": {"S": str(number)}}}}
        for number in range(10)
    ]
    written = cli.ask("batch-write-item", "--request-items", json.dumps({table: puts}))
    keys = [{"artist": {"S": "a"}, "song": {"S": str(number)}} for number in range(10)]
    got = cli.ask(
        "batch-get-item",
        "--request-items",
        json.dumps({table: {"Keys": keys, "ConsistentRead": True}}),
    )

    assert written["UnprocessedItems"] == {}
    assert got["UnprocessedKeys"] == {}
