"""Whose a certificate is, by its names: what is written is read, and nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorate.security.cluster_roles import LABEL, Caller, NoRole, Role, caller_of, names_of

LABELS = st.from_regex(LABEL, fullmatch=True)


@given(LABELS, LABELS, st.sampled_from(Role))
def test_names_say_whom_they_were_made_for(cluster_id: str, name: str, role: Role) -> None:
    caller = Caller(role, cluster_id, name if role is Role.NODE else "")
    assert caller_of([*names_of(caller), "localhost", "10.0.0.1", "a.b.c.d.quorate"]) == caller


def test_names_are_what_operators_of_other_authorities_are_told() -> None:
    assert names_of(Caller(Role.NODE, "prod", "a1")) == [
        "node.prod.quorate",
        "a1.node.prod.quorate",
    ]
    assert names_of(Caller(Role.ADMIN, "prod")) == ["admin.prod.quorate"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "names 0 roles"),
        (["localhost"], "names 0 roles"),
        (["node.prod.quorate.example"], "names 0 roles"),
        (["node.prod.quorate", "a.node.prod.quorate", "admin.prod.quorate"], "names 2 roles"),
        (["router.prod.quorate", "router.test.quorate"], "names 2 roles"),
        (["root.prod.quorate"], "unknown role 'root'"),
        (["ADMIN.prod.quorate"], "unknown role 'ADMIN'"),
        (["admin.*.quorate"], "cluster id '*' is none"),
        (["node.prod.quorate"], "exactly one node"),
        (["node.prod.quorate", "*.node.prod.quorate"], "exactly one node"),
        (["node.prod.quorate", ".node.prod.quorate"], "exactly one node"),
        (["node.prod.quorate", "a.node.prod.quorate", "b.node.prod.quorate"], "exactly one node"),
        (["node.prod.quorate", "a.node.test.quorate"], "of another cluster"),
    ],
)
def test_names_that_are_not_plain_are_nobodys(names: list[str], sentence: str) -> None:
    with pytest.raises(NoRole) as refused:
        caller_of(names)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("label", ["", "a.b", "-a", "a-", "a" * 64, "ä", "*", "a b", "a\n"])
def test_what_cannot_be_a_label_gets_no_certificate(label: str) -> None:
    with pytest.raises(NoRole, match="the cluster id"):
        names_of(Caller(Role.ROUTER, label))
    if label:
        with pytest.raises(NoRole, match="the node's name"):
            names_of(Caller(Role.NODE, "prod", label))
