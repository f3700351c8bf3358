"""One line for a call that was slow or failed on our side, with the ids that lead on from it.

`request` is the first 32 characters of the client's x-amzn-RequestId, in lower case. `write` is the
id under which the nodes know the write, in their logs and in the entry (`quorate log find`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from quorate.logs import LineLimit, warn
from router.call import Call
from router.routed import Routed, RoutedWrite

LINES_PER_SECOND_MAX: Final = 10
"""Most lines a second; the next one tells how many were left out. Ours."""

FAILURES: Final = frozenset({"InternalServerError", "ServiceUnavailable"})
"""Errors that are the cluster's fault, not the caller's."""


class CallLog:
    """Decides which calls are worth a line."""

    def __init__(self, wall_clock: Callable[[], float], *, slow_seconds: float) -> None:
        """Calls that take longer than `slow_seconds` are told of."""
        self.slow_seconds = slow_seconds
        self._limit = LineLimit(LINES_PER_SECOND_MAX, wall_clock)

    def write(self, call: Call, code: str, now: float) -> None:
        """Log a call that is slow or failed; `now` is on the clock that it was started on."""
        admitted, left_out = self._limit.admit()
        if not admitted:
            return
        facts: dict[str, object] = {
            "operation": call.operation,
            "request": call.request_id.hex(),
            "code": code,
            "ms": _ms(now - call.started),
        }
        if call.decoded_at:
            facts["decode_ms"] = _ms(call.decoded_at - call.started)
        if call.admitted_at:
            facts["dispatch_ms"] = _ms(now - call.admitted_at)
        if call.routed is not None:
            facts |= _routed_facts(call.routed)
        if left_out:
            facts["left_out"] = left_out
        warn("failed_request" if code in FAILURES else "slow_request", **facts)


def _routed_facts(routed: Routed) -> dict[str, object]:
    """Return where the newest part of a call went."""
    facts: dict[str, object] = {
        "partition": routed.partition,
        "node": routed.node_id,
        "attempts": routed.attempts,
    }
    if isinstance(routed, RoutedWrite):
        facts["write"] = routed.request_id.hex()
    return facts


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
