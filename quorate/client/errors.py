"""What can go wrong with a call, one class for each thing a caller may want to do about it.

`code` is DynamoDB's error code where the cluster gave one. Two classes are special: after
OutcomeUnknown a write may or may not have been done, after every other one it has not been done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class QuorateError(Exception):
    """Base of everything a call may raise besides ValueRefused."""

    code_default: ClassVar[str] = "InternalServerError"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        """Take the sentence for people and DynamoDB's error code, if there is one."""
        super().__init__(message)
        self.message = message
        self.code = code or self.code_default


class RequestRefused(QuorateError):
    """The request is wrong (usually ValidationException) and would be so again."""

    code_default = "ValidationException"


class ConditionalCheckFailed(QuorateError):
    """The condition was false; `item` is the item it was tried on, if that was asked for."""

    code_default = "ConditionalCheckFailedException"

    def __init__(
        self, message: str, *, code: str | None = None, item: dict[str, Any] | None = None
    ) -> None:
        """Take the item too."""
        super().__init__(message, code=code)
        self.item = item


class ResourceNotFound(QuorateError):
    """There is no such table."""

    code_default = "ResourceNotFoundException"


class ResourceInUse(QuorateError):
    """The table exists already, or is being changed."""

    code_default = "ResourceInUseException"


class Throttled(QuorateError):
    """The table's or partition's capacity was used up until the deadline; nothing was done."""

    code_default = "ProvisionedThroughputExceededException"


class DeadlineExceeded(QuorateError):
    """No answer within the deadline, and nothing was done: a read, or a write never sent."""

    code_default = "DeadlineExceeded"


class OutcomeUnknown(QuorateError):
    """A write was sent and not answered within the deadline: it may or may not have been done.

    Calling again with the same `request_id` makes it happen at most once.
    """

    code_default = "OutcomeUnknown"

    def __init__(self, message: str, *, request_id: bytes, code: str | None = None) -> None:
        """Take the id under which the write may be retried safely."""
        super().__init__(message, code=code)
        self.request_id = request_id


class Unreachable(QuorateError):
    """No router could be reached within the deadline; nothing was done."""

    code_default = "Unreachable"


class Forked(QuorateError):
    """A client was opened, or used, in a forked process where it cannot work; nothing was done."""

    code_default = "Forked"


THROTTLING_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)

_BY_CODE: dict[str, type[QuorateError]] = {
    "ConditionalCheckFailedException": ConditionalCheckFailed,
    "ResourceNotFoundException": ResourceNotFound,
    "ResourceInUseException": ResourceInUse,
    **dict.fromkeys(THROTTLING_CODES, Throttled),
}


def code_of(document: Mapping[str, Any]) -> str:
    """Return the error code of an error document: `__type` without its namespace."""
    return str(document.get("__type", "")).rpartition("#")[2]


def error_of(
    status: int, document: Mapping[str, Any], *, item: dict[str, Any] | None = None
) -> QuorateError:
    """Return the exception that an error document stands for; `item` is its Item, decoded."""
    code = code_of(document) or None
    message = str(document.get("message") or document.get("Message") or code or f"status {status}")
    kind = _BY_CODE.get(code or "")
    if kind is ConditionalCheckFailed:
        return ConditionalCheckFailed(message, code=code, item=item)
    if kind is not None:
        return kind(message, code=code)
    return (RequestRefused if status < 500 else QuorateError)(message, code=code)
