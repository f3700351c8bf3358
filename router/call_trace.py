"""The spans of a sampled call at its router: the call, and in it decode, admission, dispatches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quorate.cluster.token_bucket import TokenBucket
from quorate.tracing.context import SAMPLED, TraceContext
from router.call_log import FAILURES

if TYPE_CHECKING:
    from quorate.tracing.tracer import OpenSpan, Tracer
    from router.call import Call
    from router.routed import Routed

DISPATCHES_MAX: Final = 100
"""Most dispatch spans of a call; its further parts have none. A batch has at most as many. Ours."""

CLIENTS_PER_SECOND_MAX: Final = 100
"""Most calls a second that are traced because their clients say so. Ours: a hundredth of what a
router serves, so that no client fills the collector, or everybody's queue to it."""


class CallTrace:
    """Made when a call has an operation; ended when the call is."""

    __slots__ = ("_dispatches", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: OpenSpan) -> None:
        """Take the call's own span."""
        self._tracer = tracer
        self._span = span
        self._dispatches: list[OpenSpan] = []

    @property
    def id(self) -> str:
        """The trace's id, as collectors show it."""
        return f"{self._span.context.trace_id:032x}"

    def dispatched(self, routed: Routed, at: float) -> bytes:
        """Begin a span for a part that goes to nodes; return its context for the leader."""
        if len(self._dispatches) >= DISPATCHES_MAX:
            return b""
        span = self._tracer.open(
            "dispatch",
            at,
            parent=self._span.context,
            kind="CLIENT",
            attributes={"quorate.partition": routed.partition},
        )
        if span is None:
            return b""
        self._dispatches.append(span)
        return span.context.encode()

    def end(self, call: Call, code: str, at: float) -> None:
        """End all spans of a call that was answered."""
        parent = self._span.context
        if call.decoded_at:
            self._tracer.record("decode", call.started, call.decoded_at, parent=parent)
            admitted_at = call.admitted_at or at
            self._tracer.record("admission", call.decoded_at, admitted_at, parent=parent)
        routed = call.routed
        for span in self._dispatches:
            facts = {} if routed is None else {"quorate.attempts": routed.attempts}
            span.end(at, **facts)
        if code in FAILURES:
            self._span.failed(code)
        self._span.end(at, **{"quorate.code": code})


class CallTracing:
    """Begins the traces of calls.

    Whether a call is traced is its client's decision, as W3C has it, but for a share of them only:
    of those that are more, the sampler decides as if their clients had said nothing.
    """

    def __init__(self, tracer: Tracer) -> None:
        """Take the process's."""
        self._tracer = tracer
        self._share = TokenBucket(
            CLIENTS_PER_SECOND_MAX, CLIENTS_PER_SECOND_MAX, CLIENTS_PER_SECOND_MAX, now=0.0
        )

    def begin(self, call: Call) -> CallTrace | None:
        """Return a call's trace, None if it is not sampled."""
        parent = TraceContext.parse(call.traceparent)
        if parent is not None and parent.flags & SAMPLED and not self._takes_one(call.started):
            parent = None
        span = self._tracer.open(
            call.operation,
            call.started,
            parent=parent,
            kind="SERVER",
            attributes={
                "rpc.system": "quorate",
                "rpc.method": call.operation,
                "quorate.request_id": call.request_id.hex(),
            },
        )
        return None if span is None else CallTrace(self._tracer, span)

    def _takes_one(self, now: float) -> bool:
        self._share.refill(now)
        if self._share.level < 1:
            return False
        self._share.settle(1)
        return True
