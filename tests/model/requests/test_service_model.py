"""Every member of every operation is known: held against the official service model.

Source: botocore's copy of DynamoDB's API model, the machine-readable reference.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import botocore
import pytest

from model.members import Member, Members
from model.requests.account import NO_MEMBERS
from model.requests.batches import BATCH_GET_ITEM, BATCH_WRITE_ITEM, KEYS_AND_ATTRIBUTES
from model.requests.reads import GET_ITEM, QUERY, SCAN
from model.requests.tables import CREATE_TABLE, LIST_TABLES, ONE_TABLE, UPDATE_TABLE
from model.requests.writes import DELETE_ITEM, PUT_ITEM, UPDATE_ITEM
from router.operations import OPERATIONS
from router.operations.not_served import NOT_SERVED, STREAM_OPERATIONS

MEMBERS: Final[dict[str, Members]] = {
    "BatchGetItem": BATCH_GET_ITEM,
    "BatchWriteItem": BATCH_WRITE_ITEM,
    "CreateTable": CREATE_TABLE,
    "DeleteItem": DELETE_ITEM,
    "DeleteTable": ONE_TABLE,
    "DescribeEndpoints": NO_MEMBERS,
    "DescribeLimits": NO_MEMBERS,
    "DescribeTable": ONE_TABLE,
    "GetItem": GET_ITEM,
    "ListTables": LIST_TABLES,
    "PutItem": PUT_ITEM,
    "Query": QUERY,
    "Scan": SCAN,
    "UpdateItem": UPDATE_ITEM,
    "UpdateTable": UPDATE_TABLE,
}

TYPES: Final = {
    "string": "String",
    "boolean": "Boolean",
    "integer": "Integer",
    "long": "Long",
    "map": "Structure",
    "structure": "Structure",
    "list": "List",
}


@cache
def service_model(service: str = "dynamodb") -> dict[str, Any]:
    found = Path(botocore.__file__).parent.glob(f"data/{service}/2012-08-10/service-2.json*")
    path = next(found)
    raw = path.read_bytes()
    model: dict[str, Any] = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return model


def input_members(operation: str) -> dict[str, Any]:
    """The shapes of an operation's parameters."""
    model = service_model()
    shape = model["shapes"][model["operations"][operation]["input"]["shape"]]
    return {name: model["shapes"][each["shape"]] for name, each in shape["members"].items()}


def test_every_operation_served_is_here() -> None:
    assert MEMBERS.keys() == OPERATIONS.keys() - NOT_SERVED
    streams = service_model("dynamodbstreams")["operations"].keys()
    assert OPERATIONS.keys() == service_model()["operations"].keys() | streams
    assert streams == STREAM_OPERATIONS
    assert MEMBERS.keys() <= service_model()["operations"].keys()


@pytest.mark.parametrize("operation", MEMBERS)
def test_every_member_is_known_by_name_and_type(operation: str) -> None:
    """One that is not served is refused by its name, and never ignored."""
    expected = input_members(operation)

    assert MEMBERS[operation].keys() == expected.keys()
    for name, member in MEMBERS[operation].items():
        assert member.shape == TYPES[expected[name]["type"]], name


def refused_for(member: Member, value: object) -> bool:
    return member.is_supported is not None and not member.is_supported(value)


@pytest.mark.parametrize("operation", MEMBERS)
def test_enums_and_ranges_are_the_models(operation: str) -> None:
    for name, shape in input_members(operation).items():
        member = MEMBERS[operation][name]
        if refused_for(member, shape.get("enum", [None])[0]):
            continue  # nothing of it is looked at
        assert set(member.values) == set(shape.get("enum", ())), name
        if shape["type"] in {"integer", "long"}:
            assert (member.value_min, member.value_max) == (shape.get("min"), shape.get("max"))
        if shape["type"] == "list" and name != "KeySchema":  # of which AWS itself takes two
            assert member.length_min == shape.get("min"), name


@pytest.mark.parametrize("operation", MEMBERS)
def test_required_members_are_the_models(operation: str) -> None:
    model = service_model()
    shape = model["shapes"][model["operations"][operation]["input"]["shape"]]

    assert set(MEMBERS[operation].required) == set(shape.get("required", ()))


def test_what_is_asked_of_one_table_of_a_batch_is_the_models() -> None:
    members = service_model()["shapes"]["KeysAndAttributes"]["members"]

    assert {"Keys", *KEYS_AND_ATTRIBUTES} == members.keys()
