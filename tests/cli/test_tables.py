"""`quorate table`."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Command


def test_a_table_is_created_listed_described_and_deleted(quorate: Command) -> None:
    created = quorate("table", "create", "life", "--partition-key", "pk:S", "--sort-key", "sk:B")
    assert (created.code, created.out) == (0, "table life is active\n")

    assert "life" in quorate("table", "list").out.splitlines()
    assert "life" in json.loads(quorate("table", "list", "--json").out)
    described = json.loads(quorate("table", "describe", "life", "--json").out)
    assert described["AttributeDefinitions"] == [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "B"},
    ]

    assert quorate("table", "delete", "life", "--yes").code == 0
    assert quorate("table", "describe", "life").code == 4


def test_creating_a_table_twice_fails_unless_that_is_meant(quorate: Command, table: str) -> None:
    again = ("table", "create", table, "--partition-key", "pk:S")

    ended = quorate(*again)
    assert ended.code == 1
    assert "ResourceInUseException" in ended.err
    assert quorate(*again, "--if-not-exists").code == 0


def test_a_tables_throughput_is_changed(quorate: Command, table: str) -> None:
    changed = quorate("table", "update", table, "--read-units", "5", "--write-units", "7")
    assert (changed.code, changed.out) == (0, f"table {table} is changed\n")
    described = json.loads(quorate("table", "describe", table, "--json").out)
    assert described["BillingMode"] == "PROVISIONED"
    assert described["ProvisionedThroughput"] == {"ReadCapacityUnits": 5, "WriteCapacityUnits": 7}

    assert quorate("table", "update", table, "--on-demand", "--max-write-units", "9").code == 0
    described = json.loads(quorate("table", "describe", table, "--json").out)
    assert described["BillingMode"] == "PAY_PER_REQUEST"
    assert described["OnDemandThroughput"] == {"MaxWriteRequestUnits": 9}


@pytest.mark.parametrize(
    "options", [("--read-units", "5"), ("--on-demand", "--read-units", "5", "--write-units", "5")]
)
def test_units_that_do_not_go_together_are_refused(
    quorate: Command, table: str, options: tuple[str, ...]
) -> None:
    assert quorate("table", "update", table, *options).code == 2


def test_a_table_is_not_deleted_without_a_yes(quorate: Command, table: str) -> None:
    ended = quorate("table", "delete", table, stdin="n\n")

    assert ended.code == 2
    assert quorate("table", "describe", table).code == 0


@pytest.mark.parametrize("key", ["pk:X", ":S", "pk:"])
def test_a_key_of_no_known_type_is_refused(quorate: Command, key: str) -> None:
    ended = quorate("table", "create", "t", "--partition-key", key)

    assert ended.code == 2
    assert "NAME:TYPE" in ended.err
