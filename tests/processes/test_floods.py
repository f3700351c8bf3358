"""Floods: rows 15 and 18 of nodes and row 31 of routers in SECURITY.md.

While each goes on, a client writes. What counts is that all its writes are taken, in time, and that
no node loses its leadership.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from model.image import encode_image
from model.keys import KeySchema, storage_key
from model.values import item_size_bytes
from quorate.cluster.channels import Dialer
from quorate.cluster.outcome import Outcome
from quorate.local.background import BackgroundCluster
from quorate.local.certificates import paths_of
from quorate.security.cluster_certificate import ClusterFiles
from quorate.security.cluster_roles import Caller, Role
from quorate.v1 import node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceStub
from tests.http2 import (
    DATA,
    END_STREAM,
    Flood,
    continuations,
    frame,
    many_streams,
    opening,
    pings,
    rapid_reset,
    settings,
)
from tests.processes.conftest import dynamodb, make_table

NODE_CALL = b"/quorate.v1.NodeService/Route"
ROUTER_CALL = b"/quorate.v1.Quorate/PutItem"
PROPOSALS = 10_000
PROPOSALS_TOGETHER = 50  # 20 MB: not more than one message may have
GROWTH_BYTES_MAX = 400 << 20
SLEEP_SECONDS = 0.02
STARVED_SECONDS = 0.3
WRITE_SECONDS_MAX = 0.25  # at the median; quiet ones take some milliseconds
STREAMS = 10_000
RESETS = 5_000
FLOODS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "rapid reset": lambda path: rapid_reset(path, RESETS),
    "streams": lambda path: many_streams(path, STREAMS),
    "headers without end": lambda path: continuations(path, 2_000),
    "settings": lambda _: settings(50_000),
    "pings": lambda _: pings(50_000),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackgroundCluster]:
    made = BackgroundCluster(tmp_path_factory.mktemp("floods") / "data", secure=True, partitions=3)
    with made:
        make_table(made, "stories")
        yield made


def terms(cluster: BackgroundCluster) -> dict[int, int]:
    return {partition["id"]: partition["term"] for partition in cluster.status()["partitions"]}


def broken_streams(cluster: BackgroundCluster) -> int:
    logs = (cluster.data_dir / "run").glob("[abc]1.log")
    return sum(path.read_text().count("peer_stream_broken") for path in logs)


@contextlib.contextmanager
def writing(cluster: BackgroundCluster) -> Iterator[None]:
    """Write all the while, one after the other; afterwards each must have been quick enough."""
    seconds: list[float] = []
    failures: list[Exception] = []
    stop = threading.Event()
    client = dynamodb(cluster.http_url)

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            began_at = time.monotonic()
            try:
                client.put_item(
                    TableName="stories",
                    Item={"group": {"S": str(number % 100)}, "id": {"S": "flood"}},
                )
            except (BotoCoreError, ClientError) as error:
                failures.append(error)
            seconds.append(time.monotonic() - began_at)

    starved = 0.0

    def sleep() -> None:
        nonlocal starved
        while not stop.is_set():
            began_at = time.monotonic()
            time.sleep(SLEEP_SECONDS)
            starved = max(starved, time.monotonic() - began_at - SLEEP_SECONDS)

    before, broken = terms(cluster), broken_streams(cluster)
    threads = [threading.Thread(target=write), threading.Thread(target=sleep)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        client.close()
    assert failures == []
    assert statistics.median(seconds) < WRITE_SECONDS_MAX
    assert broken_streams(cluster) == broken, "nodes stay connected"
    # A machine that lets a sleeper oversleep so long holds elections without any flood.
    assert terms(cluster) == before or starved > STARVED_SECONDS, "no election"


def node_context(cluster: BackgroundCluster, role: Role, name: str = "") -> ssl.SSLContext:
    paths = paths_of(cluster.data_dir, role, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(paths.ca)
    context.load_cert_chain(paths.certificate, paths.key)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    return context


def node_address(cluster: BackgroundCluster) -> tuple[str, int]:
    leader = cluster.leader_of("stories", {"S": "1"})
    return "127.0.0.1", cluster.processes()[leader].ports["node"]


def flooded(flood: Flood, frames: Iterator[bytes]) -> Flood:
    flood.send(opening())
    flood.run(frames)
    flood.read(1.0)
    flood.close()
    return flood


@pytest.mark.parametrize("kind", FLOODS)
def test_row_15_flood_of_a_node_with_a_certificate_harms_nobody(
    cluster: BackgroundCluster, kind: str
) -> None:
    context = node_context(cluster, Role.ROUTER)
    with writing(cluster):
        flood = flooded(Flood(node_address(cluster), context), FLOODS[kind](NODE_CALL))

    # The others may be ended, too: they never answer the server's own pings.
    assert flood.closed or kind != "pings"


@pytest.mark.parametrize("kind", FLOODS)
def test_row_31_flood_of_a_router_harms_nobody(cluster: BackgroundCluster, kind: str) -> None:
    host, port = cluster.grpc_address.split(":")
    with writing(cluster):
        flood = flooded(Flood((host, int(port))), FLOODS[kind](ROUTER_CALL))

    # The others may be ended, too: they never answer the server's own pings.
    assert flood.closed or kind != "pings"


def test_row_31_windows_of_one_byte_harm_nobody(cluster: BackgroundCluster) -> None:
    host, port = cluster.grpc_address.split(":")
    with writing(cluster):
        flood = Flood((host, int(port)))
        flood.send(opening((4, 1)))  # SETTINGS_INITIAL_WINDOW_SIZE
        flood.run(many_streams(b"/grpc.health.v1.Health/Check", 500))
        for stream in range(1, 1_000, 2):
            flood.send(frame(DATA, END_STREAM, stream, bytes(5)))  # an empty message, and its end
        flood.read(2.0)
        flood.close()


def test_row_15_thousand_connections_harm_nobody(cluster: BackgroundCluster) -> None:
    """Half of them silent, half with their handshake done."""
    address, context = node_address(cluster), node_context(cluster, Role.ROUTER)
    with writing(cluster), contextlib.ExitStack() as stack:
        opened: list[Any] = []
        for number in range(1_000):
            connection = stack.enter_context(socket.create_connection(address, timeout=10))
            if number % 2:
                connection = stack.enter_context(context.wrap_socket(connection))
            opened.append(connection)
        silent = opened[0]
        silent.settimeout(6.0)
        assert silent.recv(1) == b"", "those that say nothing are closed"


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


async def propose(
    dialer: Dialer, address: str, table_id: int, epoch: int, ready: Callable[[], None]
) -> Counter[Outcome]:
    """Send puts of 400 KB to a node, as a router would, faster than it can do any.

    `ready` is called when the first may leave.
    """
    schema = KeySchema(partition_name="group", partition_type="S", sort_name="id", sort_type="S")
    key = storage_key(table_id, schema, {"group": {"S": "x"}, "id": {"S": "x"}})
    item: dict[str, object] = {
        "group": {"S": "x"},
        "id": {"S": "x"},
        "filler": {"S": "x" * 400_000},
    }
    image = encode_image(item, item_size_bytes(item))
    answers: Counter[Outcome] = Counter()
    async with asyncio.timeout(100), dialer.open(address) as channel:
        call = NodeServiceStub(channel).Route()
        await call.write(node_pb2.RouteBatch(sequence=1))
        heard_ms = (await call.read()).clock_ms
        ready()

        async def read() -> None:
            nonlocal heard_ms
            while answers.total() < PROPOSALS:
                reply = await call.read()
                assert reply is not grpc.aio.EOF
                heard_ms = reply.clock_ms
                answers.update(Outcome(outcome) for outcome in reply.answers.outcomes)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            for first in range(0, PROPOSALS, PROPOSALS_TOGETHER):
                slots = range(first + 2, first + 2 + PROPOSALS_TOGETHER)
                writes = node_pb2.WriteColumns(
                    slots=slots,
                    partitions=[1] * len(slots),
                    deadlines_ms=[3_000] * len(slots),
                    request_ids=[slot.to_bytes(16, "big") for slot in slots],
                    keys=[key] * len(slots),
                    images=[image] * len(slots),
                    programs=[b""] * len(slots),
                )
                await call.write(
                    node_pb2.RouteBatch(
                        sequence=slots[0], catalog_epoch=epoch, writes=writes, heard_ms=heard_ms
                    )
                )
        call.cancel()
    return answers


def test_row_18_proposals_without_a_quorum_are_pushed_back(
    own_cluster: Callable[..., BackgroundCluster],
) -> None:
    """Ten thousand of 400 KB: four gigabytes, of which a leader holds a little."""
    cluster = own_cluster(partitions=1, secure=True)
    with cluster:
        make_table(cluster, "stories")
        leader = cluster.leader_of("stories", {"S": "x"})
        status = cluster.status()
        (table,) = status["tables"]
        owner = Caller(Role.ROUTER, status["cluster_id"])
        files = ClusterFiles(paths_of(cluster.data_dir, Role.ROUTER), owner, time.time)
        address = f"127.0.0.1:{cluster.processes()[leader].ports['node']}"
        before = resident_bytes(cluster.pid_of(leader))
        followers = sorted({"a1", "b1", "c1"} - {leader})

        def pause_followers() -> None:
            for name in followers:
                cluster.pause(name)

        answers = asyncio.run(
            propose(Dialer(files), address, table["id"], status["epoch"], pause_followers)
        )
        grown = resident_bytes(cluster.pid_of(leader)) - before
        assert cluster.processes()[leader].pid is not None
        for name in followers:
            cluster.resume(name)

    assert answers[Outcome.OVERLOADED], "pushed back while it led"
    told = answers[Outcome.OVERLOADED] + answers[Outcome.NOT_LEADER]
    assert told > PROPOSALS * 0.9, "and told to go elsewhere once it had given up"
    assert not answers[Outcome.OK]
    assert grown < GROWTH_BYTES_MAX, grown
