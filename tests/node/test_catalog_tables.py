"""What commands do to tables: a plan made on an old definition never overwrites a newer one."""

from __future__ import annotations

import pytest

from node.machine.catalog_changes import CHANGED, EXISTS, MISSING, Refused, change
from quorate.cluster.catalog import Catalog
from quorate.cluster.commands import (
    Bootstrap,
    CatalogCommand,
    CreateTable,
    DeleteTable,
    UpdateTable,
    decode_catalog_command,
    wire_catalog_command,
)
from tests.node.builders import new_id
from tests.node.harness import first_catalog


@pytest.fixture
def catalog() -> Catalog:
    """One table, `orders`, with id 1."""
    catalog = change(Catalog(), Bootstrap(new_id(), first_catalog(3)))
    return change(catalog, CreateTable(new_id(), "orders", b"first"))


def update(version: int, definition: bytes = b"next", table_id: int = 1) -> UpdateTable:
    return UpdateTable(new_id(), "orders", table_id, version, definition)


def refusal(catalog: Catalog, command: CatalogCommand) -> str:
    with pytest.raises(Refused) as refused:
        change(catalog, command)
    return refused.value.reason


def test_update_replaces_the_definition_and_counts(catalog: Catalog) -> None:
    catalog = change(catalog, update(0, b"second"))
    catalog = change(catalog, update(1, b"third"))

    table = catalog.table_by_name["orders"]
    assert (table.id, table.version, table.definition) == (1, 2, b"third")


def test_update_of_another_version_changes_nothing(catalog: Catalog) -> None:
    catalog = change(catalog, update(0))

    assert refusal(catalog, update(0)) == CHANGED
    assert refusal(catalog, update(2)) == CHANGED


def test_update_of_another_table_of_that_name_changes_nothing(catalog: Catalog) -> None:
    catalog = change(catalog, DeleteTable(new_id(), "orders", 1))
    assert refusal(catalog, update(0)) == MISSING

    catalog = change(catalog, CreateTable(new_id(), "orders", b"again"))
    assert refusal(catalog, update(0)) == MISSING
    assert refusal(catalog, CreateTable(new_id(), "orders", b"twice")) == EXISTS


def test_table_that_was_updated_meanwhile_is_not_deleted(catalog: Catalog) -> None:
    """The update may have protected it against deletion."""
    catalog = change(catalog, update(0))

    assert refusal(catalog, DeleteTable(new_id(), "orders", 1, 0)) == CHANGED
    assert not change(catalog, DeleteTable(new_id(), "orders", 1, 1)).tables


@pytest.mark.parametrize(
    "command",
    [
        CreateTable(b"i" * 16, "orders", b"d"),
        DeleteTable(b"i" * 16, "orders", 1, 2),
        UpdateTable(b"i" * 16, "orders", 1, 2, b"d"),
    ],
)
def test_command_survives_the_wire(command: CatalogCommand) -> None:
    assert decode_catalog_command(wire_catalog_command(command)) == command
