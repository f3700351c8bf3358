"""Every error a DynamoDB caller may see: code, HTTP status, sentence, extra members.

Internal errors of nodes and routers never derive from `ModelError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Final

import orjson

from model.sentences import UNCOUNTED, Sentence

DYNAMODB_PREFIX: Final = "com.amazonaws.dynamodb.v20120810#"
VALIDATE_PREFIX: Final = "com.amazon.coral.validate#"
SERVICE_PREFIX: Final = "com.amazon.coral.service#"
AVAILABILITY_PREFIX: Final = "com.amazon.coral.availability#"


class ModelError(Exception):
    """Base of every error a DynamoDB caller may see; `str()` is AWS's sentence.

    Every subclass is made from one message, so that an error can travel between processes.
    """

    code: ClassVar[str] = "InternalServerError"
    prefix: ClassVar[str] = DYNAMODB_PREFIX
    http_status: ClassVar[int] = 400
    retryable: ClassVar[bool] = False  # the very same request may succeed later
    message_member: ClassVar[str] = "message"
    sentence: ClassVar[str] = ""

    def __init__(self, message: str = "") -> None:
        """Take the sentence to show; without one, the class's own."""
        self.message = message or str(self.sentence)
        super().__init__(self.message)

    def members(self) -> dict[str, object]:
        """Return what the error document has besides its type and message."""
        return {}

    @cached_property
    def document(self) -> bytes:
        """The JSON body of the error's HTTP response."""
        document: dict[str, object] = {"__type": self.prefix + self.code}
        if self.message:
            document[self.message_member] = _json_text(self.message)
        document.update(self.members())
        return orjson.dumps(document)


class ValidationError(ModelError):
    """The request breaks a rule: what AWS calls a ValidationException.

    Where it was found out it also has its sentence as data, and the fault that it is about, if any.
    """

    code = "ValidationException"
    prefix = VALIDATE_PREFIX
    rule: Sentence | None = None
    fault: ValidationError | None = None


class ItemTooLarge(ValidationError):
    """An item is over the size limit."""

    sentence = Sentence.ITEM_TOO_LARGE


class SerializationFailed(ModelError):
    """The body is no JSON, or a member has the wrong JSON type."""

    code = "SerializationException"
    prefix = SERVICE_PREFIX
    message_member = "Message"


class UnknownOperation(ModelError):
    """The X-Amz-Target names nothing that this server does."""

    code = "UnknownOperationException"
    prefix = SERVICE_PREFIX


class MissingAuthenticationToken(ModelError):
    """The request is not signed and must be."""

    code = "MissingAuthenticationTokenException"
    prefix = SERVICE_PREFIX
    sentence = "Request is missing Authentication Token"


class IncompleteSignature(ModelError):
    """The Authorization header lacks a part."""

    code = "IncompleteSignatureException"
    prefix = SERVICE_PREFIX


class InvalidSignature(ModelError):
    """The signature is wrong or expired."""

    code = "InvalidSignatureException"
    prefix = SERVICE_PREFIX
    sentence = (
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method. Consult the service documentation for details."
    )


class UnrecognizedClient(ModelError):
    """The access key is unknown."""

    code = "UnrecognizedClientException"
    prefix = SERVICE_PREFIX
    sentence = "The security token included in the request is invalid."


class AccessDenied(ModelError):
    """The caller may not do this."""

    code = "AccessDeniedException"
    prefix = SERVICE_PREFIX
    message_member = "Message"


class ConditionFailed(ModelError):
    """The condition was false on the leader's state; `item_json` is the item if asked for."""

    code = "ConditionalCheckFailedException"
    sentence = Sentence.CONDITION_FAILED

    def __init__(self, item_json: bytes = b"", message: str = "") -> None:
        """Take the JSON of the item that failed the condition, empty for none."""
        super().__init__(message)
        self.item_json = item_json

    def members(self) -> dict[str, object]:
        """Return the item, if there is one."""
        return {"Item": orjson.Fragment(self.item_json)} if self.item_json else {}


class ResourceNotFound(ModelError):
    """The table does not exist."""

    code = "ResourceNotFoundException"
    sentence = Sentence.RESOURCE_NOT_FOUND


class ResourceInUse(ModelError):
    """The table exists already, or is being changed."""

    code = "ResourceInUseException"


class LimitExceeded(ModelError):
    """Too many tables, or too many control-plane operations at once."""

    code = "LimitExceededException"


class ThrottledError(ModelError):
    """Base of the refusals that carry reasons."""

    retryable = True
    reasons_member: ClassVar[str] = "ThrottlingReasons"

    def __init__(self, message: str = "", reasons: Sequence[tuple[str, str]] = ()) -> None:
        """Take (reason, resource ARN) pairs, such as `TableWriteKeyRangeThroughputExceeded`."""
        super().__init__(message)
        self.reasons = tuple(reasons)

    def members(self) -> dict[str, object]:
        """Return the reasons, if there are any."""
        if not self.reasons:
            return {}
        return {
            self.reasons_member: [
                {"reason": reason, "resource": resource} for reason, resource in self.reasons
            ]
        }


class ProvisionedThroughputExceeded(ThrottledError):
    """A provisioned table, or one of its partitions, is out of capacity units."""

    code = "ProvisionedThroughputExceededException"
    sentence = Sentence.PROVISIONED_EXCEEDED


class RequestLimitExceeded(ThrottledError):
    """The account is over its throughput quota."""

    code = "RequestLimitExceeded"
    sentence = Sentence.REQUEST_LIMIT


class Throttled(ThrottledError):
    """An on-demand table, or this server, is overloaded."""

    code = "ThrottlingException"
    prefix = AVAILABILITY_PREFIX
    reasons_member = "throttlingReasons"
    sentence = Sentence.ON_DEMAND_EXCEEDED


class ItemCollectionTooLarge(ModelError):
    """A collection of a table with a local index is over 10 GB."""

    code = "ItemCollectionSizeLimitExceededException"
    sentence = Sentence.COLLECTION_TOO_LARGE


class TransactionConflict(ModelError):
    """A transaction holds the item."""

    code = "TransactionConflictException"
    retryable = True
    sentence = Sentence.TRANSACTION_CONFLICT


class InternalServerError(ModelError):
    """Something failed here; for a write this means that its outcome is unknown."""

    code = "InternalServerError"
    http_status = 500
    retryable = True
    sentence = Sentence.INTERNAL


class ServiceUnavailable(ModelError):
    """Nobody can serve the request now, and it surely had no effect."""

    code = "ServiceUnavailable"
    http_status = 503
    retryable = True
    sentence = Sentence.UNAVAILABLE


_BY_CODE: Final[dict[str, type[ModelError]]] = {
    error.code: error
    for error in (
        ValidationError,
        SerializationFailed,
        UnknownOperation,
        MissingAuthenticationToken,
        IncompleteSignature,
        InvalidSignature,
        UnrecognizedClient,
        AccessDenied,
        ConditionFailed,
        ResourceNotFound,
        ResourceInUse,
        LimitExceeded,
        ProvisionedThroughputExceeded,
        RequestLimitExceeded,
        Throttled,
        ItemCollectionTooLarge,
        TransactionConflict,
        InternalServerError,
        ServiceUnavailable,
    )
}


def invalid(sentence: Sentence, **fields: object) -> ValidationError:
    """Return the ValidationException with this sentence; to be raised."""
    error = ValidationError(sentence.format(**fields) if fields else str(sentence))
    error.rule = sentence
    return error


def as_write_says(fault: ValidationError) -> ValidationError:
    """Return what PutItem and UpdateItem say of a request that is wrong by itself.

    They count the error, as if it were a broken constraint, and speak of what is wrong with a value
    without its placeholder. They do neither of what breaks a limit or is no attribute value.
    Source: captures of 33 Regions; dynoxide's change log of 0.12.0.
    """
    inner = fault.fault or fault
    if inner.rule in UNCOUNTED:
        return fault
    return invalid(Sentence.ONE_ERROR, message=inner.message)


def misshapen(sentence: Sentence, **fields: object) -> SerializationFailed:
    """Return the SerializationException with this sentence; to be raised."""
    return SerializationFailed(sentence.format(**fields) if fields else str(sentence))


def _json_text(message: str) -> str:
    """Return a message that may quote text that no JSON can hold: better a `?` than no answer."""
    return message.encode(errors="replace").decode()


def encode_error(error: ModelError) -> bytes:
    """Return an error as JSON bytes for another process; the pair of `decode_error`."""
    document: dict[str, object] = {"code": error.code, "message": _json_text(error.message)}
    if isinstance(error, ConditionFailed) and error.item_json:
        document["item"] = orjson.Fragment(error.item_json)
    if isinstance(error, ThrottledError) and error.reasons:
        document["reasons"] = error.reasons
    return orjson.dumps(document)


def decode_error(raw: bytes) -> ModelError:
    """Return the error in `raw`; anything unreadable becomes an InternalServerError."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return InternalServerError()
    if not isinstance(document, Mapping):
        return InternalServerError()
    message = str(document.get("message", ""))
    kind = _BY_CODE.get(str(document.get("code")), InternalServerError)
    if issubclass(kind, ConditionFailed):
        item = document.get("item")
        return kind(b"" if item is None else orjson.dumps(item), message)
    if issubclass(kind, ThrottledError):
        return _decode_throttled(kind, message, document.get("reasons", []))
    return kind(message)


def _decode_throttled(kind: type[ThrottledError], message: str, pairs: object) -> ModelError:
    if not isinstance(pairs, list) or any(
        not isinstance(pair, list) or len(pair) != 2 for pair in pairs
    ):
        return InternalServerError()
    return kind(message, [(str(reason), str(resource)) for reason, resource in pairs])
