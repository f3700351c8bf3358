"""A router that was stopped does nothing of what it finds when it goes on.

Its clients have given up and retried elsewhere, and the ids of these retries may be forgotten.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import grpc
import pytest

from quorate import Client
from quorate.local.background import BackgroundCluster, wait_until
from quorate.v1 import api_pb2, api_pb2_grpc
from router.wakefulness import SLEEP_SECONDS
from tests.processes.conftest import TABLE, dynamodb, make_table

GROUP = {"S": "ghosts"}


def put_over_http(name: str) -> bytes:
    body = json.dumps({"TableName": TABLE, "Item": {"group": GROUP, "id": {"S": name}}}).encode()
    return (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-amz-json-1.0\r\n"
        b"X-Amz-Target: DynamoDB_20120810.PutItem\r\namz-sdk-invocation-id: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (str(uuid4()).encode(), len(body), body)
    )


class Connection:
    """A plain connection to a router."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=20)

    def send(self, name: str) -> None:
        self._socket.sendall(put_over_http(name))

    def is_answered(self) -> bool:
        """Wait for an answer, or for the connection's end."""
        try:
            return self._socket.recv(65_536).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def connect() -> Iterator[Callable[[tuple[str, int]], Connection]]:
    """Connect to a router; what is left open is closed in the end."""
    connections: list[Connection] = []

    def to(address: tuple[str, int]) -> Connection:
        connections.append(Connection(address))
        return connections[-1]

    yield to
    for connection in connections:
        connection.close()


def test_stopped_router_drops_what_was_sent_to_it_meanwhile(
    own_cluster: Callable[..., BackgroundCluster],
    connect: Callable[[tuple[str, int]], Connection],
) -> None:
    cluster = own_cluster(partitions=3, routers=1)
    cluster.start()
    make_table(cluster, TABLE)
    host, _, port = cluster.http_url.removeprefix("http://").partition(":")
    address = (host, int(port))
    kept = connect(address)
    kept.send("before")
    assert kept.is_answered()

    async def stream_used_before_and_during(stopped: threading.Event) -> None:
        """The client retries by itself once it is told that its stream is gone."""
        async with Client(cluster.grpc_address, deadline_seconds=30.0) as client:
            await client.put_item(TABLE, {"group": GROUP["S"], "id": "stream before"})
            used.set()
            await asyncio.to_thread(stopped.wait, 20)
            await client.put_item(TABLE, {"group": GROUP["S"], "id": "stream after"})

    used, stopped = threading.Event(), threading.Event()
    streaming = threading.Thread(target=lambda: asyncio.run(stream_used_before_and_during(stopped)))
    streaming.start()
    assert used.wait(20)
    channel = grpc.insecure_channel(cluster.grpc_address)
    stub = api_pb2_grpc.QuorateServiceStub(channel)
    stub.ListTables(api_pb2.ListTablesRequest(), timeout=10)  # connected

    cluster.pause("r1")
    stopped.set()
    kept.send("on an open connection")
    gone = connect(address)
    gone.send("on one that is closed")
    gone.close()
    waiting = connect(address)
    waiting.send("on one that waits to be taken")
    item = {"group": api_pb2.AttributeValue(s=GROUP["S"]), "id": api_pb2.AttributeValue(s="unary")}
    unary = stub.PutItem.future(api_pb2.PutItemRequest(table_name=TABLE, item=item), timeout=30)
    time.sleep(SLEEP_SECONDS + 1)  # the fault itself: a shorter one is no sleep
    cluster.resume("r1")

    assert not kept.is_answered()
    assert not waiting.is_answered()
    with pytest.raises(grpc.RpcError) as refusal:
        unary.result()
    assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
    channel.close()
    streaming.join(30)
    assert not streaming.is_alive()
    fresh = connect(address)
    fresh.send("after")
    assert fresh.is_answered()

    client = dynamodb(cluster.http_url)
    found = client.query(
        TableName=TABLE,
        ConsistentRead=True,
        KeyConditionExpression="#g = :g",
        ExpressionAttributeNames={"#g": "group"},
        ExpressionAttributeValues={":g": GROUP},
    )
    client.close()
    names = {item["id"]["S"] for item in found["Items"]}
    assert names == {"before", "stream before", "stream after", "after"}
    log = cluster.data_dir / "run" / "r1.log"
    wait_until(lambda: "slept" in log.read_text(), what="the line", timeout_seconds=5)
