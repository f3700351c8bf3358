"""What users may do: grants, their text, and the one question whether they allow an action.

A grant is written ACTIONS:TABLES, both with commas, as in `read,PutItem:orders,log-*`. Actions are
operations by name; `read`, `write`, `manage` or `*` stand for several. In a table's name `*` stands
for any run of characters. A user without grants may do everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from quorate.cluster.catalog import Grant

EVERYTHING: Final = "*"
"""Every action; every table, and what is about no table."""

NO_TABLE: Final = "*"
"""What an action is on that is about no table, as in IAM: only patterns for all tables match it."""

READ: Final = "read"
WRITE: Final = "write"
MANAGE: Final = "manage"

GROUPS: Final = {
    READ: (
        "BatchGetItem",
        "DescribeEndpoints",
        "DescribeLimits",
        "DescribeTable",
        "GetItem",
        "ListTables",
        "Query",
        "Scan",
    ),
    WRITE: ("BatchWriteItem", "DeleteItem", "PutItem", "UpdateItem"),
    MANAGE: ("CreateTable", "DeleteTable", "UpdateTable"),
}
"""Which operations a word stands for. Ours; a test compares with what is served."""

ABOUT_NO_TABLE: Final = frozenset({"DescribeEndpoints", "DescribeLimits", "ListTables"})
"""Operations whose request names no table: the model's, which clients lack; a test compares."""

_GRANTED_AS: Final = {
    operation: frozenset({operation, group, EVERYTHING})
    for group, operations in GROUPS.items()
    for operation in operations
}
"""What a grant may call each operation."""

_ONLY_AS_EVERYTHING: Final = frozenset({EVERYTHING})

TABLE: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
"""A table's name. Source: DynamoDB's naming rules."""

PATTERN: Final = re.compile(r"(?=.*\*)[a-zA-Z0-9_.*-]{1,255}")

GRANTS_LENGTH_MAX: Final = 2_048
"""Most characters of a user's grants as texts. Source: AWS IAM, a user's inline policies."""


class BadGrant(ValueError):
    """A grant means nothing; the message is a sentence that says what is wrong with it."""


def parse_grant(text: str) -> Grant:
    """Return the grant that ACTIONS:TABLES stands for. Raises BadGrant."""
    actions, colon, tables = text.partition(":")
    if not colon:
        raise BadGrant(f"{text!r} is no grant: write ACTIONS:TABLES, as in read:orders or *:log-*")
    grant = Grant(actions=_words(actions), tables=_words(tables))
    check_grants([grant])
    return grant


def grant_text(grant: Grant) -> str:
    """Return ACTIONS:TABLES; the pair of `parse_grant`."""
    return f"{','.join(grant.actions)}:{','.join(grant.tables)}"


def check_grants(grants: Iterable[Grant]) -> None:
    """Raise BadGrant if any of a user's grants means nothing, or they are too long together."""
    length = 0
    for grant in grants:
        length += len(grant_text(grant))
        if not grant.actions or not grant.tables:
            raise BadGrant("a grant names one action and one table at least, or * for all")
        for table in grant.tables:
            if not TABLE.fullmatch(table) and not PATTERN.fullmatch(table):
                raise BadGrant(
                    f"{table!r} is no table: 3 to 255 of a-z A-Z 0-9 _ . - or a pattern with *"
                )
        for action in grant.actions:
            _check_action(action, grant.tables)
    if length > GRANTS_LENGTH_MAX:
        raise BadGrant(
            f"a user's grants have {GRANTS_LENGTH_MAX:,} characters at most, not {length:,}"
        )


def _check_action(action: str, tables: Iterable[str]) -> None:
    if action not in _GRANTED_AS and action not in GROUPS and action != EVERYTHING:
        raise BadGrant(
            f"{action!r} is no action: one of {', '.join((*GROUPS, EVERYTHING))},"
            f" or of {', '.join(sorted(_GRANTED_AS))}"
        )
    if action in ABOUT_NO_TABLE and not any(matches(pattern, NO_TABLE) for pattern in tables):
        raise BadGrant(f"{action} is about no table: it can be allowed on * alone")


def allows(grants: tuple[Grant, ...], operation: str, table: str) -> bool:
    """Whether a user with these grants may do an operation on a table, or on NO_TABLE."""
    if not grants:
        return True
    names = _GRANTED_AS.get(operation, _ONLY_AS_EVERYTHING)
    for grant in grants:
        if not names.isdisjoint(grant.actions):
            for pattern in grant.tables:
                if matches(pattern, table):
                    return True
    return False


def matches(pattern: str, name: str) -> bool:
    """Whether a name is a pattern's: `*` is any run of characters, none included.

    Takes the leftmost place for each piece, so the time is bounded by the product of the lengths.
    """
    if "*" not in pattern:
        return name == pattern
    first, *middle, last = pattern.split("*")
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for piece in middle:
        found = name.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
