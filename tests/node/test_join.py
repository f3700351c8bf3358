"""What a starting node does next, by who answers it what."""

from __future__ import annotations

import pytest

from node.join import (
    JoinRefused,
    NodeRemoved,
    Seeds,
    Step,
    decide,
    meet_initial,
    take_place,
)
from node.storage.identity import Identity
from quorate.cluster.catalog import Catalog, NodeRecord
from quorate.v1 import node_pb2

INITIAL = tuple(
    NodeRecord(id=number, name=f"{letter}1", az=f"az-{letter}", address=f"{letter}:1")
    for number, letter in enumerate("abc", start=1)
)


def make_identity(*, node_id: int = 2, joined: bool = False) -> Identity:
    return Identity("cluster", node_id, "b1", "az-b", "b-new", joined=joined)


def answer(
    node_id: int,
    *,
    known: str = "",
    epoch: int = 0,
    cluster: str = "cluster",
    joined: bool = False,
    removed: bool = False,
    outdated: bool = False,
) -> node_pb2.IdentifyResponse:
    return node_pb2.IdentifyResponse(
        cluster_id=cluster,
        node_id=node_id,
        incarnation=f"{node_id}-old",
        incarnation_known=known,
        catalog_epoch=epoch,
        joined=joined,
        removed=removed,
        outdated=outdated,
    )


def next_step(
    identity: Identity, answers: dict[str, node_pb2.IdentifyResponse], *, initial: bool = True
) -> Step:
    nodes = INITIAL if initial else ()
    meet_initial(identity, nodes, answers)
    return decide(identity, nodes, answers)


def test_initial_node_waits_until_it_has_seen_all_the_others() -> None:
    identity = make_identity()

    assert next_step(identity, {}) is Step.WAIT
    assert next_step(identity, {"a:1": answer(1)}) is Step.WAIT
    assert next_step(identity, {"c:1": answer(3, known="b-new")}) is Step.TAKE_PART
    assert identity.peers == {1: "1-old", 3: "3-old"}
    assert identity.addresses == {1: "a:1", 3: "c:1"}


def test_initial_node_that_the_running_cluster_knows_takes_part_at_once() -> None:
    """It had been seen by all, and was killed before it had seen all of them."""
    answers = {"a:1": answer(1, known="b-new", epoch=4)}

    assert next_step(make_identity(), answers) is Step.TAKE_PART


@pytest.mark.parametrize("known", ["b-old", ""])
def test_empty_directory_needs_a_place_in_a_cluster_that_runs(known: str) -> None:
    """Also under the name of an initial node, which is remembered or was removed long ago."""
    answers = {"a:1": answer(1, known=known, epoch=4), "c:1": answer(3, known=known, epoch=4)}

    assert next_step(make_identity(), answers) is Step.ASK_FOR_PLACE


def test_empty_directory_that_is_remembered_otherwise_waits_for_the_catalog() -> None:
    """The others are starting, too: whether there is a place for it only a catalog can say."""
    a1, c1 = (answer(number, known="b-old", joined=True) for number in (1, 3))

    assert next_step(make_identity(), {"a:1": a1, "c:1": c1}) is Step.WAIT
    assert next_step(make_identity(), {"a:1": a1}) is Step.WAIT


def test_peer_that_remembers_another_directory_is_not_met_and_may_be_gone_again() -> None:
    """Else the empty directory and one that was never used would be a quorum without that peer.

    It has what it and the lost directory committed. Found by the simulation.
    """
    identity = make_identity()

    assert next_step(identity, {"a:1": answer(1, known="b-old", joined=True)}) is Step.WAIT
    assert next_step(identity, {"c:1": answer(3)}) is Step.WAIT
    assert identity.peers == {3: "3-old"}


def test_node_that_is_to_join_waits_for_a_cluster_that_runs() -> None:
    identity = make_identity(node_id=0)

    assert next_step(identity, {"a:1": answer(1)}, initial=False) is Step.WAIT
    running = {"a:1": answer(1, epoch=1)}
    assert next_step(identity, running, initial=False) is Step.ASK_FOR_PLACE


def test_node_that_has_joined_goes_on_whoever_answers() -> None:
    assert next_step(make_identity(joined=True), {}) is Step.TAKE_PART
    behind = {"a:1": answer(1, epoch=2)}  # has not heard of it yet
    assert next_step(make_identity(node_id=4, joined=True), behind) is Step.TAKE_PART


def test_node_that_was_replaced_is_told_so() -> None:
    with pytest.raises(NodeRemoved, match="was replaced or removed"):
        next_step(make_identity(joined=True), {"a:1": answer(1, epoch=9, removed=True)})


def test_new_directory_under_the_number_of_a_removed_node_is_not_that_node() -> None:
    answers = {"a:1": answer(1, epoch=9, removed=True)}

    assert next_step(make_identity(), answers) is Step.ASK_FOR_PLACE


def test_old_copy_of_a_directory_is_refused() -> None:
    with pytest.raises(JoinRefused, match="old copy"):
        next_step(make_identity(joined=True), {"a:1": answer(1, known="b-new", outdated=True)})


def test_directory_that_is_not_the_remembered_one_is_refused() -> None:
    with pytest.raises(JoinRefused, match="with another data directory"):
        next_step(make_identity(joined=True), {"a:1": answer(1, known="b-other")})


@pytest.mark.parametrize("joined", [True, False])
def test_node_of_another_cluster_at_an_address_is_named(*, joined: bool) -> None:
    with pytest.raises(JoinRefused, match="a:1 is a node of cluster other, not of cluster"):
        next_step(make_identity(joined=joined), {"a:1": answer(1, cluster="other")})


def test_members_with_wrong_addresses_are_refused_before_there_is_a_catalog() -> None:
    with pytest.raises(JoinRefused, match="c:1 is node 1, not node 3"):
        next_step(make_identity(), {"c:1": answer(1)})


def test_place_that_somebody_else_has_taken_is_no_wrong_address() -> None:
    """After a power cut, before anybody has a catalog again: c was replaced at its own address.

    Found by seed 7672 of the simulation.
    """
    answers = {"b:1": answer(2, joined=True), "c:1": answer(7, joined=True)}

    assert next_step(Identity("cluster", 0, "d", "az-c", "d-new"), answers) is Step.WAIT


def test_place_is_found_by_the_directory_not_by_the_name() -> None:
    old = NodeRecord(id=2, name="b1", az="az-b", address="b:1", incarnation="b-old")
    new = NodeRecord(id=4, name="b1", az="az-b", address="b:1", incarnation="b-new")
    other = NodeRecord(id=1, name="a1", az="az-a", address="a:1", incarnation="a-old")
    identity = make_identity()

    assert not take_place(identity, Catalog(epoch=4, nodes=(other, old)), INITIAL)
    assert not identity.joined
    assert take_place(identity, Catalog(epoch=5, nodes=(other, old, new)), INITIAL)

    assert (identity.node_id, identity.joined, identity.initial) == (4, True, False)
    assert identity.peers == {1: "a-old", 2: "b-old"}
    assert identity.addresses == {1: "a:1", 2: "b:1"}


def test_initial_node_that_asks_for_a_place_stays_an_initial_node() -> None:
    own = NodeRecord(id=2, name="b1", az="az-b", address="b:1", incarnation="b-new")
    identity = make_identity()

    assert take_place(identity, Catalog(epoch=1, nodes=(own,)), INITIAL)

    assert (identity.node_id, identity.initial) == (2, True)


def test_nobody_asks_itself_and_those_known_last_come_first() -> None:
    identity = make_identity(joined=True)
    identity.addresses = {1: "a:9", 3: "c:1"}
    seeds = Seeds(initial=INITIAL, addresses=("d:1",), own_address="b:1")

    assert seeds.to_ask(identity) == ["a:9", "c:1", "a:1", "d:1"]
