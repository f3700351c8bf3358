"""The errors that the router itself gives to clients, and how a node's refusal becomes one.

The sentences are ours: DynamoDB has none for what happens inside it.
"""

from __future__ import annotations

from typing import Final

from model.errors import (
    ConditionFailed,
    InternalServerError,
    LimitExceeded,
    ModelError,
    ResourceInUse,
    ResourceNotFound,
    ServiceUnavailable,
    Throttled,
    ValidationError,
    decode_error,
)
from model.limits import TABLES_MAX
from model.sentences import Sentence
from quorate.cluster.outcome import Outcome


class Overloaded(Throttled):
    """This router, or a node, has too much to do; no limit of a table is to blame.

    Clients get what DynamoDB throttles with.
    """


NAMING_THE_TABLE: Final = frozenset({"DeleteTable", "DescribeTable", "UpdateTable"})
"""Operations that tell which table they did not find. Source: AWS's answers."""


def error_of(outcome: int, payload: bytes, *, maybe_proposed: bool) -> ModelError:
    """Return the client's error for an answer that ends a request and is not OK.

    A refusal of one attempt says nothing about an earlier one that may have been proposed.
    """
    if outcome == Outcome.CONDITION_FAILED:
        return ConditionFailed(payload)
    if outcome == Outcome.INVALID:
        return decode_error(payload) if payload else refused_before()
    if maybe_proposed:
        return outcome_unknown()
    if outcome == Outcome.NO_TABLE:
        return ResourceNotFound()
    return InternalServerError(f"A node answered with an outcome unknown here: {outcome}.")


def catalog_refusal(reason: str, table_name: str) -> ModelError:
    """Return the client's error for a change of a table that the catalog refused.

    The reasons are those of node.proto.
    """
    match reason:
        case "exists":
            return ResourceInUse(Sentence.TABLE_EXISTS.format(table=table_name))
        case "missing":
            return ResourceNotFound(Sentence.TABLE_NOT_FOUND.format(table=table_name))
        case "changed":
            return ResourceInUse(Sentence.TABLE_CHANGING.format(table=table_name))
        case "limit":
            return LimitExceeded(Sentence.TABLES_LIMIT.format(limit=TABLES_MAX))
        case _:
            return InternalServerError(f"The catalog refused the change: {reason}")


def table_not_found(operation: str, table_name: str) -> ModelError:
    """Return the answer of an operation on a table that does not exist."""
    if operation in NAMING_THE_TABLE:
        return ResourceNotFound(Sentence.TABLE_NOT_FOUND.format(table=table_name))
    return ResourceNotFound()


def refused_before() -> ModelError:
    """Return the answer to the retry of a write that was refused, by whom nobody remembers."""
    return ValidationError(
        "An earlier attempt of this request was refused, and nothing was written. "
        "The reason is not remembered any more: send it as a new request to see it again."
    )


def answer_too_large(size_bytes: int, size_bytes_max: int) -> ModelError:
    """Return the answer in place of one that the client could not receive."""
    return LimitExceeded(
        f"The answer has {size_bytes:,} bytes, and this client takes {size_bytes_max:,}. Nothing "
        "else went wrong: what was to be written is written. Ask for less of it, or raise the "
        "client's limit and say so in the metadata x-quorate-answer-bytes."
    )


def outcome_unknown() -> ModelError:
    """Return the answer to a write that may or may not have taken effect."""
    return InternalServerError(
        "The outcome of this write is unknown: it may or may not have taken effect. "
        "Retry with the same request id, or read the item."
    )


def no_answer_in_time(*, led: bool) -> ModelError:
    """Return the answer to a request that surely had no effect before its deadline."""
    if led:
        return ServiceUnavailable(
            "The partition's leader did not answer in time. Nothing was done."
        )
    return ServiceUnavailable(
        "The partition has no leader that this router can reach. Nothing was done."
    )


def storage_full() -> ModelError:
    """Return the answer to a write that no node took, one of them for want of disk space."""
    return ServiceUnavailable(
        "The partition has no leader, and a node of it has no disk space left. Nothing was done."
    )


def router_full() -> Overloaded:
    """Return the answer at the door of a router that has too much to do."""
    return Overloaded("This router has too many requests in flight. Slow down and retry.")


def overloaded() -> Overloaded:
    """Return the answer for a node that keeps refusing work."""
    return Overloaded("The partition's leader is overloaded. Slow down and retry.")


def no_catalog() -> ModelError:
    """Return the answer of a router that has not reached any node yet."""
    return ServiceUnavailable("This router has not learned the cluster's catalog yet.")


def router_bug() -> ModelError:
    """Return the answer when serving a request raised something unexpected here."""
    return InternalServerError()
