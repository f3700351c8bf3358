"""CreateTable, DescribeTable, ListTables, DeleteTable: rare, so each waits in a task of its own."""

from __future__ import annotations

import time
import uuid
from typing import Final

from model.errors import (
    InternalServerError,
    ModelError,
    ResourceInUse,
    ResourceNotFound,
    Sentence,
)
from model.requests.tables import (
    CreateTable,
    DescribeTable,
    created_response,
    parse_create_table,
    parse_delete_table,
    parse_describe_table,
    parse_list_tables,
)
from model.tables import Table
from model.tables import describe_table as describe
from quorate.v1 import catalog_pb2, node_pb2
from router.call import Call
from router.refusals import outcome_unknown
from router.service import Service

REASON_EXISTS: Final = "exists"
REASON_MISSING: Final = "missing"
"""Why a node refuses a change of the catalog; see node.proto."""


def create_table(service: Service, body: object, call: Call) -> None:
    """Serve CreateTable."""
    request = parse_create_table(body)
    service.run_in_background(call, _create(service, request, call))


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
    service.run_in_background(call, _delete(service, table, call))


async def _create(service: Service, request: CreateTable, call: Call) -> bytes:
    definition = request.definition(created_at=time.time(), table_uuid=str(uuid.uuid4()))
    command = catalog_pb2.CatalogCommand(
        request_id=call.request_id,
        create_table=catalog_pb2.CatalogCommand.CreateTable(
            name=request.table_name, definition=definition
        ),
    )
    answer = await service.control.change_catalog(command, call.deadline)
    if answer.outcome == node_pb2.OUTCOME_INVALID:
        raise _refusal(answer.reason, request.table_name)
    await _see(service, answer, call)
    table = service.view.table(request.table_name)
    return created_response(describe(table, status="CREATING", item_count=0, size_bytes=0))


async def _describe(service: Service, request: DescribeTable, table: Table) -> bytes:
    item_count, size_bytes = await service.sizes.of(table.id)
    return request.response(
        describe(table, status="ACTIVE", item_count=item_count, size_bytes=size_bytes)
    )


async def _delete(service: Service, table: Table, call: Call) -> bytes:
    command = catalog_pb2.CatalogCommand(
        request_id=call.request_id,
        delete_table=catalog_pb2.CatalogCommand.DeleteTable(name=table.name, id=table.id),
    )
    answer = await service.control.change_catalog(command, call.deadline)
    if answer.outcome == node_pb2.OUTCOME_INVALID:
        raise _refusal(answer.reason, table.name)
    await _see(service, answer, call)
    return created_response(describe(table, status="DELETING", item_count=0, size_bytes=0))


def _refusal(reason: str, table_name: str) -> ModelError:
    if reason == REASON_EXISTS:
        return ResourceInUse(Sentence.TABLE_EXISTS.format(table=table_name))
    if reason == REASON_MISSING:
        return ResourceNotFound(Sentence.TABLE_NOT_FOUND.format(table=table_name))
    return InternalServerError(f"The catalog refused the change: {reason}")


async def _see(service: Service, answer: node_pb2.ChangeCatalogResponse, call: Call) -> None:
    """Wait until this router's own catalog has the change: its next call must see it."""
    if not await service.view.wait_for(answer.epoch, call.deadline):
        raise outcome_unknown()
