"""CreateTable, UpdateTable, DescribeTable, ListTables, DeleteTable: rare, so each has a task."""

from __future__ import annotations

import time
import uuid

import orjson

from model.requests.tables import (
    CreateTable,
    DescribeTable,
    changed_response,
    parse_create_table,
    parse_delete_table,
    parse_describe_table,
    parse_list_tables,
    parse_update_table,
)
from model.tables import Table
from model.tables import describe_table as describe
from quorate.cluster.write_id import command_id
from quorate.v1 import catalog_pb2, node_pb2
from router.call import Call
from router.refusals import catalog_refusal, outcome_unknown
from router.service import Service


def create_table(service: Service, body: object, call: Call) -> None:
    """Serve CreateTable."""
    request = parse_create_table(body)
    service.run_in_background(call, _create(service, request, call, _command_id(call, body)))


def describe_table(service: Service, body: object, call: Call) -> None:
    """Serve DescribeTable."""
    request = parse_describe_table(body)
    table = service.view.table(request.table_name)
    service.run_in_background(call, _describe(service, request, table))


def list_tables(service: Service, body: object, call: Call) -> None:
    """Serve ListTables."""
    request = parse_list_tables(body)
    call.succeed(request.response(service.view.catalog.table_by_name))


def delete_table(service: Service, body: object, call: Call) -> None:
    """Serve DeleteTable."""
    request = parse_delete_table(body)
    table = service.view.table(request.table_name)
    request.check(table)
    service.run_in_background(call, _delete(service, table, call, _command_id(call, body)))


def update_table(service: Service, body: object, call: Call) -> None:
    """Serve UpdateTable."""
    request = parse_update_table(body)
    table = service.view.table(request.table_name)
    definition = request.definition(table, now=time.time())
    service.run_in_background(
        call, _update(service, table, definition, call, _command_id(call, body))
    )


def _command_id(call: Call, body: object) -> bytes:
    """Return under which id the catalog remembers the call's command.

    It is made from the request and not from the command: a retry's command has another time.
    """
    request = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return command_id(call.request_id, call.operation, request)


async def _create(service: Service, request: CreateTable, call: Call, request_id: bytes) -> bytes:
    definition = request.definition(created_at=time.time(), table_uuid=str(uuid.uuid4()))
    command = catalog_pb2.CatalogCommand(
        request_id=request_id,
        create_table=catalog_pb2.CatalogCommand.CreateTable(
            name=request.table_name, definition=definition
        ),
    )
    await _change(service, command, request.table_name, call)
    table = service.view.table(request.table_name)
    return changed_response(describe(table, status="CREATING", now=time.time()))


async def _describe(service: Service, request: DescribeTable, table: Table) -> bytes:
    return request.response(await _described(service, table, "ACTIVE"))


async def _update(
    service: Service, table: Table, definition: bytes, call: Call, request_id: bytes
) -> bytes:
    """Replace a table's definition; an empty one is no change."""
    if not definition:
        return changed_response(await _described(service, table, "ACTIVE"))
    command = catalog_pb2.CatalogCommand(
        request_id=request_id,
        update_table=catalog_pb2.CatalogCommand.UpdateTable(
            name=table.name, id=table.id, version=table.version, definition=definition
        ),
    )
    await _change(service, command, table.name, call)
    # The change is there at once; like AWS, its own answer does not say so yet.
    changed = service.view.table(table.name)
    description = await _described(service, changed, "UPDATING")
    if table.is_provisioned and changed.is_provisioned:
        throughput = description["ProvisionedThroughput"]
        assert isinstance(throughput, dict)
        read_units, write_units = table.throughput_units
        throughput.update(ReadCapacityUnits=read_units, WriteCapacityUnits=write_units)
    return changed_response(description)


async def _delete(service: Service, table: Table, call: Call, request_id: bytes) -> bytes:
    command = catalog_pb2.CatalogCommand(
        request_id=request_id,
        delete_table=catalog_pb2.CatalogCommand.DeleteTable(
            name=table.name, id=table.id, version=table.version
        ),
    )
    await _change(service, command, table.name, call)
    return changed_response(describe(table, status="DELETING", now=time.time()))


async def _described(service: Service, table: Table, status: str) -> dict[str, object]:
    item_count, size_bytes = await service.sizes.of(table.id)
    return describe(
        table, status=status, now=time.time(), item_count=item_count, size_bytes=size_bytes
    )


async def _change(
    service: Service, command: catalog_pb2.CatalogCommand, table_name: str, call: Call
) -> None:
    """Change the catalog, and wait until this router has the change: its next call must see it."""
    answer = await service.control.change_catalog(command, call.deadline)
    if answer.outcome == node_pb2.OUTCOME_INVALID:
        raise catalog_refusal(answer.reason, table_name)
    if not await service.view.wait_for(answer.epoch, call.deadline):
        raise outcome_unknown()
