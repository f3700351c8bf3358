"""`quorate debug bundle` of a cluster that is half down: what there is, and nothing secret."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import boto3

from quorate.bundle.parts import FOLDER
from quorate.local.background import BackgroundCluster
from tests.processes.conftest import make_table

KEY, VALUE = "partition-key-of-an-item", "attribute-value-of-an-item"


def quorate(cluster: BackgroundCluster, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
    return subprocess.run(
        [sys.executable, "-m", "quorate", *arguments],
        env={
            **clean,
            "QUORATE_ENDPOINT": cluster.grpc_address,
            "QUORATE_DATA_DIR": str(cluster.data_dir),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {
            entry.name.removeprefix(f"{FOLDER}/"): archive.extractfile(entry).read()  # type: ignore[union-attr]
            for entry in archive
        }


def write_items(cluster: BackgroundCluster, key: dict[str, str]) -> None:
    client = boto3.client(
        "dynamodb",
        endpoint_url=cluster.http_url,
        region_name="local",
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )
    for number in range(20):
        item = {"group": {"S": f"{KEY}-{number}"}, "id": {"S": "x"}, "value": {"S": VALUE}}
        client.put_item(TableName="songs", Item=item)
    client.close()


def test_a_bundle_of_a_cluster_that_is_half_down(
    own_cluster: Callable[..., BackgroundCluster], tmp_path: Path
) -> None:
    cluster = own_cluster(secure=True, partitions=3)
    cluster.start()
    make_table(cluster, "songs")
    made = quorate(cluster, "user", "create", "bob", "--allow", "*:songs", "--json")
    key = json.loads(made.stdout)
    write_items(cluster, key)

    whole = quorate(cluster, "debug", "bundle", "--out", tmp_path / "whole.tar.gz")
    assert (whole.returncode, whole.stderr) == (0, "")
    cluster.kill("b1")
    cluster.kill("c1")
    half = quorate(cluster, "debug", "bundle", "--out", tmp_path / "half.tar.gz", "--json")
    assert half.returncode == 0

    parts = contents(tmp_path / "whole.tar.gz")
    assert parts["missing.txt"] == b"nothing\n"
    for name in ("a1", "b1", "c1"):
        assert json.loads(parts[f"nodes/{name}.json"])["name"] == name
        assert b"quorate_node_" in parts[f"processes/{name}/metrics.txt"]
        assert f"--name\n{name}\n".encode() in parts[f"local/{name}/command.txt"]
        assert b"serving" in parts[f"logs/{name}.log"]
    assert b"quorate_router_" in parts["processes/r1/metrics.txt"]
    status = json.loads(parts["processes/r1/status.json"])
    catalog = json.loads(parts["catalog.json"])
    assert catalog["cluster_id"] == status["cluster_id"]
    assert [table["name"] for table in catalog["tables"]] == ["songs"]
    assert [user["name"] for user in catalog["users"]] == ["bob"]
    assert {"versions.json", "host.json", "local/files.txt", "local/cluster.json"} <= set(parts)

    left = contents(tmp_path / "half.tar.gz")
    assert {"nodes/a1.json", "catalog.json", "logs/b1.log", "processes/r1/status.json"} <= set(left)
    assert "nodes/b1.json" not in left
    missing = left["missing.txt"].decode().splitlines()
    assert json.loads(half.stdout)["missing"] == missing
    assert half.stderr.splitlines() == [f"quorate: missing: {sentence}" for sentence in missing]
    for name in ("b1", "c1"):
        assert any(each.startswith(f"{name} does not answer") for each in missing)
        assert any(each.startswith(f"status of node {name}: it does not") for each in missing)
    assert not any("a1" in each for each in missing)

    expect_nothing_secret(cluster, key, {**parts, **{f"half {n}": left[n] for n in left}})
    cluster.stop()


def expect_nothing_secret(
    cluster: BackgroundCluster, key: dict[str, str], parts: dict[str, bytes]
) -> None:
    """No item, no key and no certificate's key, whatever part it might have come by."""
    key_file = (cluster.data_dir / "users.key").read_bytes().strip()
    secrets = [
        key["access_key_id"].encode(),
        key["secret_access_key"].encode(),
        base64.b64encode(key["secret_access_key"].encode()),
        KEY.encode(),
        VALUE.encode(),
        *(line for line in key_file.splitlines() if len(line) > 16),
        b"PRIVATE KEY",
    ]
    assert len(secrets) > 6
    for name, part in parts.items():
        for secret in secrets:
            assert secret not in part, f"{secret!r} is in {name}"


def test_a_bundle_of_a_stopped_cluster_has_its_logs(
    own_cluster: Callable[..., BackgroundCluster], tmp_path: Path
) -> None:
    """It ended with an error, perhaps: what is left on the disk is what there is to look at."""
    cluster = own_cluster(partitions=1)
    cluster.start()
    cluster.stop()
    out = tmp_path / "stopped.tar.gz"
    done = quorate(cluster, "debug", "bundle", "--out", out)

    assert done.returncode == 0
    assert str(out) in done.stdout
    parts = contents(out)
    assert b"stopped" in parts["logs/a1.log"]
    assert "catalog.json" not in parts
    assert "status of the cluster: no router told it" in done.stderr

    again = quorate(cluster, "debug", "bundle", "--out", out)
    assert again.returncode == 2
    assert "cannot be written: File exists" in again.stderr


def test_a_cluster_of_which_nothing_is_known_makes_no_bundle(
    own_cluster: Callable[..., BackgroundCluster], tmp_path: Path
) -> None:
    cluster = own_cluster()  # never started
    out = tmp_path / "none.tar.gz"
    done = quorate(
        cluster, "debug", "bundle", "--out", out, "--admin", f"127.0.0.1:{cluster.public.admin}"
    )

    assert done.returncode == 3
    assert "nothing is known of the cluster" in done.stderr
    assert not out.exists()
