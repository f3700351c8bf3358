"""The operations, by DynamoDB's names: the one table that every face serves."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from router.operation import BATCH_BYTES_MAX, ITEM_BYTES_MAX, Operation, as_it_came
from router.operations.account import describe_endpoints, describe_limits
from router.operations.batches import (
    complete_batch_write,
    prepare_batch_get,
    prepare_batch_write,
    serve_batch_get,
    serve_batch_write,
)
from router.operations.gets import prepare_get_item, serve_get
from router.operations.not_served import NOT_SERVED, refuse
from router.operations.pages import prepare_query, prepare_scan, serve_pages
from router.operations.tables import (
    create_table,
    delete_table,
    describe_table,
    list_tables,
    update_table,
)
from router.operations.writes import (
    complete_write,
    prepare_delete_item,
    prepare_put_item,
    prepare_update_item,
    serve_write,
)

OPERATIONS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "BatchGetItem": Operation(prepare_batch_get, serve_batch_get, ITEM_BYTES_MAX),
        "BatchWriteItem": Operation(
            prepare_batch_write, serve_batch_write, BATCH_BYTES_MAX, complete_batch_write
        ),
        "CreateTable": as_it_came(create_table),
        "DeleteItem": Operation(prepare_delete_item, serve_write, ITEM_BYTES_MAX),
        "DeleteTable": as_it_came(delete_table),
        "DescribeEndpoints": as_it_came(describe_endpoints),
        "DescribeLimits": as_it_came(describe_limits),
        "DescribeTable": as_it_came(describe_table),
        "GetItem": Operation(prepare_get_item, serve_get, ITEM_BYTES_MAX),
        "ListTables": as_it_came(list_tables),
        "PutItem": Operation(prepare_put_item, serve_write, ITEM_BYTES_MAX, complete_write),
        "Query": Operation(prepare_query, serve_pages, ITEM_BYTES_MAX),
        "Scan": Operation(prepare_scan, serve_pages, ITEM_BYTES_MAX),
        "UpdateItem": Operation(prepare_update_item, serve_write, ITEM_BYTES_MAX),
        "UpdateTable": as_it_came(update_table),
        **dict.fromkeys(NOT_SERVED, as_it_came(refuse)),
    }
)
