"""What a bundle tells of the catalog and of what is installed."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path

from quorate.bundle.catalog import describe_catalog
from quorate.bundle.host import PACKAGES, describe_host, describe_versions
from quorate.cluster.catalog import (
    AccessKeyRecord,
    Catalog,
    Grant,
    NodeRecord,
    PartitionRecord,
    TableRecord,
    UserRecord,
)

ROOT = Path(__file__).resolve().parents[2]

CATALOG = Catalog(
    epoch=7,
    cluster_id="c",
    tables=(
        TableRecord(id=1, name="songs", definition=b'{"TableName":"songs"}'),
        TableRecord(id=2, name="odd", definition=b"\xff"),
    ),
    nodes=(NodeRecord(id=1, name="a1", az="az-a", address="h:1", incarnation="i"),),
    partitions=(PartitionRecord(id=1, low_token=0, replicas=(1,)),),
    catalog_replicas=(1,),
    users=(
        UserRecord(
            name="bob",
            access_keys=(AccessKeyRecord(id="AKIABOB", sealed_secret=b"sealed"),),
            grants=(Grant(actions=("read",), tables=("*",)),),
        ),
    ),
)


def test_users_are_told_without_their_keys() -> None:
    text = json.dumps(describe_catalog(CATALOG))

    assert describe_catalog(CATALOG)["closed"] is False
    assert describe_catalog(CATALOG)["users"] == [
        {
            "name": "bob",
            "access_keys": 1,
            "grants": [{"actions": ["read"], "tables": ["*"]}],
        }
    ]
    for secret in ("AKIABOB", "sealed", b"sealed".hex(), "c2VhbGVk"):
        assert secret not in text


def test_the_rest_of_the_catalog_is_told_field_by_field() -> None:
    """A new field is told or left out on purpose."""
    told = describe_catalog(CATALOG)

    assert set(told) == {field.name for field in dataclasses.fields(Catalog)}
    for name, record in (
        ("nodes", NodeRecord),
        ("partitions", PartitionRecord),
        ("tables", TableRecord),
    ):
        (first, *_) = told[name]  # type: ignore[misc]
        assert set(first) == {field.name for field in dataclasses.fields(record)}
    songs, odd = told["tables"]  # type: ignore[misc]
    assert songs["definition"] == {"TableName": "songs"}
    assert odd["definition"] == "1 bytes that are no JSON"


def test_versions_are_those_of_all_that_either_distribution_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["server-dependencies"]]
    names = {re.split(r"[<>=]", requirement)[0] for requirement in needed}

    assert set(PACKAGES) == {"quorate", "quorate-server", *names}
    packages = describe_versions()["packages"]
    assert isinstance(packages, dict)
    assert all(packages[name] for name in names)


def test_the_disk_is_that_of_the_data_directory(tmp_path: Path) -> None:
    disk = describe_host(tmp_path)["disk"]

    assert isinstance(disk, dict)
    assert disk["total_bytes"] > 0
    assert disk["file_system"]
    assert "disk" not in describe_host(tmp_path / "nowhere")
