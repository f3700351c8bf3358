"""How nodes come, are replaced and go: the catalog's part of it, as pure functions."""

from __future__ import annotations

import pytest

from node.machine.catalog_changes import (
    ADDRESS_IN_USE,
    BEING_REPLACED,
    CHANGED,
    HOLDS_REPLICAS,
    JOINED,
    MISSING,
    NAME_IN_USE,
    OTHER_AZ,
    TAKES_PLACE,
    UNKNOWN,
    Refused,
    change,
)
from quorate.cluster.catalog import CATALOG_GROUP, Catalog
from quorate.cluster.commands import (
    AddNode,
    Bootstrap,
    CancelReplacement,
    CatalogCommand,
    MoveReplica,
    RemoveNode,
    ReplaceNode,
)
from tests.node.builders import new_id
from tests.node.harness import first_catalog


@pytest.fixture
def catalog() -> Catalog:
    """Nodes 1, 2, 3 named node-1 ... in az-1 ...; three partitions."""
    return change(Catalog(), Bootstrap(new_id(), first_catalog(3)))


def add(name: str, az: str = "az-2", address: str = "new:1", incarnation: str = "i") -> AddNode:
    return AddNode(new_id(), name, az, address, incarnation)


def await_node(old: int, name: str) -> ReplaceNode:
    """A node of that name is to come and take the place of `old`."""
    return ReplaceNode(new_id(), old, name, allow_unknown=True)


def refusal(catalog: Catalog, command: CatalogCommand) -> str:
    with pytest.raises(Refused) as refused:
        change(catalog, command)
    return refused.value.reason


def replaced(catalog: Catalog, old: int, new: int) -> Catalog:
    """Move every replica of a node, and forget it."""
    for group in sorted(catalog.groups_of(old)):
        catalog = change(catalog, MoveReplica(new_id(), group, old, new))
    return change(catalog, RemoveNode(new_id(), old))


def test_bootstrap_names_the_first_node_of_each_az_for_the_catalog(catalog: Catalog) -> None:
    assert catalog.catalog_replicas == (1, 2, 3)
    assert catalog.next_node_id == 4


def test_added_node_holds_nothing(catalog: Catalog) -> None:
    catalog = change(catalog, add("node-4"))

    assert catalog.node_by_id[4].name == "node-4"
    assert catalog.groups_of(4) == set()
    assert catalog.epoch == 2


def test_node_that_asks_again_is_the_same_node(catalog: Catalog) -> None:
    once = change(catalog, add("node-4"))

    assert change(once, add("node-4")) is once


def test_name_or_address_of_a_live_node_is_refused(catalog: Catalog) -> None:
    taken = catalog.node_by_id[2]

    assert refusal(catalog, add(taken.name)) == NAME_IN_USE
    assert refusal(catalog, add("node-4", address=taken.address)) == ADDRESS_IN_USE


def test_replacement_takes_over_group_by_group(catalog: Catalog) -> None:
    catalog = change(catalog, add("node-4"))
    catalog = change(catalog, ReplaceNode(new_id(), 2, "node-4"))

    assert catalog.replacements == {2: 4}
    assert catalog.groups_of(4) == catalog.groups_of(2) == {CATALOG_GROUP, 1, 2, 3}
    assert refusal(catalog, RemoveNode(new_id(), 2)) == HOLDS_REPLICAS

    catalog = change(catalog, MoveReplica(new_id(), 1, 2, 4))

    assert catalog.groups_of(2) == {CATALOG_GROUP, 2, 3}
    assert catalog.groups_of(4) == {CATALOG_GROUP, 1, 2, 3}


def test_replaced_node_is_forgotten_and_its_id_never_used_again(catalog: Catalog) -> None:
    catalog = change(catalog, add("node-4"))
    before = catalog.partition_by_id[2].replicas
    catalog = replaced(change(catalog, ReplaceNode(new_id(), 2, "node-4")), 2, 4)

    assert catalog.has_removed(2)
    assert catalog.replacements == {}
    assert catalog.catalog_replicas == (1, 4, 3)
    assert catalog.partition_by_id[2].replicas == tuple(4 if id_ == 2 else id_ for id_ in before)
    assert change(catalog, add("node-5", address="b:1", incarnation="j")).node_by_id[5]


def test_replacement_may_be_named_before_it_joins(catalog: Catalog) -> None:
    catalog = change(catalog, await_node(2, "node-9"))
    assert catalog.replacements == {}

    catalog = change(catalog, add("node-9"))
    assert catalog.replacements == {2: 4}


def test_lost_disk_comes_back_under_the_same_name_and_address(catalog: Catalog) -> None:
    """As a new member: what the old id promised is forgotten with its disk."""
    lost = catalog.node_by_id[2]
    again = add(lost.name, address=lost.address, incarnation="fresh")
    assert refusal(catalog, again) == NAME_IN_USE

    catalog = change(change(catalog, ReplaceNode(new_id(), 2, lost.name)), again)
    assert catalog.replacements == {2: 4}
    assert change(catalog, again) is catalog

    catalog = replaced(catalog, 2, 4)
    assert [node.id for node in catalog.nodes] == [1, 3, 4]


def test_replacement_stays_in_the_az(catalog: Catalog) -> None:
    elsewhere = change(catalog, add("node-4", az="az-1"))
    assert refusal(elsewhere, ReplaceNode(new_id(), 2, "node-4")) == OTHER_AZ

    awaited = change(catalog, await_node(2, "node-4"))
    assert refusal(awaited, add("node-4", az="az-1")) == OTHER_AZ


def test_awaited_replacement_may_be_renamed_until_it_has_joined(catalog: Catalog) -> None:
    catalog = change(catalog, await_node(2, "mistyped"))
    catalog = change(catalog, await_node(2, "node-4"))
    catalog = change(catalog, add("node-4"))

    assert refusal(catalog, ReplaceNode(new_id(), 2, "node-5")) == BEING_REPLACED


@pytest.mark.parametrize("name", ["n2", "node-4", "node-5"])
def test_replacement_that_is_lost_is_replaced_in_its_turn(catalog: Catalog, name: str) -> None:
    """Whatever the names: the first one's replicas go to the last one in the end."""
    first = "n2" if name == "n2" else "node-4"
    catalog = change(catalog, await_node(2, first))
    catalog = change(catalog, add(first))
    catalog = change(catalog, MoveReplica(new_id(), 1, 2, 4))

    catalog = change(catalog, await_node(4, name))
    assert catalog.replacements == {2: 4}
    catalog = change(catalog, add(name, incarnation="again"))

    assert catalog.replacements == {2: 5, 4: 5}
    assert catalog.groups_of(5) == {CATALOG_GROUP, 1, 2, 3}
    catalog = change(catalog, MoveReplica(new_id(), 1, 4, 5))
    assert refusal(catalog, RemoveNode(new_id(), 4)) == TAKES_PLACE
    catalog = replaced(catalog, 2, 5)
    catalog = change(catalog, RemoveNode(new_id(), 4))
    assert [node.id for node in catalog.nodes] == [1, 3, 5]


def test_only_what_the_catalog_wants_moves(catalog: Catalog) -> None:
    catalog = change(catalog, add("node-4"))

    assert refusal(catalog, MoveReplica(new_id(), 1, 2, 4)) == MISSING
    assert refusal(catalog, ReplaceNode(new_id(), 9, "node-4")) == MISSING
    assert refusal(catalog, RemoveNode(new_id(), 9)) == MISSING


def test_repeated_move_changes_nothing(catalog: Catalog) -> None:
    catalog = change(catalog, add("node-4"))
    catalog = change(catalog, ReplaceNode(new_id(), 2, "node-4"))
    moved = change(catalog, MoveReplica(new_id(), 1, 2, 4))

    assert change(moved, MoveReplica(new_id(), 1, 2, 4)) is moved
    assert change(moved, ReplaceNode(new_id(), 2, "node-4")) is moved


def test_unknown_name_is_refused_unless_it_is_allowed(catalog: Catalog) -> None:
    """It is a typo more often than not, and then nothing would ever happen."""
    assert refusal(catalog, ReplaceNode(new_id(), 2, "nosuch")) == UNKNOWN

    own_name = catalog.node_by_id[2].name
    assert change(catalog, ReplaceNode(new_id(), 2, own_name)).node_by_id[2].replacement == own_name
    assert change(catalog, await_node(2, "nosuch")).node_by_id[2].replacement == "nosuch"
    joined = change(catalog, add("node-4"))
    assert change(joined, ReplaceNode(new_id(), 2, "node-4")).replacements == {2: 4}


def test_known_name_is_refused_once_its_node_is_removed(catalog: Catalog) -> None:
    catalog = change(change(catalog, add("node-4")), RemoveNode(new_id(), 4))

    assert refusal(catalog, ReplaceNode(new_id(), 2, "node-4")) == UNKNOWN


def test_replacement_is_cancelled_until_its_node_has_joined(catalog: Catalog) -> None:
    awaited = change(catalog, await_node(2, "node-4"))
    cancelled = change(awaited, CancelReplacement(new_id(), 2, "node-4"))

    assert cancelled.nodes == catalog.nodes
    assert cancelled.epoch == awaited.epoch + 1
    joined = change(awaited, add("node-4"))
    assert refusal(joined, CancelReplacement(new_id(), 2, "node-4")) == JOINED
    moved = change(joined, MoveReplica(new_id(), 1, 2, 4))
    assert refusal(moved, CancelReplacement(new_id(), 2, "node-4")) == JOINED


def test_cancelled_replacement_that_comes_after_all_is_a_node_like_any_other(
    catalog: Catalog,
) -> None:
    """Under the name or the address of the one that kept its place, it is refused."""
    taken = catalog.node_by_id[2]
    for name in ("node-4", taken.name):
        awaited = change(catalog, await_node(2, name))
        cancelled = change(awaited, CancelReplacement(new_id(), 2, name))
        again = add(name, address=taken.address)
        assert refusal(cancelled, again) in (NAME_IN_USE, ADDRESS_IN_USE)
        if name != taken.name:
            assert change(cancelled, add(name)).replacements == {}


def test_cancelling_what_another_operator_has_changed_is_refused(catalog: Catalog) -> None:
    """He named the right node meanwhile."""
    catalog = change(catalog, await_node(2, "mistyped"))
    catalog = change(catalog, await_node(2, "node-4"))

    assert refusal(catalog, CancelReplacement(new_id(), 2, "mistyped")) == CHANGED
    assert refusal(catalog, CancelReplacement(new_id(), 9, "node-4")) == MISSING


def test_cancelling_what_is_not_under_way_changes_nothing(catalog: Catalog) -> None:
    assert change(catalog, CancelReplacement(new_id(), 2, "node-4")) is catalog


def test_node_that_holds_nothing_is_removed_for_good(catalog: Catalog) -> None:
    catalog = change(catalog, add("node-4"))
    removed = change(catalog, RemoveNode(new_id(), 4))

    assert removed.has_removed(4)
    assert removed.replicas_of == catalog.replicas_of
    assert change(removed, add("node-4", incarnation="again")).node_by_id[5].name == "node-4"


def test_node_that_holds_something_or_is_about_to_is_not_removed(catalog: Catalog) -> None:
    assert refusal(catalog, RemoveNode(new_id(), 2)) == HOLDS_REPLICAS
    catalog = change(change(catalog, add("node-4")), ReplaceNode(new_id(), 2, "node-4"))
    assert refusal(catalog, RemoveNode(new_id(), 4)) == TAKES_PLACE
