"""What to do with an answer that is not success. Pure."""

from __future__ import annotations

import random
from enum import Enum, unique
from typing import Final

from quorate.client.errors import THROTTLING_CODES

BACKOFF_SECONDS_MIN: Final = 0.025
BACKOFF_SECONDS_MAX: Final = 1.0
"""Bounds of the wait before a call is tried again. Ours."""


@unique
class Verdict(Enum):
    """What an answer means for the call."""

    DONE = "done"
    REFUSED = "refused"  # would be refused again
    THROTTLED = "throttled"  # not done; later it may be
    FAILED = "failed"  # not done; the cluster was not able to just now
    UNKNOWN = "unknown"  # perhaps done: only the same request id may be tried again


def judge(status: int, code: str) -> Verdict:
    """Return what an answer of this HTTP status and error code means."""
    if status == 200:
        return Verdict.DONE
    if code in THROTTLING_CODES:
        return Verdict.THROTTLED
    if status == 503 or code == "ServiceUnavailable":
        return Verdict.FAILED
    if status >= 500:
        return Verdict.UNKNOWN
    return Verdict.REFUSED


def backoff_seconds(failures: int, rng: random.Random) -> float:
    """Return how long to wait after so many failures in a row: doubling, with full jitter."""
    assert failures >= 1
    bound = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN * 2 ** min(failures - 1, 16))
    return rng.uniform(bound / 4, bound)
