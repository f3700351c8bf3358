"""Which answers are worth another attempt, and when."""

from __future__ import annotations

import random

import pytest

from quorate.client.errors import (
    ConditionalCheckFailed,
    QuorateError,
    RequestRefused,
    ResourceInUse,
    ResourceNotFound,
    Throttled,
    error_of,
)
from quorate.client.retry import (
    BACKOFF_SECONDS_MAX,
    BACKOFF_SECONDS_MIN,
    Verdict,
    backoff_seconds,
    judge,
)


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (200, "", Verdict.DONE),
        (400, "ValidationException", Verdict.REFUSED),
        (400, "ConditionalCheckFailedException", Verdict.REFUSED),
        (400, "ProvisionedThroughputExceededException", Verdict.THROTTLED),
        (400, "ThrottlingException", Verdict.THROTTLED),
        (503, "ServiceUnavailable", Verdict.FAILED),
        (500, "InternalServerError", Verdict.UNKNOWN),
    ],
)
def test_answers_are_judged_by_what_they_say_about_the_write(
    status: int, code: str, verdict: Verdict
) -> None:
    assert judge(status, code) is verdict


def test_backoff_grows_with_jitter_and_is_bounded() -> None:
    rng = random.Random(7)

    for failures in range(1, 60):
        pause = backoff_seconds(failures, rng)

        bound = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2 ** (failures - 1))
        assert bound / 4 <= pause <= bound


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ConditionalCheckFailedException", ConditionalCheckFailed),
        ("ResourceNotFoundException", ResourceNotFound),
        ("ResourceInUseException", ResourceInUse),
        ("ThrottlingException", Throttled),
        ("ValidationException", RequestRefused),
        ("SomethingNew", RequestRefused),
    ],
)
def test_each_code_has_its_class_and_keeps_the_clusters_words(
    code: str, kind: type[QuorateError]
) -> None:
    error = error_of(400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "why"})

    assert type(error) is kind
    assert (error.code, str(error)) == (code, "why")


def test_an_error_without_a_document_still_says_something() -> None:
    assert str(error_of(502, {})) == "status 502"
