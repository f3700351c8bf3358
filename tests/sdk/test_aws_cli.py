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


def test_cli_reads_its_input_from_files_and_prints_what_a_query_selects(
    cli: Cli, table: str, tmp_path: Path
) -> None:
    item = {
        "artist": {"S": "file"},
        "song": {"S": "s0"},
        "plays": {"N": "7"},
        "live": {"BOOL": True},
    }
    (tmp_path / "item.json").write_text(json.dumps(item))
    puts = [
        {"PutRequest": {"Item": {"artist": {"S": "file"}, "song": {"S": f"s{number}"}}}}
        for number in range(1, 10)
    ]
    (tmp_path / "batch.json").write_text(json.dumps({table: puts}))
    request = {
        "TableName": table,
        "KeyConditionExpression": "artist = :a AND begins_with(song, :s)",
        "ExpressionAttributeValues": {":a": {"S": "file"}, ":s": {"S": "s"}},
        "ConsistentRead": True,
    }
    (tmp_path / "query.json").write_text(json.dumps(request))
    key = json.dumps({"artist": {"S": "file"}, "song": {"S": "s0"}})

    cli.ask("put-item", "--table-name", table, "--item", f"file://{tmp_path}/item.json")
    cli.ask("batch-write-item", "--request-items", f"file://{tmp_path}/batch.json")
    plays = cli.run(
        *("get-item", "--table-name", table, "--key", key, "--consistent-read"),
        *("--query", "Item.plays.N", "--output", "text"),
    )
    songs = cli.run(
        *("query", "--cli-input-json", f"file://{tmp_path}/query.json"),
        *("--query", "Items[].song.S", "--output", "text"),
    )
    pretty = cli.run("describe-table", "--table-name", table, "--output", "table")

    assert plays.stdout == "7\n"
    assert songs.stdout.split() == [f"s{number}" for number in range(10)]
    assert "ACTIVE" in pretty.stdout


def test_cli_pages_with_max_items_and_a_starting_token(cli: Cli, table: str) -> None:
    puts = [
        {"PutRequest": {"Item": {"artist": {"S": f"a{number:02}"}, "song": {"S": "x"}}}}
        for number in range(25)
    ]
    cli.ask("batch-write-item", "--request-items", json.dumps({table: puts}))
    scan = ("scan", "--table-name", table, "--consistent-read", "--page-size", "4")

    first = cli.ask(*scan, "--max-items", "10")
    rest = cli.ask(*scan, "--starting-token", first["NextToken"])

    found = [item["artist"]["S"] for item in first["Items"] + rest["Items"]]
    assert len(first["Items"]) == 10
    assert sorted(found) == [f"a{number:02}" for number in range(25)]


def test_cli_updates_and_deletes_under_a_condition(cli: Cli, table: str) -> None:
    key = json.dumps({"artist": {"S": "c"}, "song": {"S": "x"}})
    update = (
        *("update-item", "--table-name", table, "--key", key, "--return-values", "ALL_NEW"),
        *(
            "--update-expression",
            "SET #s = :s",
            "--condition-expression",
            "attribute_not_exists(#s)",
        ),
        *("--expression-attribute-names", json.dumps({"#s": "state"})),
        *("--expression-attribute-values", json.dumps({":s": {"S": "open"}})),
    )

    updated = cli.ask(*update)
    refused = cli.run(*update)
    deleted = cli.ask(
        *("delete-item", "--table-name", table, "--key", key, "--return-values", "ALL_OLD"),
        *("--condition-expression", "#s = :s", "--return-consumed-capacity", "TOTAL"),
        *("--expression-attribute-names", json.dumps({"#s": "state"})),
        *("--expression-attribute-values", json.dumps({":s": {"S": "open"}})),
    )

    assert updated["Attributes"]["state"] == {"S": "open"}
    assert "ConditionalCheckFailedException" in refused.stderr
    assert deleted["Attributes"] == updated["Attributes"]
    assert deleted["ConsumedCapacity"] == {"TableName": table, "CapacityUnits": 1.0}


def test_cli_waits_until_a_table_is_gone_and_is_told_what_is_not_there(cli: Cli) -> None:
    table = f"cli-{uuid4().hex[:8]}"
    cli.ask(
        *("create-table", "--table-name", table),
        *("--attribute-definitions", "AttributeName=id,AttributeType=S"),
        *("--key-schema", "AttributeName=id,KeyType=HASH"),
        *("--provisioned-throughput", "ReadCapacityUnits=1,WriteCapacityUnits=1"),
    )
    cli.ask("wait", "table-exists", "--table-name", table)
    put = [{"Put": {"TableName": table, "Item": {"id": {"S": "x"}}}}]
    transaction = cli.run("transact-write-items", "--transact-items", json.dumps(put))
    cli.ask("delete-table", "--table-name", table)
    cli.ask("wait", "table-not-exists", "--table-name", table)
    described = cli.run("describe-table", "--table-name", table)

    assert "UnknownOperationException" in transaction.stderr
    assert "ResourceNotFoundException" in described.stderr
