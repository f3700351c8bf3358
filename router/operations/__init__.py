"""The operations, by DynamoDB's names: the one table that every face serves."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from router.operations.account import describe_endpoints, describe_limits
from router.operations.batches import batch_get_item, batch_write_item
from router.operations.gets import get_item
from router.operations.not_served import NOT_SERVED, refuse
from router.operations.pages import query, scan
from router.operations.tables import (
    create_table,
    delete_table,
    describe_table,
    list_tables,
    update_table,
)
from router.operations.writes import delete_item, put_item, update_item
from router.service import Handler

OPERATIONS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "BatchGetItem": batch_get_item,
        "BatchWriteItem": batch_write_item,
        "CreateTable": create_table,
        "DeleteItem": delete_item,
        "DeleteTable": delete_table,
        "DescribeEndpoints": describe_endpoints,
        "DescribeLimits": describe_limits,
        "DescribeTable": describe_table,
        "GetItem": get_item,
        "ListTables": list_tables,
        "PutItem": put_item,
        "Query": query,
        "Scan": scan,
        "UpdateItem": update_item,
        "UpdateTable": update_table,
        **dict.fromkeys(NOT_SERVED, refuse),
    }
)
