"""The catalog's state machine by itself: commands in, catalog and results out, and as bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.machine import catalog, catalog_changes
from node.machine.catalog import CatalogMachine, CatalogResult, UnknownCommand
from quorate.cluster.catalog import AccessKeyRecord
from quorate.cluster.commands import (
    Bootstrap,
    CatalogCommand,
    CreateTable,
    CreateUser,
    DeleteTable,
    DeleteUser,
    encode_catalog_command,
    wire_catalog_command,
)
from quorate.v1 import catalog_pb2
from tests.node.builders import new_id
from tests.node.harness import first_catalog


def apply(machine: CatalogMachine, command: CatalogCommand) -> CatalogResult:
    return machine.apply(encode_catalog_command(command))


@pytest.fixture
def machine() -> CatalogMachine:
    """A machine with a catalog and a table "a" of id 1."""
    made = CatalogMachine()
    apply(made, Bootstrap(new_id(), first_catalog(3)))
    apply(made, CreateTable(new_id(), "a", b"{}"))
    return made


def test_new_machine_has_epoch_zero() -> None:
    assert CatalogMachine().catalog.epoch == 0


def test_every_change_is_one_epoch(machine: CatalogMachine) -> None:
    assert machine.catalog.epoch == 2
    assert apply(machine, CreateTable(new_id(), "b", b"{}")).epoch == 3
    assert apply(machine, DeleteTable(new_id(), "a", 1)).epoch == 4


def test_refused_command_changes_nothing(machine: CatalogMachine) -> None:
    before = machine.catalog

    assert apply(machine, CreateTable(new_id(), "a", b"{}")) == CatalogResult(2, "exists")
    assert apply(machine, DeleteTable(new_id(), "a", 9)) == CatalogResult(2, "missing")
    assert apply(machine, Bootstrap(new_id(), first_catalog(1))) == CatalogResult(2, "exists")
    assert machine.catalog is before


def test_refusal_is_remembered_as_a_result(machine: CatalogMachine) -> None:
    """A retry gets the first answer, although it would be another by now."""
    command = CreateTable(new_id(), "a", b"{}")
    refused = apply(machine, command)
    apply(machine, DeleteTable(new_id(), "a", 1))

    assert apply(machine, command) == refused
    assert machine.find(command.request_id) == refused


def test_tables_are_bounded(machine: CatalogMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_changes, "TABLES_MAX", 2)
    apply(machine, CreateTable(new_id(), "b", b"{}"))

    assert apply(machine, CreateTable(new_id(), "c", b"{}")).refusal == "limit"


def test_results_are_bounded(machine: CatalogMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "RESULTS_MAX", 3)
    commands = [CreateTable(new_id(), f"t{n}", b"{}") for n in range(5)]
    for command in commands:
        apply(machine, command)

    known = [machine.find(command.request_id) is not None for command in commands]
    assert known == [False, False, True, True, True]


def test_machine_is_read_as_it_was_written(machine: CatalogMachine) -> None:
    """Catalog, results, and the next table id, by which ids are never used again."""
    command = CreateTable(new_id(), "b", b"definition")
    result = apply(machine, command)
    apply(machine, DeleteTable(new_id(), "b", 2))

    read = CatalogMachine(machine.encode())

    assert read.catalog == machine.catalog
    assert read.find(command.request_id) == result
    assert read.encode() == machine.encode()
    apply(read, CreateTable(new_id(), "b", b"{}"))
    assert read.catalog.table_by_name["b"].id == 3


def test_command_of_a_newer_version_stops_the_node(machine: CatalogMachine) -> None:
    """To skip it would make replicas differ."""
    with pytest.raises(UnknownCommand):
        machine.apply(catalog_pb2.CatalogCommand(request_id=new_id()).SerializeToString())


def for_call(command: CatalogCommand, call: bytes) -> bytes:
    """Return a log entry's payload of a command that an operator's call has asked for."""
    wire = wire_catalog_command(command)
    wire.operator_call = call
    return wire.SerializeToString()


def test_operators_call_is_made_once_whichever_router_it_comes_from(
    machine: CatalogMachine,
) -> None:
    """Each router asks under a request id of its own; what was captured has the same call's id."""
    call, again = new_id(), new_id()
    create = CreateUser(new_id(), "ada", AccessKeyRecord(id="K", sealed_secret=b"sealed"))
    first = for_call(create, call)
    assert machine.apply(first) == CatalogResult(3)
    assert machine.apply(first) == CatalogResult(3), "a router asks as often as it has to"
    assert machine.apply(for_call(DeleteUser(new_id(), "ada"), again)) == CatalogResult(4)

    for repeated in (machine, CatalogMachine(machine.encode())):
        replayed = repeated.apply(for_call(replace(create, request_id=new_id()), call))
        assert replayed == CatalogResult(4, "repeated")
        assert repeated.catalog.users == ()


def test_refused_call_of_an_operator_is_not_made_later(machine: CatalogMachine) -> None:
    call = new_id()
    assert machine.apply(for_call(DeleteUser(new_id(), "ada"), call)).refusal == "missing"
    create = CreateUser(new_id(), "ada", AccessKeyRecord(id="K", sealed_secret=b"sealed"))
    apply(machine, create)

    assert machine.apply(for_call(DeleteUser(new_id(), "ada"), call)).refusal == "repeated"
    assert machine.catalog.users


def test_users_own_commands_forget_no_call_of_an_operator(
    machine: CatalogMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "RESULTS_MAX", 3)
    monkeypatch.setattr(catalog, "OPERATOR_CALLS_MAX", 2)
    calls = [new_id() for _ in range(3)]
    machine.apply(for_call(DeleteTable(new_id(), "b", 1), calls[0]))
    for number in range(9):
        apply(machine, CreateTable(new_id(), f"t{number}", b"{}"))
    assert machine.apply(for_call(DeleteTable(new_id(), "b", 1), calls[0])).refusal == "repeated"

    for call in calls[1:]:
        machine.apply(for_call(DeleteTable(new_id(), "b", 1), call))
    assert machine.apply(for_call(DeleteTable(new_id(), "b", 1), calls[0])).refusal == "missing"
