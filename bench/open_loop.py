"""An open loop of writes: so many requests a second, whether or not earlier ones were answered.

They come as those of many independent clients do, at random (a Poisson process). Two loads in equal
steps would keep step with each other: one's requests would always, or never, meet the other's.

The load comes from processes of its own, which do little but system calls: requests are made
before the clock starts, answers are told by their first bytes. As in an SDK there is one request at
a time on a connection, a request that finds none free opens another, and one that is lost is opened
anew. What is due while all of them are busy is counted as `unsent`: the machine or the answers are
too slow for the rate then. A latency begins when its request was due, not when it was sent.

    python -m bench.open_loop < plan.json > seen.json
"""

from __future__ import annotations

import dataclasses
import json
import math
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from bench.load import Items, percentiles, put_request
from quorate.demo.raw_http import dynamodb_request, parse_answer

HOST = "127.0.0.1"
STEP_SECONDS = 0.001
CONNECTIONS_AT_ONCE_MAX = 8
"""Most connections opened in one step: what a client does at a sudden load."""

BATCH_ITEMS = 25
REQUESTS_MAX = 2_000
"""Most requests made before the clock starts; then they are sent again."""
CLOSED = -1.0
"""The rate of a closed loop: each connection sends again as soon as it is answered."""

CLOSED_BY_ROUTER = "closed by the router"
OK, UNAVAILABLE = b"HTTP/1.1 200", b"HTTP/1.1 503"
THROTTLED = (b"ProvisionedThroughputExceeded", b"ThrottlingException")


@dataclass(slots=True)
class Second:
    """What happened in one second of the load; latencies in microseconds."""

    done: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    failed: int = 0
    unsent: int = 0


@dataclass(slots=True)
class Seen:
    """What happened in all, by the second in which it ended; `cpu_seconds` are the loop's own."""

    seconds: list[Second]
    first_failure: str = ""
    cpu_seconds: float = 0.0

    def done_per_second(self, low: int = 0, high: int | None = None) -> float:
        """Return the mean of the successes of seconds [low, high)."""
        chosen = self.seconds[low:high]
        return sum(len(second.done) for second in chosen) / max(1, len(chosen))

    def done_ms(self, low: int = 0, high: int | None = None) -> dict[str, float]:
        """Return percentiles of the successes' latencies in seconds [low, high)."""
        return percentiles([us / 1e6 for second in self.seconds[low:high] for us in second.done])

    def refused_ms(self, low: int = 0, high: int | None = None) -> dict[str, float]:
        """Return percentiles of the refusals' latencies in seconds [low, high)."""
        return percentiles([us / 1e6 for second in self.seconds[low:high] for us in second.refused])

    def by_second(self) -> list[dict[str, float]]:
        """Return what a plot needs of each second."""
        return [
            {
                "done": len(one.done),
                "refused": len(one.refused),
                "failed": one.failed,
                "unsent": one.unsent,
                "done_p50_ms": self.done_ms(at, at + 1)["p50_ms"],
                "refused_p50_ms": self.refused_ms(at, at + 1)["p50_ms"],
            }
            for at, one in enumerate(self.seconds)
        ]

    def describe(self, low: int = 0, high: int | None = None) -> dict[str, Any]:
        """Return the figures of seconds [low, high), as JSON has them."""
        chosen = self.seconds[low:high]
        return {
            "done": sum(len(second.done) for second in chosen),
            "refused": sum(len(second.refused) for second in chosen),
            "failed": sum(second.failed for second in chosen),
            "unsent": sum(second.unsent for second in chosen),
            "done_latency": self.done_ms(low, high),
            "refused_latency": self.refused_ms(low, high),
            "first_failure": self.first_failure,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load on one table. `rates` are (requests a second, for so many seconds), one after another.

    `request` is "put", "get" (strong) or "batch" (BatchWriteItem of 25 puts). A port that is there
    several times gets as many shares. `connections` are opened at first, for each port.
    """

    ports: tuple[int, ...]
    table: str
    rates: tuple[tuple[float, float], ...]
    connections: int = 64
    connections_max: int = 64
    keys: int = 10_000
    request: str = "put"
    seed: int = 1

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(seconds for _, seconds in self.rates)


class OpenLoop:
    """A plan run by so many processes, each with its share of the rates. Start it, then wait."""

    def __init__(self, plan: Plan, *, processes: int = 1) -> None:
        """Start the processes; they begin to send at once."""
        share = dataclasses.replace(
            plan,
            rates=tuple(
                (rate if rate == CLOSED else rate / processes, seconds)
                for rate, seconds in plan.rates
            ),
            connections_max=max(1, plan.connections_max // processes),
            connections=max(1, plan.connections // processes),
        )
        self._plan = plan
        self._processes = []
        for number in range(processes):
            one = dataclasses.replace(share, seed=plan.seed + number)
            process = subprocess.Popen(
                [sys.executable, "-m", "bench.open_loop"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert process.stdin is not None
            process.stdin.write(json.dumps(dataclasses.asdict(one)).encode())
            process.stdin.close()
            self._processes.append(process)
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline() != b"sending\n":
                raise RuntimeError("the load did not start")
        self.started = time.monotonic()

    @property
    def pids(self) -> list[int]:
        """The processes' ids."""
        return [process.pid for process in self._processes]

    def wait(self) -> Seen:
        """Return what came of it, once it is over."""
        whole = Seen([Second() for _ in range(round(self._plan.seconds))])
        for process in self._processes:
            assert process.stdout is not None
            document = json.loads(process.stdout.read())
            if process.wait():
                raise RuntimeError(f"the load ended with {process.returncode}")
            for into, row in zip(whole.seconds, document["seconds"], strict=True):
                into.done += row["done"]
                into.refused += row["refused"]
                into.failed += row["failed"]
                into.unsent += row["unsent"]
            whole.first_failure = whole.first_failure or document["first_failure"]
            whole.cpu_seconds += document["cpu_seconds"]
        return whole


def batch_request(table: str, items: Sequence[dict[str, Any]], host: str) -> bytes:
    """Return a BatchWriteItem of puts."""
    writes = [{"PutRequest": {"Item": item}} for item in items]
    body = orjson.dumps({"RequestItems": {table: writes}})
    return dynamodb_request("BatchWriteItem", body, host=host)


def requests_of(plan: Plan) -> list[bytes]:
    """Return the requests to be sent in turn, with random keys of the plan's."""
    items = Items(plan.keys, plan.seed)
    if plan.request == "batch":
        return [
            batch_request(plan.table, distinct_items(items, BATCH_ITEMS), HOST) for _ in range(200)
        ]
    make = {"put": put_request, "get": get_request}[plan.request]
    return [make(plan.table, items.next_item(), HOST) for _ in range(min(plan.keys, REQUESTS_MAX))]


def distinct_items(items: Items, count: int) -> list[dict[str, Any]]:
    """Return so many items with different keys."""
    by_key: dict[str, dict[str, Any]] = {}
    while len(by_key) < count:
        item = items.next_item()
        by_key[item["id"]["S"]] = item
    return list(by_key.values())


def get_request(table: str, item: dict[str, Any], host: str) -> bytes:
    """Return a strong GetItem of an item's key."""
    body = {"TableName": table, "Key": {"id": item["id"]}, "ConsistentRead": True}
    return dynamodb_request("GetItem", orjson.dumps(body), host=host)


class _Sender:
    """The loop of one process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = requests_of(plan)
        self._next = 0
        self._random = Random(plan.seed)
        self._seconds = [Second() for _ in range(round(plan.seconds))]
        self._first_failure = ""
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._port_of: dict[int, int] = {}
        self._free: dict[int, list[int]] = {port: [] for port in plan.ports}
        self._open = dict.fromkeys(plan.ports, 0)
        self._due: dict[int, float] = {}  # by connection: when its request was
        self._partial: dict[int, bytes] = {}
        self._started = 0.0
        for port in self._free:
            for _ in range(plan.connections):
                self._connect(port)

    def run(self) -> dict[str, Any]:
        """Send all; what is not answered two seconds after the end never is."""
        plan, clock = self._plan, time.perf_counter
        ports, turn = plan.ports, 0
        cpu = time.process_time()
        self._started = clock()
        ends = 0.0
        now = 0.0
        for rate, seconds in plan.rates:
            due = ends + self._gap(rate)
            ends += seconds
            while now < ends:
                if rate == CLOSED:
                    for port in self._free:
                        for _ in range(len(self._free[port])):
                            self._send(port, clock() - self._started, 0)
                    self._receive(0.1)
                else:
                    opened = 0
                    while due <= min(now, ends):
                        opened += self._send(ports[turn % len(ports)], due, opened)
                        turn += 1
                        due += self._gap(rate)
                    self._receive(STEP_SECONDS)
                now = clock() - self._started
        while self._due and clock() - self._started < ends + 2:
            self._receive(0.01)
        return {
            "seconds": [dataclasses.asdict(second) for second in self._seconds],
            "first_failure": self._first_failure,
            "cpu_seconds": time.process_time() - cpu,
        }

    def _gap(self, rate: float) -> float:
        """Draw the seconds between two requests of an open loop."""
        return self._random.expovariate(rate) if rate > 0 else math.inf

    def _second(self, at: float) -> Second:
        return self._seconds[min(int(at), len(self._seconds) - 1)]

    def _connect(self, port: int) -> bool:
        """Open one more connection; False if nobody listens."""
        connection = socket.socket()
        try:
            connection.connect((HOST, port))
        except OSError:
            connection.close()
            return False
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(0)
        number = connection.fileno()
        self._sockets[number] = connection
        self._port_of[number] = port
        self._open[port] += 1
        self._free[port].append(number)
        self._poll.register(number, select.EPOLLIN)
        return True

    def _send(self, port: int, due: float, opened: int) -> int:
        """Send one request that was due, if it can be; return whether that opened a connection."""
        free = self._free[port]
        new = 0
        if not free:
            may_open = self._open[port] < self._plan.connections_max
            if not may_open or opened >= CONNECTIONS_AT_ONCE_MAX or not self._connect(port):
                self._second(due).unsent += 1
                return 0
            new = 1
        number = free.pop()
        request = self._requests[self._next]
        self._next = (self._next + 1) % len(self._requests)
        self._due[number] = due
        try:
            if self._sockets[number].send(request) < len(request):
                self._lose(number, "a request did not fit into the socket's buffer")
        except OSError as error:
            self._lose(number, repr(error))
        return new

    def _receive(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            try:
                data = self._sockets[number].recv(65536)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                data = b""
            except OSError as error:
                self._lose(number, repr(error))
                continue
            if not data:
                self._lose(number, CLOSED_BY_ROUTER)
                continue
            if number in self._partial:
                data = self._partial.pop(number) + data
            if parse_answer(data) is None:
                self._partial[number] = data
            else:
                self._answered(number, data)

    def _answered(self, number: int, answer: bytes) -> None:
        now = time.perf_counter() - self._started
        due = self._due.pop(number, now)
        second, us = self._second(now), int((now - due) * 1e6)
        if answer.startswith(OK):
            second.done.append(us)
        elif answer.startswith(UNAVAILABLE) or any(name in answer for name in THROTTLED):
            second.refused.append(us)
        else:
            second.failed += 1
            self._first_failure = self._first_failure or answer.decode(errors="replace")
        self._free[self._port_of[number]].append(number)

    def _lose(self, number: int, why: str) -> None:
        """Strike off a connection that has ended; a request on it has failed."""
        port = self._port_of.pop(number)
        self._poll.unregister(number)
        self._sockets.pop(number).close()
        self._partial.pop(number, None)
        self._open[port] -= 1
        due = self._due.pop(number, None)
        if due is not None and why == CLOSED_BY_ROUTER:
            # It was closed while idle, as HTTP allows at any time, and crossed our request.
            self._send(port, due, 0)
        elif due is not None:
            self._second(time.perf_counter() - self._started).failed += 1
            self._first_failure = self._first_failure or why
        elif number in self._free[port]:
            self._free[port].remove(number)


def main() -> None:
    """Run the plan on standard input; print what came of it."""
    document = json.load(sys.stdin)
    document["ports"] = tuple(document["ports"])
    document["rates"] = tuple((rate, seconds) for rate, seconds in document["rates"])
    sender = _Sender(Plan(**document))
    print("sending", flush=True)
    sys.stdout.buffer.write(orjson.dumps(sender.run()))


if __name__ == "__main__":
    main()
