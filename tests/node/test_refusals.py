"""Requests that a node does not take: each is told why, and that it was surely not proposed."""

from __future__ import annotations

from dataclasses import replace as changed
from pathlib import Path

import pytest

from node import door, host, replica
from quorate.cluster.outcome import Outcome
from raft.types import MIB, RaftConfig
from tests.node.builders import Write, key, number, put, put_if_absent
from tests.node.harness import NODES, Cluster, outcomes


def test_expired_write_is_not_proposed(cluster: Cluster) -> None:
    before = cluster.leader().replica().core.last_index

    (request,) = cluster.do(Write(key("a"), b"", deadline_ms=0))

    assert request.outcome is Outcome.EXPIRED
    assert cluster.leader().replica().core.last_index == before


def test_write_that_expires_while_a_log_write_is_in_flight_is_not_proposed(
    cluster: Cluster,
) -> None:
    cluster.nodes[1].log_held = True
    cluster.do(put("a"))
    (request,) = cluster.do(changed(put("b"), deadline_ms=100))
    cluster.tick(3)

    cluster.nodes[1].log_held = False
    cluster.run()

    assert request.outcome is Outcome.EXPIRED
    assert cluster.read(key("b")) == b""


def test_key_of_another_arc_is_refused(directory: Path) -> None:
    """A router with an old map: the node holds the partition, but not for this key."""
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=3)
    name = next(name for name in map(str, range(100)) if cluster.partition_of(key(name)) == 2)

    (write,) = cluster.do(changed(put(name), partition=1), at=1)
    (read,) = cluster.get(key(name), at=1, partition=1)
    (eventual,) = cluster.get(key(name), at=1, partition=1, consistent=False)
    cluster.run()

    assert outcomes([write, read, eventual]) == [Outcome.NOT_REPLICA] * 3
    cluster.close()


def test_partition_that_is_not_here_is_refused(cluster: Cluster) -> None:
    (write,) = cluster.do(changed(put("a"), partition=99), at=1)
    (read,) = cluster.get(key("a"), at=1, partition=99)
    page = cluster.scan(at=1, partition=99)

    assert outcomes([write, read, page]) == [Outcome.NOT_REPLICA] * 3


def test_leader_that_is_behind_serves_the_tables_it_knows_and_looks_for_the_newest_catalog(
    cluster: Cluster,
) -> None:
    """The rest waits: a table that it has not heard of, a partition that it may be about to get."""
    node = cluster.leader()
    newest = node.host.catalog.epoch + 1
    unheard_of = node.host.catalog.next_table_id

    requests = cluster.write(
        put("a"), put("b", table=unheard_of), changed(put("c"), partition=99), epoch=newest
    )
    cluster.run()

    assert outcomes(requests) == [Outcome.OK, Outcome.STALE_CATALOG, Outcome.STALE_CATALOG]
    assert node.catalog_wanted == newest


def test_leader_that_is_behind_refuses_a_table_that_it_knows_to_be_gone(cluster: Cluster) -> None:
    gone = cluster.create_table("other")
    cluster.delete_table("other")

    (request,) = cluster.write(put("a", table=gone), epoch=cluster.leader().host.catalog.epoch + 1)
    cluster.run()

    assert request.outcome is Outcome.NO_TABLE


def test_table_that_is_not_heard_of_yet_is_none_that_does_not_exist(cluster: Cluster) -> None:
    """Whatever epoch the router says: an id that was not given out will be."""
    (request,) = cluster.do(put("a", table=77))

    assert request.outcome is Outcome.STALE_CATALOG


def test_deleted_table_is_refused_and_its_neighbour_is_not(cluster: Cluster) -> None:
    other = cluster.create_table("other")
    cluster.done(put("a", table=other))
    cluster.delete_table("other")

    gone, there = cluster.do(put("a", table=other), put("a"))

    assert (gone.outcome, there.outcome) == (Outcome.NO_TABLE, Outcome.OK)


def test_more_writes_than_may_wait_are_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every queue has a bound; full is an answer, at the door."""
    monkeypatch.setattr(replica, "WAITING_MAX", 3)
    cluster.nodes[1].log_held = True
    cluster.do(put("a"))

    requests = cluster.do(*(put(f"k{n}") for n in range(5)))
    cluster.nodes[1].log_held = False
    cluster.run()

    assert outcomes(requests) == [Outcome.OK] * 3 + [Outcome.OVERLOADED] * 2


def test_more_bytes_than_may_wait_are_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "WAITING_BYTES_MAX", 1000)
    cluster.nodes[1].log_held = True
    cluster.do(put("a"))

    requests = cluster.do(*(put(f"k{n}", text="x" * 600) for n in range(4)))
    cluster.nodes[1].log_held = False
    cluster.run()

    assert outcomes(requests) == [Outcome.OK] * 2 + [Outcome.OVERLOADED] * 2
    assert cluster.done(put("b", text="x" * 600))


def test_more_strong_reads_than_may_wait_are_refused(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "WAITING_MAX", 2)
    cluster.hold((2, 1), (3, 1))

    requests = [request for n in range(4) for request in cluster.get(key(f"k{n}"))]
    cluster.release()

    assert outcomes(requests) == [Outcome.OK] * 2 + [Outcome.OVERLOADED] * 2


def test_reads_in_a_round_that_waits_count_against_the_bound(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn moves them on, but without a quorum none is answered."""
    monkeypatch.setattr(replica, "WAITING_MAX", 2)
    cluster.hold((2, 1), (3, 1))

    requests = []
    for place in range(4):
        requests += cluster.get(key(f"k{place}"))
        cluster.run()
    cluster.release()
    again = cluster.get(key("k0")) + cluster.get(key("k1"))
    cluster.run()

    assert outcomes(requests) == [Outcome.OK] * 2 + [Outcome.OVERLOADED] * 2
    assert outcomes(again) == [Outcome.OK] * 2


def test_writes_are_refused_while_the_memtable_is_too_large(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint cannot keep up: refuse before memory runs out."""
    monkeypatch.setattr(replica, "MEMTABLE_BYTES_MAX", 5_000)
    cluster.nodes[1].items_held = True
    cluster.done(put("a", text="x" * 6000))

    (refused,) = cluster.do(put("b"))
    cluster.nodes[1].items_held = False
    cluster.checkpoint()
    (taken,) = cluster.do(put("b"))

    assert (refused.outcome, taken.outcome) == (Outcome.OVERLOADED, Outcome.OK)


def test_leader_with_too_much_uncommitted_refuses_and_forgets_the_proposal(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log did not take is surely not proposed, and can be tried again."""

    def small(*, node_id: int) -> RaftConfig:
        return RaftConfig(node_id=node_id, uncommitted_bytes_max=2_000, cache_bytes_max=MIB)

    monkeypatch.setattr(host, "RaftConfig", small)
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=1)
    cluster.hold((2, 1), (3, 1))
    (first,) = cluster.do(put("a", text="x" * 1500))
    write = put_if_absent("b", text="x" * 1500)
    second, failed = cluster.do(write, put_if_absent("b"))
    assert outcomes([first, second, failed]) == [None, Outcome.OVERLOADED, Outcome.OVERLOADED]

    cluster.release()
    cluster.done(write)

    assert first.outcome is Outcome.OK
    cluster.close()


def test_refusals_do_not_stop_the_other_writes_of_a_batch(cluster: Cluster) -> None:
    expired = changed(put("a", n=1), deadline_ms=0)

    requests = cluster.do(put("b"), expired, put("c", table=77), put("d", n=4))

    assert outcomes(requests) == [
        Outcome.OK,
        Outcome.EXPIRED,
        Outcome.STALE_CATALOG,
        Outcome.OK,
    ]
    assert number(cluster.read(key("d"))) == 4
    cluster.tick()
    for node_id in NODES:
        assert key("a") not in cluster.items_at(node_id)


def test_node_whose_loop_is_late_refuses_everything_until_it_has_caught_up(
    cluster: Cluster,
) -> None:
    cluster.done(put("a"))
    node_door = cluster.nodes[1].host.door
    node_door.loop_delayed(door.LOOP_DELAY_SECONDS_MAX + 0.01)

    reads = cluster.get(key("a")) + cluster.get(key("a"), consistent=False)
    (write,) = cluster.do(put("b"))
    page = cluster.scan()
    node_door.loop_delayed(door.LOOP_DELAY_SECONDS_MAX)
    (again,) = cluster.do(put("b"))

    assert outcomes([write, page, *reads]) == [Outcome.OVERLOADED] * 4
    assert node_door.refused == 4
    assert again.outcome is Outcome.OK


def test_bytes_that_wait_at_all_partitions_of_a_node_are_bounded_together(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "WAITING_BYTES_MAX", 1000)
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=6)
    node = cluster.nodes[1]
    led = [put(f"k{n}", text="x" * 600) for n in range(40)]
    led = [write for write in led if cluster.leader(cluster.partition_of(write.key)) is node]
    assert len({cluster.partition_of(write.key) for write in led}) == 2
    node.log_held = True
    cluster.do(led[0])

    requests = [request for write in led[1:6] for request in cluster.do(write)]
    node.log_held = False
    cluster.run()

    assert outcomes(requests) == [Outcome.OK] * 2 + [Outcome.OVERLOADED] * 3
    assert node.host.door.refused == 3
    cluster.done(led[6])
    cluster.close()
