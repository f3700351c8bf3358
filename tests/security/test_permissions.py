"""What users may do: the language of grants, and that it never says more than it seems to."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.requests.table_names import NAMING_NONE
from quorate.cluster.catalog import Grant
from quorate.security.permissions import (
    ABOUT_NO_TABLE,
    GRANTS_LENGTH_MAX,
    GROUPS,
    NO_TABLE,
    BadGrant,
    allows,
    check_grants,
    grant_text,
    matches,
    parse_grant,
)
from router.operations import OPERATIONS
from router.operations.not_served import NOT_SERVED

SERVED = sorted(set(OPERATIONS) - NOT_SERVED)

patterns = st.text("ab*", max_size=8)
names = st.text("ab", max_size=8)
tables = st.text("ab-", min_size=3, max_size=6)
grants = st.builds(
    Grant,
    actions=st.lists(
        st.sampled_from(["*", *GROUPS, "PutItem", "GetItem", "CreateTable"]), min_size=1, max_size=3
    ).map(tuple),
    tables=st.lists(tables | tables.map(lambda text: text + "*"), min_size=1, max_size=3).map(
        tuple
    ),
)


def may(text: str, operation: str, table: str) -> bool:
    return allows(tuple(map(parse_grant, text.split())), operation, table)


@given(patterns, names)
@example("ab*ba", "aba")
@example("*ab*ab*", "aab")
def test_star_stands_for_any_run_of_characters(pattern: str, name: str) -> None:
    dumb = re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name) is not None

    assert matches(pattern, name) == dumb


def test_what_is_about_no_table_is_what_the_model_says() -> None:
    assert ABOUT_NO_TABLE == NAMING_NONE


@given(patterns)
def test_what_is_about_no_table_takes_a_pattern_for_all(pattern: str) -> None:
    assert matches(pattern, NO_TABLE) == (pattern != "" and set(pattern) == {"*"})


def test_pattern_of_many_stars_is_looked_at_in_no_time() -> None:
    """A regular expression would try every way to share the name out."""
    assert not matches("*a" * 100 + "b", "a" * 255)


@given(grants)
def test_grant_is_its_text(grant: Grant) -> None:
    assert parse_grant(grant_text(grant)) == grant


@given(st.text(max_size=20) | st.text("read,*:.-PutIem", max_size=20))
def test_text_is_a_grant_or_is_refused(text: str) -> None:
    with contextlib.suppress(BadGrant):
        assert grant_text(parse_grant(text)) == text


@given(st.lists(grants, min_size=1, max_size=3).map(tuple), grants, st.sampled_from(SERVED), tables)
def test_grants_only_add(held: tuple[Grant, ...], more: Grant, operation: str, table: str) -> None:
    together = allows((*held, more), operation, table)

    assert together == (allows(held, operation, table) or allows((more,), operation, table))


@given(grants, st.sampled_from(SERVED), tables)
def test_grant_allows_no_other_action_and_no_other_table(
    grant: Grant, operation: str, table: str
) -> None:
    named = {name for action in grant.actions for name in GROUPS.get(action, (action,))}

    if allows((grant,), operation, table):
        assert operation in named or "*" in named
        assert any(matches(pattern, table) for pattern in grant.tables)


@pytest.mark.parametrize("operation", [*SERVED, "TransactWriteItems"])
def test_user_without_grants_may_do_everything(operation: str) -> None:
    assert allows((), operation, "orders")
    assert allows((), operation, NO_TABLE)


def test_words_stand_for_every_operation_that_is_served_each_once() -> None:
    assert sorted(name for group in GROUPS.values() for name in group) == SERVED


def test_words_read_write_and_manage() -> None:
    assert may("read:orders", "Query", "orders")
    assert not may("read:orders", "PutItem", "orders")
    assert not may("read:orders", "ListTables", NO_TABLE)
    assert may("read:*", "ListTables", NO_TABLE)
    assert may("write:log-*", "BatchWriteItem", "log-2026")
    assert not may("write:log-*", "GetItem", "log-2026")
    assert may("manage:*", "CreateTable", "orders")
    assert may("GetItem:orders write:log-*", "PutItem", "log-1")
    assert not may("GetItem:orders write:log-*", "PutItem", "orders")


@pytest.mark.parametrize("operation", ["TransactWriteItems", "SomethingNew"])
def test_operation_that_no_word_stands_for_takes_a_grant_of_everything(operation: str) -> None:
    assert not may("read,write,manage:*", operation, "orders")
    assert may("*:*", operation, "orders")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("read", "'read' is no grant: write ACTIONS:TABLES"),
        ("", "'' is no grant"),
        (":orders", "'' is no action: one of read, write, manage, *, or of BatchGetItem"),
        ("getitem:orders", "'getitem' is no action"),
        ("Get*:orders", "'Get*' is no action"),
        ("TransactWriteItems:orders", "'TransactWriteItems' is no action"),
        ("read, write:orders", "' write' is no action"),
        ("read:", "'' is no table"),
        ("read:or", "'or' is no table: 3 to 255 of"),
        ("read:orders,", "'' is no table"),
        ("read:orders\n", "is no table"),
        ("read:ordérs", "'ordérs' is no table"),
        ("read:orders:items", "'orders:items' is no table"),
        ("read:" + "x" * 256, "is no table"),
        ("ListTables:orders", "ListTables is about no table: it can be allowed on * alone"),
    ],
)
def test_bad_grant_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadGrant) as refusal:
        parse_grant(text)

    assert said in str(refusal.value)


def test_grants_of_a_user_have_a_bound() -> None:
    grant = parse_grant("GetItem:" + "x" * 248)
    assert len(grant_text(grant)) * 8 == GRANTS_LENGTH_MAX

    check_grants([grant] * 8)
    with pytest.raises(BadGrant, match="2,048 characters at most, not 2,304"):
        check_grants([grant] * 9)


@pytest.mark.parametrize(
    "grant", [Grant(actions=(), tables=("orders",)), Grant(actions=("read",), tables=())]
)
def test_grant_of_nothing_is_refused(grant: Grant) -> None:
    with pytest.raises(BadGrant, match="one action and one table at least"):
        check_grants([grant])
