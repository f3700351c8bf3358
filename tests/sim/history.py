"""The client oracle: is what the clients saw of one key the work of one item, used in some order?

Every operation took effect at most once, at one moment between its call and its return; exactly
once if it was acknowledged. One whose outcome stayed unknown may take effect at any later time,
or never. The search is Wing and Gong's, with the states that were tried remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

State = tuple[str, int] | None
"""An item: what was put, and what was added since; None = there is none."""

TRIED_MAX = 200_000
"""States after which the search gives up."""

FAILED = "failed"
"""The result of a write whose condition did not hold."""

ENDLESS = float("inf")


@dataclass(slots=True, eq=False)
class Operation:
    """What a client did, however many requests it took.

    `returned` is ENDLESS while, or if for ever, the outcome is unknown. `result` is a get's
    state, an add's new number, FAILED, or None; an add's is None, too, if nobody remembers it.
    `request_id` is the client's, `write_id` the one in the log.
    """

    client: int
    kind: str
    name: str
    request_id: bytes
    called: float
    value: str = ""
    expected: str = ""
    returned: float = ENDLESS
    result: object = None
    maybe: bool = False
    write_id: bytes = b""

    def __str__(self) -> str:
        span = f"[{self.called:.4f} .. {self.returned:.4f}]"
        what = f"{self.kind} {self.name} {self.value}"
        if self.expected:
            what += f" if {self.expected}"
        outcome = "unknown" if self.returned == ENDLESS else repr(self.result)
        return f"{span} client {self.client}: {what} -> {outcome} (id {self.request_id.hex()[-6:]})"


class Undecided(Exception):
    """The search gave up."""


def is_linearizable(operations: Sequence[Operation], start: State = None) -> bool:
    """Whether some order explains all results. Raises Undecided."""
    ordered = sorted(operations, key=lambda operation: operation.called)
    must = 0
    for place, operation in enumerate(ordered):
        if operation.returned != ENDLESS:
            must |= 1 << place
    tried: set[tuple[int, State]] = set()
    stack: list[tuple[int, int, State]] = [(0, 0, start)]
    while stack:
        done, low, state = stack.pop()
        if done & must == must:
            return True
        if (done, state) in tried:
            continue
        tried.add((done, state))
        if len(tried) > TRIED_MAX:
            raise Undecided
        while done >> low & 1:
            low += 1
        for place in _candidates(ordered, done, low):
            fits, after = effect(ordered[place], state)
            if fits:
                stack.append((done | 1 << place, low, after))
    return False


def beginning_of(operations: Sequence[Operation], until: float) -> list[Operation]:
    """Return what had happened by a moment: what had not returned by then is unknown."""
    begun = [
        operation
        if operation.returned <= until
        else replace(operation, returned=ENDLESS, result=None)
        for operation in operations
        if operation.called <= until
    ]
    return [each for each in begun if each.kind != "get" or each.returned != ENDLESS]


def shortest_wrong(operations: list[Operation]) -> list[Operation]:
    """Return the shortest beginning of a history that no order explains."""
    for until in sorted(operation.returned for operation in operations):
        part = beginning_of(operations, until)
        try:
            if not is_linearizable(part):
                return part
        except Undecided:
            break
    return operations


def _candidates(ordered: Sequence[Operation], done: int, low: int) -> list[int]:
    """Return what may come next, the likeliest last: nothing that is not done returned before it.

    Of adds or deletes with unknown ends one is as good as the other: only the first is tried.
    """
    first_return = ENDLESS
    unknown: set[str] = set()
    candidates: list[tuple[float, int]] = []
    for place in range(low, len(ordered)):
        operation = ordered[place]
        if operation.called > first_return:
            break
        if done >> place & 1:
            continue
        if operation.returned == ENDLESS:
            kind = operation.kind
            if kind in unknown:
                continue
            if kind in ("add", "delete"):
                unknown.add(kind)
        first_return = min(first_return, operation.returned)
        candidates.append((operation.returned, place))
    candidates.sort(reverse=True)
    return [place for _, place in candidates if ordered[place].called <= first_return]


def effect(operation: Operation, state: State) -> tuple[bool, State]:
    """Return whether an operation at this state gives its result, and the state afterwards."""
    kind, result = operation.kind, operation.result
    known = operation.returned != ENDLESS
    if kind == "get":
        return result == state, state
    after: State
    if kind == "add":
        after = (state[0], state[1] + 1) if state else ("", 1)
        return not known or result in (None, after[1]), after
    if kind == "delete":
        return True, None
    if kind == "put":
        return True, (operation.value, 0)
    if kind == "put_if_absent":
        holds = state is None
    else:
        assert kind == "put_if"
        holds = state is not None and state[0] == operation.expected
    after = (operation.value, 0) if holds else state
    return not known or (result != FAILED) == holds, after
