"""Recorded histories, and a checker that says whether they are linearizable.

Wing and Gong's search with Lowe's memo of (operations done, state), per key. An operation whose
outcome is unknown may take effect at any time after its call, or never. A history with too few
successes proves nothing: `require_thick` fails it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "rejected", "unknown"]
State = int | None
"""A register's or counter's value; None is a missing item."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One attempt of one client; times are on one monotonic clock.

    `kind` is put, get, delete, swap (arguments: expected, new), miss (a swap whose condition was
    false; arguments as swap's) or add. `result` is a get's value, or an add's value after it. An
    operation that was surely not done is "rejected" and is not in the search.
    """

    client: int
    key: str
    kind: str
    arguments: tuple[int | None, ...]
    result: State
    called: float
    returned: float
    status: Status


class ThinHistory(AssertionError):
    """Too little happened for the check to mean anything."""


def step(state: State, operation: Operation) -> tuple[bool, State]:
    """Return whether the operation may happen in a state, and the state after it."""
    known = operation.status == "ok"
    match operation.kind:
        case "put":
            return True, operation.arguments[0]
        case "delete":
            return True, None
        case "get":
            return not known or operation.result == state, state
        case "swap":
            expected, new = operation.arguments
            if state == expected:
                return True, new
            return not known, state  # if the answer was lost, it may have failed
        case "miss":
            return state != operation.arguments[0], state
        case "add":
            after = (state or 0) + (operation.arguments[0] or 0)
            return not known or operation.result in (None, after), after
        case kind:
            raise AssertionError(kind)


class _Entry:
    """A call or a return in the list of events. A call has `matching`, its return, or None."""

    __slots__ = ("bit", "is_call", "matching", "next", "operation", "previous")

    def __init__(self, operation: Operation, bit: int, *, is_call: bool) -> None:
        self.operation = operation
        self.bit = bit
        self.is_call = is_call
        self.matching: _Entry | None = None
        self.next: _Entry | None = None
        self.previous: _Entry | None = None

    def lift(self) -> None:
        """Take this call and its return out of the list."""
        _unlink(self)
        if self.matching is not None:
            _unlink(self.matching)

    def unlift(self) -> None:
        """Undo `lift`; lifts are undone in reverse order."""
        if self.matching is not None:
            _relink(self.matching)
        _relink(self)


def _unlink(entry: _Entry) -> None:
    assert entry.previous is not None
    entry.previous.next = entry.next
    if entry.next is not None:
        entry.next.previous = entry.previous


def _relink(entry: _Entry) -> None:
    assert entry.previous is not None
    entry.previous.next = entry
    if entry.next is not None:
        entry.next.previous = entry


def _event_list(operations: Sequence[Operation]) -> _Entry:
    """Return the head of the list of calls and returns in the order in which they happened."""
    events: list[tuple[float, int, _Entry]] = []
    for number, operation in enumerate(operations):
        call = _Entry(operation, 1 << number, is_call=True)
        events.append((operation.called, 0, call))
        if operation.status == "ok":  # an unknown one never returns
            call.matching = _Entry(operation, 1 << number, is_call=False)
            events.append((operation.returned, 1, call.matching))
    # At one instant calls come before returns: that allows more orders, never fewer.
    events.sort(key=lambda event: event[:2])
    head = last = _Entry(operations[0], 0, is_call=True)
    for _, _, entry in events:
        last.next, entry.previous = entry, last
        last = entry
    return head


def is_linearizable(
    operations: Iterable[Operation],
    *,
    initial: State = None,
    model: Callable[[State, Operation], tuple[bool, State]] = step,
) -> bool:
    """Return whether some order of one key's operations explains all results."""
    possible = [operation for operation in operations if operation.status != "rejected"]
    if not possible:
        return True
    head = _event_list(possible)
    done, state = 0, initial
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[_Entry, State]] = []
    entry = head.next
    while entry is not None:  # the end of the list: no return is left unexplained
        if entry.is_call:
            may, after = model(state, entry.operation)
            if may and (done | entry.bit, after) not in seen:
                seen.add((done | entry.bit, after))
                stack.append((entry, state))
                done |= entry.bit
                state = after
                entry.lift()
                entry = head.next
            else:
                entry = entry.next
        elif stack:
            entry, state = stack.pop()
            done ^= entry.bit
            entry.unlift()
            entry = entry.next
        else:
            return False
    return True


def not_linearizable(history: Iterable[Operation]) -> list[str]:
    """Return the keys whose operations no order explains."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    return [key for key, operations in by_key.items() if not is_linearizable(operations)]


def require_thick(history: Sequence[Operation], *, ok_min: int, keys_min: int) -> None:
    """Raise ThinHistory unless enough succeeded, and enough of it at the same time."""
    succeeded = [operation for operation in history if operation.status == "ok"]
    keys = {operation.key for operation in succeeded}
    if len(succeeded) < ok_min or len(keys) < keys_min:
        raise ThinHistory(f"{len(succeeded)} successes on {len(keys)} keys")
    overlapping = 0
    latest: dict[str, float] = defaultdict(lambda: -math.inf)
    for operation in sorted(succeeded, key=lambda each: each.called):
        overlapping += operation.called < latest[operation.key]
        latest[operation.key] = max(latest[operation.key], operation.returned)
    if overlapping < ok_min // 10:
        raise ThinHistory(f"only {overlapping} of {len(succeeded)} operations met another one")
