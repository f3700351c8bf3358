"""A node is replaced: learner first, one joint swap a group, and the catalog follows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from node.memberships import LAG_ENTRIES_MAX
from node.metrics.reading import GAUGES
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.commands import AddNode, CancelReplacement, RemoveNode, ReplaceNode
from quorate.cluster.outcome import Outcome
from raft.types import Configuration
from tests.node.builders import add, key, new_id, number, put
from tests.node.harness import PARTITION, Cluster, Node

NEW = 4
GROUPS = (CATALOG_GROUP, PARTITION)


def start_replacement(cluster: Cluster, directory: Path, old: int) -> Node:
    """Add node 4 in the AZ of `old`, and say that it takes its place."""
    node = cluster.add_node(NEW, directory / str(NEW))
    added = cluster.change(AddNode(new_id(), "n4", f"az-{old}", "n4", "incarnation-4"))
    assert (added.outcome, added.result.refusal) == (Outcome.OK, "")
    replaced = cluster.change(ReplaceNode(new_id(), old, "n4"))
    assert (replaced.outcome, replaced.result.refusal) == (Outcome.OK, "")
    return node


def voters(cluster: Cluster, group: int = PARTITION) -> Configuration:
    """The applied configuration at the group's leader."""
    return cluster.leader(group).host.replicas[group].configuration


def replaced(cluster: Cluster, old: int) -> bool:
    return all(
        cluster.serving(group) and cluster.leader(group).host.catalog.has_removed(old)
        for group in GROUPS
    )


def expect_moved(cluster: Cluster, kept: tuple[int, int]) -> None:
    """Every group is at the kept nodes and node 4, and all three hold the same."""
    for group in GROUPS:
        assert voters(cluster, group) == Configuration((*kept, NEW))
    catalog = cluster.leader(CATALOG_GROUP).host.catalog
    assert set(catalog.replicas_of[PARTITION]) == {*kept, NEW}
    assert catalog.partition_by_id[PARTITION].moved
    cluster.tick(seconds=1.0)
    expected = cluster.items_at(kept[0])
    assert expected
    for node_id in (kept[1], NEW):
        assert cluster.items_at(node_id) == expected


def test_a_replacement_counts_before_its_new_node_has_joined(cluster: Cluster) -> None:
    """Reason: a name that nobody has waits for ever, and the alert must know."""
    (read,) = (read for name, _, read in GAUGES if name == "replacements")
    shell = cast("Any", SimpleNamespace(host=cluster.leader(CATALOG_GROUP).host))
    assert read(shell) == 0

    cluster.change(ReplaceNode(new_id(), 2, "nosuch"))

    assert read(shell) == 1


def test_lost_node_is_replaced_while_writes_go_on(cluster: Cluster, directory: Path) -> None:
    """The disk of node 2 is gone; two of three carry on, and the third copy is made anew."""
    cluster.done(add("counter"))
    cluster.crash(2)
    start_replacement(cluster, directory, 2)
    count = 1
    while not replaced(cluster, 2):
        cluster.done(add("counter"))
        count += 1
        cluster.tick()
        assert count < 400

    expect_moved(cluster, (1, 3))
    assert number(cluster.read(key("counter"))) == count


def test_node_that_leads_hands_over_before_it_leaves(cluster: Cluster, directory: Path) -> None:
    """Node 1 leads both groups and lives: no election has to be waited for."""
    cluster.done(put("a", n=1))
    terms = [cluster.leader(group).host.replicas[group].core.term for group in GROUPS]
    start_replacement(cluster, directory, 1)
    cluster.tick_until(lambda: replaced(cluster, 1))

    for group, before in zip(GROUPS, terms, strict=True):
        leader = cluster.leader(group)
        assert leader.id != 1
        assert leader.host.replicas[group].core.term == before + 1
    expect_moved(cluster, (2, 3))


def test_new_node_is_refilled_by_snapshot_when_the_log_is_cut(
    cluster: Cluster, directory: Path
) -> None:
    for number_ in range(50):
        cluster.done(put(f"k{number_}", n=number_))
    cluster.checkpoint()
    cluster.crash(1, 2, 3)  # what they keep of the log in memory could be sent as well
    cluster.restart(1, 3)
    cluster.tick_until(lambda: all(map(cluster.serving, GROUPS)))
    for node in cluster.up():
        for group in GROUPS:
            node.log_store.cut(group, node.host.replicas[group].durable_applied)
    start_replacement(cluster, directory, 2)
    cluster.tick_until(lambda: replaced(cluster, 2))

    assert cluster.snapshot_count >= len(GROUPS)
    expect_moved(cluster, (1, 3))


def test_learner_that_is_far_behind_does_not_become_a_voter(
    cluster: Cluster, directory: Path
) -> None:
    """It would leave the group without a quorum that has the log, should another node die."""
    cluster.cut_links.add((1, NEW))  # what the leader sends is lost
    start_replacement(cluster, directory, 2)
    for _ in range(LAG_ENTRIES_MAX + 10):
        cluster.done(add("counter"))
    cluster.tick(seconds=3.0)

    assert voters(cluster) == Configuration((1, 2, 3), learners=(NEW,))
    cluster.heal()
    cluster.tick_until(lambda: replaced(cluster, 2))
    expect_moved(cluster, (1, 3))


def test_replacement_goes_on_after_the_leader_dies_at_any_step(
    cluster: Cluster, directory: Path
) -> None:
    """Every step is decided from the state alone: kill the leader again and again."""
    cluster.done(add("counter"))
    start_replacement(cluster, directory, 3)
    for _ in range(6):
        cluster.tick(3)
        leader = cluster.leader(PARTITION).id
        cluster.crash(leader)
        cluster.wait_for_other_leader(leader)
        cluster.restart(leader)
        cluster.tick_until(lambda: cluster.serving(CATALOG_GROUP))
    cluster.tick_until(lambda: replaced(cluster, 3))

    assert number(cluster.read(key("counter"))) == 1
    expect_moved(cluster, (1, 2))


def test_new_node_may_restart_before_it_has_anything(cluster: Cluster, directory: Path) -> None:
    """It comes back knowing no members, and learns them again."""
    cluster.done(put("a", n=1))
    start_replacement(cluster, directory, 2)
    cluster.crash(NEW)
    cluster.restart(NEW)
    cluster.tick_until(lambda: replaced(cluster, 2))
    cluster.crash(NEW)
    cluster.restart(NEW)
    cluster.tick(seconds=3.0)

    expect_moved(cluster, (1, 3))


def test_new_node_that_is_lost_on_the_way_is_replaced_in_its_turn(
    cluster: Cluster, directory: Path
) -> None:
    """It is a member already, and will not come back: its own replacement takes both places."""
    cluster.done(put("a", n=1))
    cluster.hold((1, NEW), (3, NEW))  # it never catches up
    start_replacement(cluster, directory, 2)
    cluster.tick_until(lambda: NEW in voters(cluster).learners)
    cluster.crash(NEW)
    cluster.change(ReplaceNode(new_id(), NEW, "n5", allow_unknown=True))
    cluster.add_node(5, directory / "5")
    cluster.change(AddNode(new_id(), "n5", "az-2", "n5", "incarnation-5"))
    cluster.release()
    cluster.tick_until(lambda: replaced(cluster, 2) and replaced(cluster, NEW))

    for group in GROUPS:
        assert voters(cluster, group) == Configuration((1, 3, 5))
    cluster.tick(seconds=1.0)
    assert cluster.items_at(5) == cluster.items_at(1)


def test_replacement_that_never_joins_changes_nothing(cluster: Cluster) -> None:
    cluster.change(ReplaceNode(new_id(), 2, "nobody", allow_unknown=True))
    cluster.tick(seconds=3.0)

    assert voters(cluster) == Configuration((1, 2, 3))
    assert not cluster.leader(CATALOG_GROUP).host.catalog.replacements


def test_cancelled_replacement_leaves_all_as_it_was(cluster: Cluster, directory: Path) -> None:
    """Also when the node that was awaited comes afterwards: it holds nothing, and may go again."""
    cluster.done(put("a", n=1))
    cluster.change(ReplaceNode(new_id(), 2, "n4", allow_unknown=True))
    cancelled = cluster.change(CancelReplacement(new_id(), 2, "n4"))
    assert (cancelled.outcome, cancelled.result.refusal) == (Outcome.OK, "")
    cluster.add_node(NEW, directory / str(NEW))
    cluster.change(AddNode(new_id(), "n4", "az-2", "n4", "incarnation-4"))
    cluster.tick(seconds=3.0)

    for group in GROUPS:
        assert voters(cluster, group) == Configuration((1, 2, 3))
    removed = cluster.change(RemoveNode(new_id(), NEW))
    assert (removed.outcome, removed.result.refusal) == (Outcome.OK, "")
    cluster.tick(seconds=1.0)
    assert all(node.host.catalog.has_removed(NEW) for node in cluster.up())
    for group in GROUPS:
        assert voters(cluster, group) == Configuration((1, 2, 3))


def test_cancelling_is_refused_on_every_replica_once_the_new_node_has_joined(
    cluster: Cluster, directory: Path
) -> None:
    """Whichever of the two commands the log has first: the members are never in between."""
    cluster.done(put("a", n=1))
    start_replacement(cluster, directory, 2)
    refused = cluster.change(CancelReplacement(new_id(), 2, "n4"))
    assert refused.result.refusal == "joined"
    assert cluster.change(RemoveNode(new_id(), NEW)).result.refusal == "takes a place"
    cluster.tick_until(lambda: replaced(cluster, 2))

    expect_moved(cluster, (1, 3))
    assert cluster.change(RemoveNode(new_id(), NEW)).result.refusal == "holds replicas"
