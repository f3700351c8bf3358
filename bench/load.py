"""The load generator: closed loops of PutItem over HTTP or gRPC, in a process of its own.

It prints `measuring` when its warm-up is over and one JSON document at the end, so that whoever
started it can look at the clocks of the other processes at the same moments.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

import grpc.aio
import orjson
import uvloop

from quorate.client import Client, QuorateError
from quorate.demo.raw_http import RawConnection, dynamodb_request
from quorate.v1 import api_pb2, api_pb2_grpc

KINDS = ("http", "pipeline", "unary")
ETCD = "etcd"
"""The same load on etcd's HTTP gateway, for `bench.etcd` to compare with."""
FILLER = "0123456789abcdef" * 16


@dataclass(slots=True)
class Measured:
    """What came of the calls since the warm-up; latencies in seconds."""

    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""
    running: bool = True
    measuring: bool = False


class Items:
    """300-byte items of 5 attributes, as DynamoDB counts sizes, with keys all over the ring.

    Keys are drawn from a set of `keys`, so that the working set is constant.
    """

    def __init__(self, keys: int, seed: int) -> None:
        """Draw from `keys` keys."""
        self._keys = keys
        self._rng = random.Random(seed)
        self._number = 0

    def next_item(self) -> dict[str, Any]:
        """Return an item in DynamoDB's JSON encoding."""
        self._number += 1
        return {
            "id": {"S": f"user-{self._rng.randrange(self._keys):010}"},
            "author": {"S": "somebody"},
            "created": {"N": str(1_700_000_000 + self._number)},
            "likes": {"N": str(self._number % 1000)},
            "text": {"S": FILLER[:237]},
        }


def percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 and p99.9 in milliseconds."""
    ordered = sorted(latencies)
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    if not ordered:
        return dict.fromkeys(shares, 0.0)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)
        for name, share in shares.items()
    }


def put_request(table: str, item: dict[str, Any], host: str) -> bytes:
    """Return a PutItem request."""
    body = orjson.dumps({"TableName": table, "Item": item})
    return dynamodb_request("PutItem", body, host=host)


def etcd_request(table: str, item: dict[str, Any], host: str) -> bytes:
    """Return a put of the same key and of as many bytes."""
    key = base64.b64encode(f"{table}/{item['id']['S']}".encode()).decode()
    value = base64.b64encode(FILLER[:240].encode() + os.urandom(30)).decode()
    body = orjson.dumps({"key": key, "value": value})
    head = (
        f"POST /v3/kv/put HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load_http(
    options: argparse.Namespace, items: Items, measured: Measured
) -> Callable[[], None]:
    """Start the connections; return what closes them."""
    loop = asyncio.get_running_loop()
    host, _, port = options.address.rpartition(":")
    request_of = etcd_request if options.kind == ETCD else put_request
    started: dict[RawConnection, float] = {}
    connections: list[RawConnection] = []

    def send(connection: RawConnection) -> None:
        request = request_of(options.table, items.next_item(), host)
        started[connection] = time.perf_counter()
        connection.send(request)

    def answered(connection: RawConnection, status: int, body: bytes) -> None:
        if measured.measuring:
            measured.latencies.append(time.perf_counter() - started[connection])
            if status != 200:
                measured.errors += 1
                measured.first_error = measured.first_error or body.decode(errors="replace")
        if measured.running:
            send(connection)

    def lost(connection: RawConnection) -> None:
        del connection
        measured.errors += measured.running

    for _ in range(options.connections):
        _, connection = await loop.create_connection(
            lambda: RawConnection(answered, lost), host, int(port)
        )
        connections.append(connection)
    for connection in connections:
        send(connection)

    def close() -> None:
        for connection in connections:
            connection.abort()

    return close


async def repeat(call: Callable[[], Awaitable[bool]], measured: Measured) -> None:
    """Call again and again; one call at a time."""
    while measured.running:
        started = time.perf_counter()
        done = await call()
        if measured.measuring:
            measured.latencies.append(time.perf_counter() - started)
            measured.errors += not done


def pipeline_call(
    client: Client, table: str, items: Items, measured: Measured
) -> Callable[[], Awaitable[bool]]:
    """Return a put through quorate.Client."""

    async def put() -> bool:
        try:
            await client.put_item(table, items.next_item())
        except QuorateError as error:
            measured.first_error = measured.first_error or str(error)
            return False
        return True

    return put


def unary_call(
    stub: Any,  # noqa: ANN401 - protoc's stubs have no types
    table: str,
    items: Items,
    measured: Measured,
) -> Callable[[], Awaitable[bool]]:
    """Return a put through the generated stubs."""

    async def put() -> bool:
        item = {
            name: api_pb2.AttributeValue(**{kind.lower(): content})
            for name, value in items.next_item().items()
            for kind, content in value.items()
        }
        try:
            await stub.PutItem(api_pb2.PutItemRequest(table_name=table, item=item), timeout=10)
        except grpc.aio.AioRpcError as error:
            measured.first_error = measured.first_error or f"{error.code()}: {error.details()}"
            return False
        return True

    return put


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, measure, and return the document."""
    measured = Measured()
    items = Items(options.keys, options.seed)
    workers: list[asyncio.Task[None]] = []
    async with contextlib.AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        if options.kind in ("http", ETCD):
            close = await load_http(options, items, measured)
            stack.callback(close)
        elif options.kind == "pipeline":
            client = await stack.enter_async_context(Client(options.address, raw=True))
            put = pipeline_call(client, options.table, items, measured)
            workers = [tasks.create_task(repeat(put, measured)) for _ in range(options.connections)]
        else:
            # A few channels with many calls each, as a service would have them.
            puts = []
            for _ in range(min(4, options.connections)):
                channel = await stack.enter_async_context(
                    grpc.aio.insecure_channel(
                        options.address, options=[("grpc.use_local_subchannel_pool", 1)]
                    )
                )
                stub = api_pb2_grpc.QuorateServiceStub(channel)
                puts.append(unary_call(stub, options.table, items, measured))
            workers = [
                tasks.create_task(repeat(puts[number % len(puts)], measured))
                for number in range(options.connections)
            ]
        await asyncio.sleep(options.warm_up)
        print("measuring", flush=True)
        cpu_before, started = time.process_time(), time.perf_counter()
        measured.measuring = True
        await asyncio.sleep(options.seconds)
        seconds = time.perf_counter() - started
        measured.measuring = False
        cpu = time.process_time() - cpu_before
        measured.running = False
        if workers:
            await asyncio.wait(workers)
    count = len(measured.latencies) - measured.errors
    return {
        "writes": count,
        "errors": measured.errors,
        "first_error": measured.first_error,
        "seconds": round(seconds, 3),
        "writes_per_second": round(count / seconds, 1),
        **percentiles(measured.latencies),
        "cpu_seconds": round(cpu, 3),
    }


def main() -> None:
    """Run one load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=(*KINDS, ETCD), required=True)
    parser.add_argument("--address", required=True, help="host:port")
    parser.add_argument("--table", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(uvloop.run(measure(options))), flush=True)


if __name__ == "__main__":
    main()
