"""How a DynamoDB error looks to a gRPC client: a status with google.rpc details."""

from __future__ import annotations

from typing import Any, Final, NoReturn
from urllib.parse import quote

import grpc
import orjson
from google.protobuf import any_pb2, duration_pb2
from google.rpc import (
    code_pb2,
    error_details_pb2,
    status_pb2,
)

from model.errors import ConditionFailed, ModelError, ThrottledError
from quorate.v1 import api_pb2
from router.message_json import to_message

DOMAIN: Final = "quorate"
DETAILS_KEY: Final = "grpc-status-details-bin"

RETRY_AFTER_MS: Final = 100
"""What a throttled client is asked to wait at least. Ours."""

ITEM_BYTES_MAX: Final = 4 << 10
"""Largest item that travels with a failed condition. Trailers must stay under gRPC's 8 KiB; the
Pipeline stream has no such bound. Ours."""

TEXT_BYTES_MAX: Final = 6 << 10
"""Longest error text, as often as it travels in the trailers: percent-encoded, and in the details
in base64. Ours: the rest of gRPC's 8 KiB is for what else is there."""

ITEM_OMITTED: Final = "item_omitted"
"""ErrorInfo metadata key: the item was asked for and was too large to be sent."""

_PLAIN: Final = "".join(map(chr, range(32, 127))).replace("%", "")
"""What travels as it is in a status' text. Source: gRPC over HTTP/2, Responses."""

_CODES: Final = {
    "ValidationException": grpc.StatusCode.INVALID_ARGUMENT,
    "SerializationException": grpc.StatusCode.INVALID_ARGUMENT,
    "UnknownOperationException": grpc.StatusCode.UNIMPLEMENTED,
    "MissingAuthenticationTokenException": grpc.StatusCode.UNAUTHENTICATED,
    "IncompleteSignatureException": grpc.StatusCode.UNAUTHENTICATED,
    "InvalidSignatureException": grpc.StatusCode.UNAUTHENTICATED,
    "UnrecognizedClientException": grpc.StatusCode.UNAUTHENTICATED,
    "AccessDeniedException": grpc.StatusCode.PERMISSION_DENIED,
    "ConditionalCheckFailedException": grpc.StatusCode.FAILED_PRECONDITION,
    "ItemCollectionSizeLimitExceededException": grpc.StatusCode.FAILED_PRECONDITION,
    "ResourceNotFoundException": grpc.StatusCode.NOT_FOUND,
    "ResourceInUseException": grpc.StatusCode.ALREADY_EXISTS,
    "LimitExceededException": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ProvisionedThroughputExceededException": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "ThrottlingException": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "RequestLimitExceeded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "TransactionConflictException": grpc.StatusCode.ABORTED,
}


def status_code(error: ModelError) -> grpc.StatusCode:
    """Return the gRPC code. What is not listed is a 500 or 503: UNAVAILABLE, that is, retry."""
    return _CODES.get(error.code, grpc.StatusCode.UNAVAILABLE)


async def abort(context: Any, error: ModelError) -> NoReturn:  # noqa: ANN401  (gRPC's)
    """End an RPC with an error. What gRPC raises then is for gRPC."""
    await context.abort(status_code(error), text_of(error), trailing_metadata(error))
    raise AssertionError("abort raises")


def text_of(error: ModelError) -> str:
    """Return the error's text, cut if it quotes so much that no client would receive it."""
    text = str(error).encode(errors="replace").decode()
    while _travelling_bytes(text) > TEXT_BYTES_MAX:
        text = text[: len(text) * 9 // 10].rstrip(".") + "..."
    return text


def _travelling_bytes(text: str) -> int:
    return len(quote(text, safe=_PLAIN)) + len(text.encode()) * 4 // 3


def trailing_metadata(error: ModelError) -> tuple[tuple[str, bytes], ...]:
    """Return the trailers that carry the error's details."""
    code: int = code_pb2.Code.Value(status_code(error).name)
    info = error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN)
    details: list[any_pb2.Any] = []
    if isinstance(error, ThrottledError):
        for reason, resource in error.reasons:
            info.metadata[reason] = resource
        wait = duration_pb2.Duration()
        wait.FromMilliseconds(RETRY_AFTER_MS)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=wait)))
    if isinstance(error, ConditionFailed) and error.item_json:
        item = api_pb2.AttributeMap()
        to_message(orjson.loads(error.item_json), item)
        if item.ByteSize() <= ITEM_BYTES_MAX:
            details.append(_packed(item))
        else:
            info.metadata[ITEM_OMITTED] = "true"
    details.insert(0, _packed(info))
    status = status_pb2.Status(code=code, message=text_of(error), details=details)
    return ((DETAILS_KEY, status.SerializeToString()),)


def _packed(
    message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo | api_pb2.AttributeMap,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
