"""Whom a node lets in, and what it remembers of the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.acquaintances import Acquaintances, Introduction, Verdict
from node.storage.identity import Identity, Start
from quorate.cluster.catalog import Catalog, NodeRecord


class Memory:
    """Acquaintances of node 1, and how often they were saved."""

    def __init__(self) -> None:
        self.saved = 0
        self.identity = Identity("cluster", 1, "a1", "az-a", "A", joined=True, peers={2: "B"})
        self.acquaintances = Acquaintances(self.identity, self._save)

    def _save(self, identity: Identity) -> None:
        assert identity is self.identity
        self.saved += 1

    def meet(
        self, node_id: int, incarnation: str, number: int = 1, token: str = "t", **more: str
    ) -> Verdict:
        return self.acquaintances.meet(
            Introduction(
                cluster_id=more.get("cluster", "cluster"),
                node_id=node_id,
                incarnation=incarnation,
                start=Start(number, token),
            )
        )


@pytest.fixture
def memory() -> Memory:
    return Memory()


def catalog_of(*nodes: tuple[int, str], next_node_id: int = 9, epoch: int = 5) -> Catalog:
    records = (
        NodeRecord(id=number, name=f"n{number}", az="az", address=f"n{number}:1", incarnation=name)
        for number, name in nodes
    )
    return Catalog(epoch=epoch, nodes=tuple(records), next_node_id=next_node_id)


def test_known_node_is_welcome_and_its_start_is_remembered_once(memory: Memory) -> None:
    assert memory.meet(2, "B", 3) is Verdict.WELCOME
    assert memory.meet(2, "B", 3) is Verdict.WELCOME

    assert memory.identity.starts_seen == {2: Start(3, "t")}
    assert memory.saved == 1


@pytest.mark.parametrize(("number", "token"), [(2, "t"), (3, "other")])
def test_old_copy_of_a_directory_is_not_let_in(memory: Memory, number: int, token: str) -> None:
    """D11: a backup that is put back has forgotten votes, whether it was started since or not."""
    memory.meet(2, "B", 3)

    assert memory.meet(2, "B", number, token) is Verdict.OUTDATED
    assert memory.identity.starts_seen == {2: Start(3, "t")}
    assert memory.meet(2, "B", 4, "next") is Verdict.WELCOME


def test_strangers_are_told_apart(memory: Memory) -> None:
    assert memory.meet(2, "other") is Verdict.OTHER_DIRECTORY
    assert memory.meet(3, "C") is Verdict.UNKNOWN
    assert memory.meet(0, "D") is Verdict.UNKNOWN
    assert memory.meet(2, "B", cluster="elsewhere") is Verdict.FOREIGN
    assert memory.saved == 0


def test_catalog_says_who_is_a_node(memory: Memory) -> None:
    memory.meet(2, "B", 3)

    memory.acquaintances.follow(catalog_of((1, "A"), (4, "B2"), next_node_id=5))

    assert memory.meet(2, "B", 4) is Verdict.REMOVED
    assert memory.meet(4, "B2") is Verdict.WELCOME
    assert memory.meet(5, "new") is Verdict.UNKNOWN
    assert memory.identity.peers == {4: "B2"}
    assert memory.identity.addresses == {4: "n4:1"}
    assert memory.identity.starts_seen == {4: Start(1, "t")}
    assert not memory.acquaintances.has_been_removed


def test_older_catalog_brings_no_removed_node_back(memory: Memory) -> None:
    """A replica of the catalog starts from its checkpoint, and is let in on what it knew before."""
    memory.acquaintances.follow(catalog_of((1, "A"), (4, "B2"), epoch=8))
    memory.meet(4, "B2", 3)
    restarted = Acquaintances(memory.identity, lambda _: None)

    restarted.follow(catalog_of((1, "A"), (2, "B"), epoch=5))
    memory.acquaintances = restarted

    assert memory.meet(2, "B", 4) is Verdict.UNKNOWN
    assert memory.meet(4, "B2", 2) is Verdict.OUTDATED
    restarted.follow(catalog_of((1, "A"), (4, "B2"), epoch=8))
    assert memory.meet(2, "B", 4) is Verdict.REMOVED
    assert not restarted.has_been_removed


def test_catalog_that_changes_no_node_is_not_written_down(memory: Memory) -> None:
    catalog = catalog_of((1, "A"), (2, "B"))
    memory.acquaintances.follow(catalog)
    memory.acquaintances.follow(catalog)

    assert memory.saved == 1


def test_node_sees_that_it_was_removed_itself(memory: Memory) -> None:
    before = catalog_of((1, "A"), (2, "B"))
    marked = tuple(
        replace(node, replacement="a9") if node.id == 1 else node for node in before.nodes
    )

    memory.acquaintances.follow(replace(before, nodes=marked))
    assert not memory.acquaintances.has_been_removed
    memory.acquaintances.follow(catalog_of((2, "B"), (4, "A2")))

    assert memory.acquaintances.has_been_removed
    assert memory.acquaintances.successor == "a9"
