"""An order that explains a history, made from the order of the log.

Whoever shows an order that fits has proved the history linearizable, however it was found; so this
needs no trust in what it is made from. The search of `tests.sim.history` can then be kept for what
no log explains.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import accumulate

from tests.sim.history import ENDLESS, Operation, State, effect


def is_explained(operations: Sequence[Operation], order: Mapping[bytes, int]) -> bool:
    """Whether the writes in this order, with the reads put in between, explain all results.

    `order` says where a write's id stands; a write without a place has never taken effect.
    """
    reads = [operation for operation in operations if operation.kind == "get"]
    writes = [operation for operation in operations if operation.write_id in order]
    if len(reads) + len(writes) < sum(operation.returned != ENDLESS for operation in operations):
        return False  # an acknowledged write is not in the log
    writes.sort(key=lambda operation: order[operation.write_id])
    states = _states(writes)
    return states is not None and _has_room_for(reads, writes, states)


def _states(writes: Sequence[Operation]) -> list[State] | None:
    """Return the state before, between and after the writes; None if they do not fit."""
    state: State = None
    states = [state]
    latest_call = 0.0
    for write in writes:
        latest_call = max(latest_call, write.called)
        fits, state = effect(write, state)
        if not fits or write.returned < latest_call:
            return None
        states.append(state)
    return states


def _has_room_for(
    reads: list[Operation], writes: Sequence[Operation], states: Sequence[State]
) -> bool:
    """Whether every read finds a moment with its result: the earliest will do for the others."""
    by_return = sorted((write.returned, place) for place, write in enumerate(writes, start=1))
    returns = [returned for returned, _ in by_return]
    lows = list(accumulate((place for _, place in by_return), max, initial=0))
    by_call = sorted(((write.called, place) for place, write in enumerate(writes)), reverse=True)
    calls = [-called for called, _ in by_call]
    highs = list(accumulate((place for _, place in by_call), min, initial=len(writes)))
    placed: list[
        tuple[float, int]
    ] = []  # (returned, moment) of reads, those first that ended first
    seen = 0  # the latest moment of a read that had ended
    for read in sorted(reads, key=lambda read: read.called):
        while placed and placed[0][0] < read.called:
            seen = max(seen, heappop(placed)[1])
        low = max(seen, lows[bisect_left(returns, read.called)])
        high = highs[bisect_left(calls, -read.returned)]
        for moment in range(low, high + 1):
            if states[moment] == read.result:
                break
        else:
            return False
        heappush(placed, (read.returned, moment))
    return True
