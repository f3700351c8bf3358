"""`quorate user`: what is refused before anybody is asked. The rest is in tests/processes."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command


@pytest.mark.parametrize(
    "arguments", [("create", "bob", "--allow", "read:*", "--allow"), ("allow", "bob", "read:*")]
)
@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ("orders", "'orders' is no grant: write ACTIONS:TABLES, as in read:orders or *:log-*"),
        ("raed:orders", "'raed' is no action: one of read, write, manage, *, or of BatchGetItem"),
        ("read:or ders", "'or ders' is no table: 3 to 255 of a-z A-Z 0-9 _ . -"),
    ],
)
def test_grant_that_means_nothing_is_refused_with_what_is_wrong(
    quorate: Command, arguments: tuple[str, ...], grant: str, said: str
) -> None:
    ended = quorate("user", *arguments, grant)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_user_is_allowed_something(quorate: Command) -> None:
    """Nothing to allow would be everything."""
    ended = quorate("user", "allow", "bob")

    assert ended.code == 2
    assert "ACTIONS:TABLES" in ended.err
