"""How a request that a router sent to a node ended."""

from __future__ import annotations

from enum import IntEnum, unique

from quorate.v1 import node_pb2


@unique
class Outcome(IntEnum):
    """The outcomes of node.proto, which says what each means."""

    UNSPECIFIED = node_pb2.OUTCOME_UNSPECIFIED
    OK = node_pb2.OUTCOME_OK
    CONDITION_FAILED = node_pb2.OUTCOME_CONDITION_FAILED
    INVALID = node_pb2.OUTCOME_INVALID
    NOT_LEADER = node_pb2.OUTCOME_NOT_LEADER
    NOT_REPLICA = node_pb2.OUTCOME_NOT_REPLICA
    STALE_CATALOG = node_pb2.OUTCOME_STALE_CATALOG
    NO_TABLE = node_pb2.OUTCOME_NO_TABLE
    OVERLOADED = node_pb2.OUTCOME_OVERLOADED
    EXPIRED = node_pb2.OUTCOME_EXPIRED
    UNKNOWN = node_pb2.OUTCOME_UNKNOWN
    STORAGE_FULL = node_pb2.OUTCOME_STORAGE_FULL
    THROTTLED = node_pb2.OUTCOME_THROTTLED
    TOO_OLD = node_pb2.OUTCOME_TOO_OLD
