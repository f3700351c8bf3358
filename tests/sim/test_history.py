"""The client oracle itself: it must accept what is right and refuse what is wrong."""

from __future__ import annotations

import pytest

from tests.sim.history import ENDLESS, FAILED, Operation, is_linearizable


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
