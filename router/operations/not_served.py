"""DynamoDB's operations that this server does not have: refused by name, so that people see why."""

from __future__ import annotations

from typing import Final

from model.errors import UnknownOperation
from router.call import Call
from router.service import Service

STREAM_OPERATIONS: Final = frozenset(
    ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"]
)
"""The operations of DynamoDB Streams, a service of its own with the same protocol."""

NOT_SERVED: Final = STREAM_OPERATIONS | frozenset(
    [
        "BatchExecuteStatement",
        "CancelBulkOperation",
        "CreateBackup",
        "CreateGlobalTable",
        "DeleteBackup",
        "DeleteResourcePolicy",
        "DescribeBackup",
        "DescribeBulkOperation",
        "DescribeContinuousBackups",
        "DescribeContributorInsights",
        "DescribeExport",
        "DescribeGlobalTable",
        "DescribeGlobalTableSettings",
        "DescribeImport",
        "DescribeKinesisStreamingDestination",
        "DescribeTableReplicaAutoScaling",
        "DescribeTimeToLive",
        "DisableKinesisStreamingDestination",
        "EnableKinesisStreamingDestination",
        "ExecuteStatement",
        "ExecuteTransaction",
        "ExportTableToPointInTime",
        "GetResourcePolicy",
        "ImportTable",
        "ListBackups",
        "ListBulkOperations",
        "ListContributorInsights",
        "ListExports",
        "ListGlobalTables",
        "ListImports",
        "ListTagsOfResource",
        "PutResourcePolicy",
        "RestoreTableFromBackup",
        "RestoreTableToPointInTime",
        "SearchVectors",
        "StartBulkPutItems",
        "TagResource",
        "TransactGetItems",
        "TransactWriteItems",
        "UntagResource",
        "UpdateContinuousBackups",
        "UpdateContributorInsights",
        "UpdateGlobalTable",
        "UpdateGlobalTableSettings",
        "UpdateKinesisStreamingDestination",
        "UpdateTableReplicaAutoScaling",
        "UpdateTimeToLive",
    ]
)
"""Source: the service models of DynamoDB and its streams, 2012-08-10; a test compares."""


def refuse(service: Service, body: object, call: Call) -> None:
    """Refuse a call. What DynamoDB itself does not know either is refused without a word."""
    del service, body
    raise UnknownOperation(f"{call.operation} is not supported by this server.")
