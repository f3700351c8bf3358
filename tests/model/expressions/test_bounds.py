"""Hostile input costs little: every expression is read in linear time and bounded depth."""

import sys
from collections.abc import Callable
from time import thread_time
from types import FrameType
from typing import Any

import pytest

from model.errors import ValidationError
from model.expressions import compile_condition, compile_projection, compile_update
from model.expressions.reserved_words import RESERVED_WORDS

VALUES: dict[str, dict[str, Any]] = {":v": {"N": "1"}, ":l": {"L": []}}
SECONDS_MAX = 0.05


def condition(text: str) -> None:
    compile_condition(text, None, VALUES).holds({"a": {"N": "1"}}, VALUES)


def update(text: str) -> None:
    compile_update(text, None, VALUES)


def nested(depth: int) -> str:
    return "a<:v AND (" * depth + "a=:v" + ")" * depth


@pytest.mark.parametrize(
    ("read", "text", "sentence"),
    [
        (condition, "(" * 100_000, "Expression size has exceeded the maximum allowed size;"),
        (condition, "a = :v".ljust(4097), "Expression size has exceeded"),
        (condition, "é" * 2049, "Expression size has exceeded"),
        (condition, "(" * 4096, "Syntax error"),
        (condition, "(" * 2045 + "a = :v" + ")" * 2045, "redundant parentheses"),
        (condition, "size(" * 819, "Syntax error"),
        (condition, "f(" * 1000 + "a" + ")" * 1000, "too many operators; operator count: 1000"),
        (condition, "NOT " * 1022 + "a=:v", "too many operators; operator count: 1023"),
        (condition, " OR ".join(["a=:v"] * 301), "too many operators; operator count: 301"),
        (condition, nested(300), "too many operators; operator count: 301"),
        (condition, "a" + ".a" * 2000 + "=:v", "too many nesting elements; nesting levels: 2001"),
        (condition, "a[" + "9" * 255 + "]=:v", "List index is not within the allowable range"),
        (condition, "a IN (" + ",".join([":v"] * 1300) + ")", "too many operands"),
        (update, "SET a=" + "list_append(" * 340, "Syntax error"),
        (update, "SET a=" + "f(" * 1000 + "a" + ")" * 1000, "operator count: 1000"),
        (update, "SET a=" + "(" * 2000 + "a" + ")" * 2000, "redundant parentheses"),
        (update, "REMOVE " + ",".join(["a"] * 2000), "overlap"),
        (update, "REMOVE " + ",".join(f"b{n}" for n in range(600)) + ",b0", "overlap"),
        (compile_projection, ",".join(["a"] * 2048), "overlap"),
    ],
    ids=lambda value: None if callable(value) else str(value)[:24],
)
def test_hostile_text_is_refused_quickly(
    read: Callable[[str], object], text: str, sentence: str
) -> None:
    elapsed: list[float] = []
    for _ in range(3):  # of this thread alone, and the best of three: other processes do not count
        started = thread_time()
        with pytest.raises(ValidationError) as caught:
            read(text)
        elapsed.append(thread_time() - started)
        assert sentence in str(caught.value)

    assert min(elapsed) < SECONDS_MAX


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (condition, "a = :v".ljust(4096)),
        (condition, " OR ".join(["a=:v"] * 300)),
        (condition, nested(299)),
        (condition, "NOT " * 299 + "a=:v"),
        (condition, "NOT (" * 150 + "a=:v" + " AND a=:v)" * 149 + ")"),
        (update, "SET a=" + "if_not_exists(a," * 240 + ":v" + ")" * 240),
        (update, "SET " + ",".join(f"a{n}=:v" for n in range(400))),
        (compile_projection, ",".join(f"a{n}" for n in range(700))),
    ],
    ids=lambda value: None if callable(value) else str(value)[:24],
)
def test_largest_text_allowed_is_read_and_evaluated_without_deep_recursion(
    read: Callable[[str], object], text: str
) -> None:
    """The stack needed stays well below what is left of Python's default."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_depth() + 400)
    try:
        read(text)
    finally:
        sys.setrecursionlimit(limit)


def _depth() -> int:
    frame: FrameType | None = sys._getframe()
    depth = 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def test_list_of_reserved_words_is_the_documented_one() -> None:
    assert len(RESERVED_WORDS) == 573
    assert {"ABORT", "NAME", "STATUS", "TTL", "ZONE"} <= RESERVED_WORDS
    assert all(word.isupper() for word in RESERVED_WORDS)
