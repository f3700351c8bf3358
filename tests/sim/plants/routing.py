"""Planted bugs: what a router makes of an answer, or of none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from quorate.cluster.outcome import Outcome
from router import dispatch
from router.dispatch import Dispatch
from router.refusals import no_answer_in_time
from router.routed import Routed, RoutedWrite
from tests.sim.plants.registry import Change, plant


@plant
def unknown_is_success() -> Sequence[Change]:
    """The router takes "unknown" for "done"."""
    refused = Dispatch._refused

    def glad(self: Dispatch, routed: Routed, node_id: int, outcome: int, payload: bytes) -> None:
        if outcome == Outcome.UNKNOWN and routed.is_write:
            self._remove(routed)
            routed.owner.answered(routed, 1, b"")
            return
        refused(self, routed, node_id, outcome, payload)

    return [(Dispatch, "_refused", glad)]


@plant
def resent_with_new_id() -> Sequence[Change]:
    """The router sends a write again under another request id."""
    again = Dispatch._again
    numbers = count(1)

    def renaming(self: Dispatch, routed: Routed) -> None:
        if isinstance(routed, RoutedWrite) and routed.sent:
            routed.request_id = b"again" + next(numbers).to_bytes(11, "big")
        again(self, routed)

    return [(Dispatch, "_again", renaming)]


@plant
def expired_is_not_done() -> Sequence[Change]:
    """At the deadline the router says "nothing was done", also of what may have been proposed."""

    def expire(self: Dispatch, routed: Routed) -> None:
        routed.maybe_proposed = False
        self._fail(routed, no_answer_in_time(led=True))

    return [(Dispatch, "_expire", expire)]


@plant
def broken_stream_is_not_done() -> Sequence[Change]:
    """The router forgets that what was on a broken stream may have been proposed."""

    def again(self: Dispatch, routed: Routed) -> None:
        routed.sent = False
        self._route(routed)

    return [(dispatch.Dispatch, "_again", again)]
