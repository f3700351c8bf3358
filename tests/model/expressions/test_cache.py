"""The cache of compiled expressions stays within its bounds, oldest out first."""

import pytest

from model.errors import ValidationError
from model.expressions import compile_condition
from model.expressions.cache import ENTRIES_MAX, TEXT_LENGTH_MAX, ExpressionCache


def test_entry_is_compiled_once() -> None:
    cache: ExpressionCache[object] = ExpressionCache()
    first = cache.get(("a",), 1, object)

    assert cache.get(("a",), 1, object) is first
    assert compile_condition("attribute_exists(a)") is compile_condition("attribute_exists(a)")


def test_least_recently_used_entry_leaves_first() -> None:
    cache: ExpressionCache[object] = ExpressionCache()
    kept = cache.get((0,), 1, object)
    gone = cache.get((1,), 1, object)
    for number in range(2, ENTRIES_MAX + 1):
        cache.get((0,), 1, object)
        cache.get((number,), 1, object)

    assert len(cache) == ENTRIES_MAX
    assert cache.get((0,), 1, object) is kept
    assert cache.get((1,), 1, object) is not gone


def test_texts_are_bounded_in_sum_and_a_huge_one_is_not_kept() -> None:
    cache: ExpressionCache[object] = ExpressionCache()
    for number in range(100):
        cache.get((number,), TEXT_LENGTH_MAX // 10, object)

    assert len(cache) == 10
    huge = cache.get(("huge",), TEXT_LENGTH_MAX + 1, object)
    assert cache.get(("huge",), TEXT_LENGTH_MAX + 1, object) is not huge
    assert len(cache) == 10


def test_refused_text_is_not_kept() -> None:
    for _ in range(2):
        with pytest.raises(ValidationError):
            compile_condition("a =")
