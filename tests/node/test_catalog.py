"""The catalog's group: commands, their retries, and what follows from them on every node.

Source: design.md, section 4.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from node import catalog_replica, host
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.commands import Bootstrap, CreateTable, DeleteTable
from quorate.cluster.outcome import Outcome
from raft.types import RaftConfig
from tests.node.builders import key, new_id, put
from tests.node.harness import NODES, CatalogRequest, Cluster, first_catalog


def names(cluster: Cluster, node_id: int = 1) -> list[str]:
    return [table.name for table in cluster.nodes[node_id].host.catalog.tables]


def confirm(cluster: Cluster, node_id: int) -> CatalogRequest:
    request = CatalogRequest()
    assert cluster.nodes[node_id].host.confirm_catalog(request.answer)
    return request


def restart_all(cluster: Cluster) -> None:
    cluster.crash(*NODES)
    cluster.restart(*NODES)
    cluster.tick_until(lambda: cluster.serving(CATALOG_GROUP))
    cluster.tick(10)


def test_catalog_is_made_once(cluster: Cluster) -> None:
    """A second node that thinks it has to bootstrap is told that there is one."""
    request = cluster.change(Bootstrap(new_id(), first_catalog(partitions=7)))

    assert (request.outcome, request.result.refusal) == (Outcome.OK, "exists")
    assert len(cluster.nodes[1].host.catalog.partitions) == 1


def test_partitions_of_the_first_catalog_get_replicas_and_preferred_leaders(
    directory: Path,
) -> None:
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=5)

    assert [sorted(node.host.replicas) for node in cluster.up()] == [[0, 1, 2, 3, 4, 5]] * 3
    assert [cluster.leader(group).id for group in range(1, 6)] == [1, 2, 3, 1, 2]
    cluster.close()


def test_node_that_missed_the_first_catalog_gets_its_replicas_later(directory: Path) -> None:
    """What its peers sent for groups it did not know is lost, and sent again."""
    cluster = Cluster(directory)
    cluster.tick_until(lambda: cluster.serving(CATALOG_GROUP))
    cluster.cut(3)
    cluster.change(Bootstrap(new_id(), first_catalog(partitions=2)))
    cluster.tick_until(lambda: cluster.serving(1) and cluster.serving(2))
    cluster.create_table("table-1")
    cluster.done(put("a"), at=cluster.leader(cluster.partition_of(key("a"))).id)
    assert sorted(cluster.nodes[3].host.replicas) == [0]

    cluster.heal()
    cluster.tick(60)

    for group in (1, 2):
        cluster.assert_replicas_equal(group)
    cluster.close()


def test_created_table_is_known_to_every_node(cluster: Cluster) -> None:
    cluster.create_table("other")

    assert [names(cluster, node_id) for node_id in NODES] == [["table-1", "other"]] * 3


def test_second_table_of_a_name_is_refused(cluster: Cluster) -> None:
    request = cluster.change(CreateTable(new_id(), "table-1", b"{}"))

    assert (request.outcome, request.result.refusal) == (Outcome.OK, "exists")
    assert names(cluster) == ["table-1"]


def test_two_creations_of_a_name_at_once_make_one_table(cluster: Cluster) -> None:
    """Every change is a conditional command: the log decides."""
    first = cluster.command(CreateTable(new_id(), "other", b'{"n":1}'))
    second = cluster.command(CreateTable(new_id(), "other", b'{"n":2}'))
    cluster.run()

    assert [first.result.refusal, second.result.refusal] == ["", "exists"]
    assert cluster.nodes[1].host.catalog.table_by_name["other"].definition == b'{"n":1}'


def test_repeated_command_is_applied_once_and_answered_the_same(cluster: Cluster) -> None:
    command = CreateTable(new_id(), "other", b"{}")
    first = cluster.change(command)

    again = cluster.change(command)

    assert (again.outcome, again.result) == (Outcome.OK, first.result)
    assert names(cluster) == ["table-1", "other"]


def test_repeated_command_is_known_after_checkpoint_and_restart(cluster: Cluster) -> None:
    create, later = CreateTable(new_id(), "other", b"{}"), CreateTable(new_id(), "later", b"{}")
    first = cluster.change(create)
    cluster.checkpoint()
    second = cluster.change(later)

    restart_all(cluster)

    assert cluster.change(create).result == first.result
    assert cluster.change(later).result == second.result


def test_deletion_of_an_older_table_of_the_name_is_refused(cluster: Cluster) -> None:
    """A stale plan must never overwrite a newer one."""
    old = cluster.create_table("other")
    cluster.delete_table("other")
    cluster.create_table("other")

    request = cluster.change(DeleteTable(new_id(), "other", old))

    assert (request.outcome, request.result.refusal) == (Outcome.OK, "missing")
    assert names(cluster) == ["table-1", "other"]


def test_deletion_of_a_table_that_is_not_there_is_refused(cluster: Cluster) -> None:
    request = cluster.change(DeleteTable(new_id(), "nobody", 1))

    assert request.result.refusal == "missing"


def test_table_ids_are_never_used_again(cluster: Cluster) -> None:
    """Also not after checkpoints and restarts: old items must never show in a new table."""
    ids = [cluster.create_table("other")]
    cluster.delete_table("other")
    ids.append(cluster.create_table("other"))
    cluster.delete_table("other")
    cluster.checkpoint()
    restart_all(cluster)
    ids.append(cluster.create_table("other"))

    assert ids == sorted(set(ids))


def test_items_of_a_dropped_table_are_purged_after_the_checkpoint(cluster: Cluster) -> None:
    table = cluster.create_table("other")
    cluster.do(*(put(f"k{n}", table=table) for n in range(1_500)))
    cluster.done(put("kept"))
    cluster.tick()
    cluster.checkpoint()
    assert cluster.nodes[3].items.item_count() == 1_501

    cluster.delete_table("other")
    cluster.checkpoint()
    cluster.checkpoint()

    for node in cluster.up():
        assert node.items.list_table_ids() == [1]
        assert node.items.item_count() == 1
    assert cluster.read(key("kept"))


def test_items_of_a_dropped_table_in_the_memtable_are_purged_too(cluster: Cluster) -> None:
    table = cluster.create_table("other")
    cluster.done(put("k", table=table))
    cluster.tick()
    cluster.delete_table("other")

    cluster.checkpoint()

    assert cluster.nodes[2].items.item_count() == 0


def test_follower_refuses_commands(cluster: Cluster) -> None:
    request = cluster.command(CreateTable(new_id(), "other", b"{}"), at=2)

    assert request.outcome is Outcome.NOT_LEADER


def test_command_in_flight_is_unknown_and_waiting_one_is_not_leader_when_leadership_is_lost(
    cluster: Cluster,
) -> None:
    cluster.nodes[1].log_held = True
    cluster.cut(1, broken=False)
    proposed = cluster.command(CreateTable(new_id(), "one", b"{}"), at=1)
    cluster.run()
    waiting = cluster.command(CreateTable(new_id(), "two", b"{}"), at=1)
    cluster.run()

    cluster.wait_for_other_leader(1, CATALOG_GROUP)
    cluster.tick(40)

    assert (proposed.outcome, waiting.outcome) == (Outcome.UNKNOWN, Outcome.NOT_LEADER)


def test_command_retried_at_the_new_leader_is_applied_once(cluster: Cluster) -> None:
    """The entry survived on a follower although nobody answered."""
    cluster.hold((2, 1), (3, 1))
    command = CreateTable(new_id(), "other", b"{}")
    cluster.command(command, at=1)
    cluster.run()
    cluster.crash(1)
    cluster.release()
    other = cluster.wait_for_other_leader(1, CATALOG_GROUP)

    request = cluster.change(command, at=other.id)

    assert (request.outcome, request.result.refusal) == (Outcome.OK, "")
    assert names(cluster, other.id) == ["table-1", "other"]


def test_more_commands_than_may_wait_are_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_replica, "COMMANDS_MAX", 2)
    requests = [cluster.command(CreateTable(new_id(), f"t{n}", b"{}")) for n in range(4)]
    cluster.run()

    assert [request.outcome for request in requests] == [Outcome.OK] * 2 + [Outcome.OVERLOADED] * 2


def test_commands_that_the_log_does_not_take_are_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def small(*, node_id: int) -> RaftConfig:
        return RaftConfig(node_id=node_id, uncommitted_bytes_max=2_000)

    monkeypatch.setattr(host, "RaftConfig", small)
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=1)
    cluster.hold((2, 1), (3, 1))
    first = cluster.command(CreateTable(new_id(), "a", b"{%s}" % (b" " * 1_500)))
    cluster.run()
    second = cluster.command(CreateTable(new_id(), "b", b"{%s}" % (b" " * 1_500)))
    cluster.run()
    assert (first.outcome, second.outcome) == (None, Outcome.OVERLOADED)

    cluster.release()

    assert first.outcome is Outcome.OK
    cluster.close()


def test_confirmation_tells_the_newest_epoch(cluster: Cluster) -> None:
    cluster.create_table("other")

    request = confirm(cluster, 1)
    cluster.run()

    assert request.outcome is Outcome.OK
    assert request.result.epoch == cluster.nodes[1].host.catalog.epoch


def test_confirmation_waits_for_proof_of_leadership(cluster: Cluster) -> None:
    cluster.hold((2, 1), (3, 1))

    request = confirm(cluster, 1)
    cluster.run()
    assert request.outcome is None
    cluster.release()

    assert request.outcome is Outcome.OK


def test_deposed_leader_confirms_nothing(cluster: Cluster) -> None:
    """Its catalog may be old news: another leader has made a table meanwhile."""
    cluster.cut(1)
    other = cluster.wait_for_other_leader(1, CATALOG_GROUP)
    created = cluster.command(CreateTable(new_id(), "other", b"{}"), at=other.id)
    cluster.run()

    request = confirm(cluster, 1)
    cluster.run()
    assert request.outcome is None
    cluster.heal()
    cluster.tick(40)

    assert (created.outcome, request.outcome) == (Outcome.OK, Outcome.NOT_LEADER)


def test_node_without_a_replica_of_the_catalog_says_so(cluster: Cluster) -> None:
    node = cluster.nodes[2]
    del node.host.replicas[CATALOG_GROUP]
    request = CatalogRequest()

    assert not node.host.change_catalog(b"", request.answer)
    assert not node.host.confirm_catalog(request.answer)


def test_older_catalog_is_not_adopted(cluster: Cluster) -> None:
    """Watchers may hear news out of order."""
    node = cluster.nodes[2]
    old = node.host.catalog
    cluster.create_table("other")
    new = node.host.catalog

    node.host.adopt_catalog(old)

    assert node.host.catalog is new
