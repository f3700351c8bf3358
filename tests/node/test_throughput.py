"""One table's cap in one partition, at the replica that serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from node.machine.throughput import PartitionLimits, PartitionThroughput
from node.replica import PartitionReplica
from quorate.cluster.commands import CreateTable
from quorate.cluster.outcome import Outcome
from tests.node.builders import key, new_id, put, put_if, put_if_absent
from tests.node.harness import PARTITION, Cluster, outcomes

WRITES, READS = 10.0, 20.0
PROVISIONED = orjson.dumps({"BillingMode": "PROVISIONED"})


@pytest.fixture
def capped(directory: Path) -> Iterator[Cluster]:
    """Table 1 is on demand, table 2 provisioned; a partition gives 10 writes and 20 reads."""
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=1)
    cluster.change(CreateTable(new_id(), "capped", PROVISIONED))
    for node in cluster.up():
        replica = node.host.replicas[PARTITION]
        assert isinstance(replica, PartitionReplica)
        replica.throughput = PartitionThroughput(PartitionLimits(WRITES, READS))
    yield cluster
    cluster.close()


def count(cluster: Cluster, writes: int, *, table: int = 2) -> dict[Outcome | None, int]:
    requests = cluster.do(*(put(f"k{place}", table=table) for place in range(writes)))
    found = outcomes(requests)
    return {outcome: found.count(outcome) for outcome in set(found)}


def test_writes_over_the_cap_are_throttled_and_have_no_effect(capped: Cluster) -> None:
    found = count(capped, 25)

    assert found == {Outcome.OK: 10, Outcome.THROTTLED: 15}
    assert len(capped.items_at(1)) == 10
    capped.tick(seconds=1.0)
    assert count(capped, 25)[Outcome.OK] == 10


def test_table_on_demand_is_not_capped(capped: Cluster) -> None:
    assert count(capped, 100, table=1) == {Outcome.OK: 100}


def test_one_table_does_not_spend_anothers_cap(capped: Cluster) -> None:
    capped.change(CreateTable(new_id(), "other", PROVISIONED))
    count(capped, 25)

    assert count(capped, 10, table=3) == {Outcome.OK: 10}


def test_unused_capacity_is_saved_for_300_seconds(capped: Cluster) -> None:
    replica = capped.nodes[1].replica()
    replica.throughput.write_bucket(key("a", table=2)[:4], capped.now)
    capped.now += 1000.0

    bucket = replica.throughput.write_bucket(key("a", table=2)[:4], capped.now)
    assert bucket.level == WRITES * 300


def test_retry_of_a_write_that_was_done_is_answered_whatever_is_left(capped: Cluster) -> None:
    first = put("a", table=2)
    capped.done(first)
    assert Outcome.THROTTLED in count(capped, 25)

    (again,) = capped.do(first)
    assert again.outcome is Outcome.OK


def test_failed_condition_costs_what_the_item_does(cluster: Cluster) -> None:
    """Developer Guide: a failed conditional write consumes units by the size of the item."""
    cluster.done(put("a", text="x" * 2500))
    first = put_if_absent("a")
    (failed,) = cluster.do(first)
    (again,) = cluster.do(first)

    assert (failed.outcome, failed.units) == (Outcome.CONDITION_FAILED, 3)
    assert (again.outcome, again.units) == (Outcome.CONDITION_FAILED, 3)
    (nothing_there,) = cluster.do(put_if("b", "attribute_exists(id)"))
    assert nothing_there.units == 1


def test_reads_are_capped_at_each_replica(capped: Cluster) -> None:
    capped.done(put("a", table=2))
    keys = [key("a", table=2)] * 30
    strong = capped.get(*keys)
    capped.run()
    eventual = capped.get(*keys, at=2, consistent=False)
    capped.run()

    assert outcomes(strong).count(Outcome.OK) == 20
    assert outcomes(eventual).count(Outcome.OK) == 30, "half a unit each"
    assert outcomes(strong).count(Outcome.THROTTLED) == 10


def test_page_is_charged_for_what_was_read(capped: Cluster) -> None:
    for place in range(10):
        capped.done(put(f"k{place}", table=2, text="x" * 8000))
        capped.tick(seconds=1.0)
    low, high = (2).to_bytes(4, "big"), (3).to_bytes(4, "big")

    first = capped.scan(low, high)
    second = capped.scan(low, high)
    capped.tick(seconds=1.0)
    third = capped.scan(low, high)

    assert (first.outcome, len(first.keys)) == (Outcome.OK, 10), "80 KB are 20 units"
    assert second.outcome is Outcome.THROTTLED
    assert third.outcome is Outcome.OK
