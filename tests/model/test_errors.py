"""Errors: the documents that SDKs parse, and the trip from node to router."""

import json

import pytest

from model.errors import (
    ConditionFailed,
    InternalServerError,
    ItemTooLarge,
    ModelError,
    ProvisionedThroughputExceeded,
    ResourceInUse,
    ResourceNotFound,
    SerializationFailed,
    ServiceUnavailable,
    Throttled,
    UnknownOperation,
    ValidationError,
    decode_error,
    encode_error,
    invalid,
)
from model.sentences import Sentence

REASONS = [("TableWriteKeyRangeThroughputExceeded", "arn:aws:dynamodb:local:0:table/t")]


@pytest.mark.parametrize(
    ("error", "document"),
    [
        (
            ValidationError("no"),
            {"__type": "com.amazon.coral.validate#ValidationException", "message": "no"},
        ),
        (
            SerializationFailed("no"),
            {"__type": "com.amazon.coral.service#SerializationException", "Message": "no"},
        ),
        (
            SerializationFailed(),
            {"__type": "com.amazon.coral.service#SerializationException"},
        ),
        (
            UnknownOperation(),
            {"__type": "com.amazon.coral.service#UnknownOperationException"},
        ),
        (
            ResourceNotFound(),
            {
                "__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
                "message": "Requested resource not found",
            },
        ),
        (
            ConditionFailed(b'{"a":{"S":"x"}}'),
            {
                "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                "message": "The conditional request failed",
                "Item": {"a": {"S": "x"}},
            },
        ),
        (
            Throttled("slow", REASONS),
            {
                "__type": "com.amazon.coral.availability#ThrottlingException",
                "message": "slow",
                "throttlingReasons": [{"reason": REASONS[0][0], "resource": REASONS[0][1]}],
            },
        ),
        (
            ProvisionedThroughputExceeded("slow", REASONS),
            {
                "__type": (
                    "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
                ),
                "message": "slow",
                "ThrottlingReasons": [{"reason": REASONS[0][0], "resource": REASONS[0][1]}],
            },
        ),
    ],
)
def test_document_is_what_aws_sends(error: ModelError, document: dict[str, object]) -> None:
    assert json.loads(error.document) == document


@pytest.mark.parametrize(
    ("error", "status", "retryable"),
    [
        (ValidationError("no"), 400, False),
        (ConditionFailed(), 400, False),
        (Throttled(), 400, True),
        (InternalServerError(), 500, True),
        (ServiceUnavailable(), 503, True),
    ],
)
def test_status_and_retryability_go_with_the_class(
    error: ModelError,
    status: int,
    retryable: bool,  # noqa: FBT001
) -> None:
    assert (error.http_status, error.retryable) == (status, retryable)


@pytest.mark.parametrize(
    "error",
    [
        ValidationError("x"),
        ItemTooLarge(),
        ConditionFailed(),
        ConditionFailed(b'{"a":{"S":"x"}}'),
        Throttled("slow", REASONS),
        ResourceInUse("there"),
        InternalServerError(),
    ],
)
def test_error_survives_the_trip_between_processes(error: ModelError) -> None:
    assert decode_error(encode_error(error)).document == error.document


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b"{}",
        b'{"code":"NoSuchError"}',
        b'{"code":"ThrottlingException","reasons":1}',
    ],
)
def test_unreadable_error_becomes_an_internal_one(raw: bytes) -> None:
    """Never a 4xx: what happened is not known."""
    assert isinstance(decode_error(raw), InternalServerError)


def test_sentence_may_quote_braces_and_lone_surrogates() -> None:
    error = invalid(Sentence.NUMBER_INVALID, text="{x}\ud800")

    assert json.loads(error.document)["message"].endswith(": {x}?")
