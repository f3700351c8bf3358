"""The client oracle itself: it must accept what is right and refuse what is wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from random import Random

import pytest

from tests.sim.history import ENDLESS, FAILED, Operation, State, effect, is_linearizable
from tests.sim.witness import is_explained


def did(
    kind: str,
    called: float,
    returned: float,
    result: object = None,
    *,
    value: str = "",
    **more: str,
) -> Operation:
    operation = Operation(1, kind, "k", b"", called, value, more.get("expected", ""))
    operation.returned, operation.result = returned, result
    return operation


LEGAL = {
    "nothing": [],
    "in turn": [did("put", 0, 1, value="a"), did("get", 2, 3, ("a", 0))],
    "overlapping read sees the old": [did("put", 0, 9, value="a"), did("get", 1, 2, None)],
    "overlapping read sees the new": [did("put", 0, 9, value="a"), did("get", 1, 2, ("a", 0))],
    "adds count": [did("add", 0, 5, 2), did("add", 1, 4, 1), did("get", 6, 7, ("", 2))],
    "unknown took effect": [did("add", 0, ENDLESS), did("get", 5, 6, ("", 1))],
    "unknown took effect late": [
        did("add", 0, ENDLESS),
        did("get", 5, 6, None),
        did("get", 7, 8, ("", 1)),
    ],
    "unknown did not": [did("add", 0, ENDLESS), did("get", 5, 6, None)],
    "condition held": [
        did("put_if_absent", 0, 1, value="a"),
        did("put_if", 2, 3, value="b", expected="a"),
        did("get", 4, 5, ("b", 0)),
    ],
    "condition failed": [
        did("put", 0, 1, value="a"),
        did("put_if_absent", 2, 3, FAILED, value="b"),
        did("get", 4, 5, ("a", 0)),
    ],
    "deleted": [did("put", 0, 1, value="a"), did("delete", 2, 3), did("get", 4, 5, None)],
}

ILLEGAL = {
    "stale read": [did("put", 0, 1, value="a"), did("get", 2, 3, None)],
    "lost write": [did("add", 0, 1, 1), did("get", 2, 3, ("", 1)), did("get", 4, 5, None)],
    "read of what nobody wrote": [did("get", 0, 1, ("a", 0))],
    "counted twice": [did("add", 0, 1, 1), did("get", 2, 3, ("", 2))],
    "counted twice, unknown": [did("add", 0, ENDLESS), did("get", 2, 3, ("", 2))],
    "same number twice": [did("add", 0, 5, 1), did("add", 0, 5, 1)],
    "both took the lock": [
        did("put_if_absent", 0, 5, value="a"),
        did("put_if_absent", 0, 5, value="b"),
    ],
    "condition failed on what was not there": [did("put_if_absent", 0, 1, FAILED, value="a")],
    "failed condition took effect": [
        did("put", 0, 1, value="a"),
        did("put_if", 2, 3, FAILED, value="b", expected="x"),
        did("get", 4, 5, ("b", 0)),
    ],
    "reads go back": [
        did("put", 0, 9, value="a"),
        did("get", 1, 2, ("a", 0)),
        did("get", 3, 4, None),
    ],
    "unknown before its call": [did("get", 0, 1, ("a", 0)), did("put", 2, ENDLESS, value="a")],
}


@pytest.mark.parametrize("name", LEGAL)
def test_oracle_accepts(name: str) -> None:
    assert is_linearizable(LEGAL[name])


@pytest.mark.parametrize("name", ILLEGAL)
def test_oracle_refuses(name: str) -> None:
    assert not is_linearizable(ILLEGAL[name])


@pytest.mark.parametrize("name", ["in turn", "adds count", "condition failed", "deleted"])
def test_order_of_the_log_is_proof_enough(name: str) -> None:
    operations = [replace(each, write_id=bytes([at])) for at, each in enumerate(LEGAL[name])]
    orders = [
        dict(zip([each.write_id for each in operations], places, strict=True))
        for places in permutations(range(len(operations)))
    ]

    assert any(is_explained(operations, order) for order in orders)


@pytest.mark.parametrize("name", ILLEGAL)
def test_no_order_of_the_log_explains_what_cannot_be(name: str) -> None:
    operations = [replace(each, write_id=bytes([at])) for at, each in enumerate(ILLEGAL[name])]
    writes = [each.write_id for each in operations if each.kind != "get"]

    for count in range(len(writes) + 1):
        for taken in permutations(writes, count):
            order = {request_id: place for place, request_id in enumerate(taken)}
            assert not is_explained(operations, order)


def test_search_and_log_agree_on_random_histories() -> None:
    """What an order explains, the search must find possible, too."""
    rng = Random(7)
    explained = 0
    for _ in range(300):
        operations = random_history(rng)
        order = {each.write_id: place for place, each in enumerate(operations)}
        if is_explained(operations, order):
            explained += 1
            assert is_linearizable(operations)
    assert explained > 50


def random_history(rng: Random) -> list[Operation]:
    """Operations that took effect one after the other, one result perhaps made up."""
    operations: list[Operation] = []
    state: State = None
    for place in range(8):
        kind = rng.choice(("put", "add", "delete", "get", "put_if_absent"))
        operation = Operation(1, kind, "k", b"", place - rng.random() * 3, write_id=bytes([place]))
        operation.value = f"v{place}" if kind.startswith("put") else ""
        holds = state is None
        _, after = effect(operation, state)
        operation.returned = place + rng.random() * 3
        if kind == "get":
            operation.result = state
        elif kind == "add":
            assert after is not None
            operation.result = after[1]
        elif kind == "put_if_absent" and not holds:
            operation.result = FAILED
        operations.append(operation)
        state = after
    if rng.random() < 0.5:
        rng.choice(operations).result = ("made up", 0)
    return operations
