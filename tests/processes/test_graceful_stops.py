"""SIGTERM: leaderships are handed over, requests are answered, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from bench.churn import TableChurn
from bench.gateway import Gateway
from quorate import Client
from quorate.demo.probe import ProbeProcess, gap_ms
from quorate.local.background import BackgroundCluster, wait_until
from quorate.local.topology import HOST
from tests.processes.conftest import TABLE, dynamodb, make_table
from tests.processes.raw_client import RawClient
from tests.processes.writing import lost, writing

GROUPS = [f"group-{number}" for number in range(12)]
"""Partition keys all over the ring."""

SDK_ATTEMPTS = 4
"""What boto3 tries by default for DynamoDB in its standard mode."""

GAP_MS_MAX = 2_000
"""Longest write gap: the goal for a kill. On a quiet machine it is a hundredth of this
(bench/RESULTS.md), but tests run on busy ones."""

STOP_SECONDS_MAX = 10
"""A node that cannot hand over gives up after three seconds; the rest is for busy machines."""


def log_lines(cluster: BackgroundCluster, name: str, since: int = 0) -> list[str]:
    text = (cluster.data_dir / "run" / f"{name}.log").read_text()
    return text[since:].splitlines()


def groups_of(event: str, lines: list[str]) -> list[str]:
    """Return the groups that events of a name are about, in order."""
    return [found[1] for line in lines if (found := re.search(rf" {event} group=(\d+)", line))]


def log_sizes(cluster: BackgroundCluster) -> dict[str, int]:
    return {path.stem: path.stat().st_size for path in (cluster.data_dir / "run").glob("*.log")}


@contextmanager
def sdk_writing(port: int) -> Iterator[tuple[list[str], list[str]]]:
    """Write through boto3 with its retries until the block is left; give (acknowledged, failed)."""
    acknowledged: list[str] = []
    failed: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        client = dynamodb(f"http://{HOST}:{port}", attempts_max=SDK_ATTEMPTS)
        number = 0
        while not stop.wait(0.01):
            number += 1
            key = f"{uuid4().hex}-{writer}-{number}"
            item = {"group": {"S": GROUPS[number % len(GROUPS)]}, "id": {"S": key}}
            try:
                client.put_item(TableName=TABLE, Item=item)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller was not served
                failed.append(f"{key}: {error}")
            else:
                acknowledged.append(f"{item['group']['S']}|{key}")
        client.close()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged, failed
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_rolling_restart_of_a_leader_and_a_router_fails_no_request_of_an_sdk(
    cluster: BackgroundCluster,
) -> None:
    """P8. Two routers behind one address; an open loop probes a partition whose leader goes."""
    ports = [one.ports["http"] for one in cluster.processes().values() if one.kind == "router"]
    probed = "probes"
    asyncio.run(_make_table(cluster, probed))
    victim = cluster.leader_of(probed, {"S": "probed"})
    before = log_sizes(cluster)
    probe = ProbeProcess(HOST, ports, table_name=probed, keys=["probed"])
    try:
        with Gateway(ports) as gateway, sdk_writing(gateway.port) as (acknowledged, failed):
            wait_until(lambda: len(acknowledged) > 50, what="writes", timeout_seconds=20)
            signalled = time.monotonic()
            for name in (victim, "r1"):
                cluster.restart(name)
                cluster.wait_all_ready()
            wanted = len(acknowledged) + 50
            wait_until(lambda: len(acknowledged) > wanted, what="writes", timeout_seconds=20)
        ended = time.monotonic()
        attempts = probe.finish()
    finally:
        probe.kill()

    assert failed == []
    stopped = log_lines(cluster, victim, before[victim])
    handed_over = groups_of("handing_over", stopped[: _index(stopped, " stopped")])
    assert handed_over, "thin: it led nothing"
    others = {"a1", "b1", "c1"} - {victim}
    served = [
        group
        for name in others
        for group in groups_of(
            "leader_serves", _until_broken(log_lines(cluster, name, before[name]))
        )
    ]
    assert sorted(handed_over) == sorted(served), "the heirs serve before their elder is gone"
    gap = gap_ms(attempts, "put", after=signalled, before=ended)
    assert gap is not None
    assert gap < GAP_MS_MAX
    asyncio.run(_assert_kept(cluster, acknowledged))
    asyncio.run(_drop_table(cluster, probed))


def _index(lines: list[str], end: str) -> int:
    return next(number for number, line in enumerate(lines) if end in line)


def _until_broken(lines: list[str]) -> list[str]:
    """Return what a node logged before it saw a stream break."""
    return lines[: _index(lines, " peer_stream_broken ")]


async def _make_table(cluster: BackgroundCluster, name: str) -> None:
    async with Client(cluster.grpc_address) as client:
        await client.create_table(name, partition_key=("id", "S"))


async def _drop_table(cluster: BackgroundCluster, name: str) -> None:
    async with Client(cluster.grpc_address) as client:
        await client.delete_table(name)


async def _assert_kept(cluster: BackgroundCluster, acknowledged: list[str]) -> None:
    async with Client(cluster.grpc_address) as client:
        keys = [dict(zip(("group", "id"), key.split("|"), strict=True)) for key in acknowledged]
        found = await client.batch_get(TABLE, keys, consistent_read=True, deadline_seconds=20.0)
    assert len(found) == len(keys) > 100


def test_stop_of_a_node_that_leads_nothing_is_noticed_by_nobody(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    cluster = own_cluster(partitions=1)
    cluster.start()
    make_table(cluster, TABLE)
    (leader,) = {partition["leader"] for partition in cluster.status()["partitions"]}
    follower = next(name for name in ("b1", "c1", "a1") if name != leader)
    before = log_sizes(cluster)

    async def story() -> None:
        async with RawClient(cluster.public.http) as raw, Client(cluster.grpc_address) as client:
            async with writing(raw, TABLE, prefix="x", partition_keys=GROUPS) as account:
                await asyncio.sleep(0.3)
                await asyncio.to_thread(cluster.restart, follower)
                await asyncio.to_thread(cluster.wait_all_ready)

            assert account.failures == []
            assert len(account.acknowledged) > 100, "thin"
            assert await lost(client, TABLE, account) == []

    asyncio.run(story())
    for name, size in before.items():
        if name != "r1":
            assert groups_of("leader_elected", log_lines(cluster, name, size)) == []
    cluster.stop()


def test_nodes_that_stop_while_tables_are_made_and_dropped_end_well(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """Whatever the catalog's news still reaches of a node that stops must be there to take it."""
    cluster = own_cluster(partitions=3)
    cluster.start()
    ends = []
    with TableChurn(cluster.public.http) as churn:
        for name in ("a1", "b1", "c1") * 2:
            wanted = churn.made + 20
            wait_until(lambda: churn.made > wanted, what="tables", timeout_seconds=30)  # noqa: B023
            before = log_sizes(cluster)[name]
            cluster.signal(name, signal.SIGTERM)
            ends.append((name, cluster.wait_ended(name)))
            assert " stopped" in log_lines(cluster, name, before)[-1], "its last words"
            cluster.restart(name)
            cluster.wait_all_ready()

    assert {end for _, end in ends} == {"ended with exit code 0"}, ends
    cluster.stop()


def test_node_without_a_quorum_stops_all_the_same(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """Its peers hang, so that it has to find out that nobody takes its leaderships."""
    cluster = own_cluster(partitions=3)
    cluster.start()
    cluster.pause("b1")
    cluster.pause("c1")
    started = time.monotonic()

    cluster.signal("a1", signal.SIGTERM)

    assert cluster.wait_ended("a1") == "ended with exit code 0"
    assert time.monotonic() - started < STOP_SECONDS_MAX
    assert groups_of("handing_over", log_lines(cluster, "a1")), "thin: it led nothing"
    cluster.resume("b1")
    cluster.resume("c1")
    cluster.restart("a1")
    cluster.wait_healthy()
    cluster.stop()


def test_second_signal_ends_a_node_at_once(own_cluster: Callable[..., BackgroundCluster]) -> None:
    cluster = own_cluster(partitions=3)
    cluster.start()
    cluster.pause("b1")
    cluster.pause("c1")
    cluster.signal("a1", signal.SIGTERM)
    wait_until(
        lambda: groups_of("handing_over", log_lines(cluster, "a1")) != [],
        what="a1 is stopping",
        timeout_seconds=5,
    )

    cluster.signal("a1", signal.SIGTERM)

    assert cluster.wait_ended("a1", timeout_seconds=2) == "ended with exit code 1"
    assert 'stopped_in_a_hurry because="it was told twice"' in log_lines(cluster, "a1")[-1]
    cluster.stop(signal.SIGKILL)
