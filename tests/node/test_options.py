"""What a node refuses to start with, and where it says it can be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.options import Member, NodeOptions

MEMBERS = tuple(
    Member(name=f"{letter}1", az=f"az-{letter}", address=f"{letter}.example:7000")
    for letter in "abc"
)


def options(**changed: Any) -> NodeOptions:
    given: dict[str, Any] = {
        "name": "b1",
        "az": "az-b",
        "listen": "0.0.0.0:7000",
        "data_dir": Path("data"),
        "cluster_id": "cluster",
        "members": MEMBERS,
        "insecure": True,
    }
    return NodeOptions(**{**given, **changed})


def test_initial_node_is_reached_where_its_members_say() -> None:
    assert options().problem() is None
    assert options().address() == "b.example:7000"
    assert [node.id for node in options().node_records()] == [1, 2, 3]


def test_node_that_joins_is_reached_where_it_listens_unless_it_says_otherwise() -> None:
    joining = {"members": (), "join": ("a.example:7000",), "name": "d1"}

    assert options(**joining, listen="10.0.0.4:7000").address() == "10.0.0.4:7000"
    assert options(**joining, advertise="d.example:7000").address() == "d.example:7000"
    assert options(**joining, advertise="d.example:7000").problem() is None


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"admin": "7401"}, "'7401' is not of the form host:port"),
        ({"members": ()}, "a node needs the members of a new cluster, or an address"),
        ({"members": (), "join": ("a.example:7000",)}, "cannot reach this node at 0.0.0.0:7000"),
        ({"members": (*MEMBERS, MEMBERS[0])}, "two members have the same name"),
        ({"name": "d1"}, "node d1 is not among the members given (a1, b1, c1)"),
        ({"az": "az-c"}, "node b1 is in az-c, but the member list says az-b"),
        ({"insecure": False}, "listening on 0.0.0.0 needs --cluster-ca, --cluster-cert and"),
        ({"listen": "7000"}, "'7000' is not of the form host:port"),
        ({"partitions": 0}, "a cluster has at least one partition"),
    ],
)
def test_options_that_cannot_be_are_refused(changed: dict[str, Any], sentence: str) -> None:
    assert sentence in (options(**changed).problem() or "")
