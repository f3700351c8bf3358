"""An open-loop probe: how long could a key not be written, or read?

For each key a put and a consistent get start every few milliseconds whether or not the earlier ones
were answered, each on its own connection, with a deadline and without retries. A closed loop would
hide an outage: it sends one request into it and waits. The probe runs in a process of its own, so
that a busy neighbour's loop does not bend its times.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Final

from quorate.demo.raw_http import RawConnection, dynamodb_request

INTERVAL_MS_DEFAULT: Final = 10.0
DEADLINE_MS_DEFAULT: Final = 250.0
"""One attempt's time. Ours: far above an answer's, far below an outage's."""

CONNECTIONS_MAX: Final = 256
"""Most open connections; more attempts than this at a time fail at once. Ours."""

CONNECT_MS_MAX: Final = 200.0
"""Longest wait for a connection. Ours: all is on loopback."""

STOP_SECONDS: Final = 10.0
"""Longest wait for the probe's process to end. Ours."""

OK, FAILED, LATE, REFUSED = "ok", "failed", "late", "refused"
"""Outcomes: done; an answer that is not 200; no answer in time; no connection."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One put or get; times are on the monotonic clock of this machine, in seconds."""

    kind: str
    key: str
    started: float
    ended: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time without a success. Invariant: ended >= started."""

    started: float
    ended: float

    @property
    def ms(self) -> float:
        """Return its length in milliseconds."""
        return (self.ended - self.started) * 1000


def longest_gap(
    attempts: Sequence[Attempt], kind: str, *, after: float, before: float
) -> Gap | None:
    """Return the longest gap between two successes of a kind that ends within (after, before].

    None if there are too few successes to say: none before `after`, or none since.
    """
    ends = sorted(
        attempt.ended for attempt in attempts if attempt.kind == kind and attempt.outcome == OK
    )
    gaps = [
        Gap(earlier, later)
        for earlier, later in itertools.pairwise(ends)
        if after < later <= before
    ]
    return max(gaps, key=lambda gap: gap.ms, default=None)


def gap_ms(
    attempts: Sequence[Attempt],
    kind: str,
    *,
    after: float,
    before: float,
    interval_ms: float = INTERVAL_MS_DEFAULT,
) -> float | None:
    """Return the longest gap's length minus the normal spacing, None if there is no telling."""
    gap = longest_gap(attempts, kind, after=after, before=before)
    return None if gap is None else max(0.0, gap.ms - interval_ms)


class Probe:
    """Starts attempts in its rhythm and writes down how each ended."""

    def __init__(
        self,
        host: str,
        ports: Sequence[int],
        *,
        table_name: str,
        keys: Sequence[str],
        interval_ms: float = INTERVAL_MS_DEFAULT,
        deadline_ms: float = DEADLINE_MS_DEFAULT,
    ) -> None:
        """Probe the items whose partition key `id` is in `keys`, in a table without a sort key.

        `ports` are those of routers: where one refuses a connection, the next one is asked.
        """
        self._host, self._ports = host, tuple(ports)
        self._table_name, self._keys = table_name, tuple(keys)
        self._interval_seconds = interval_ms / 1000
        self._deadline_seconds = deadline_ms / 1000
        self._free: list[RawConnection] = []
        self._open = 0
        self._turn = 0  # of the ports
        self._running: dict[RawConnection, tuple[str, str, float, asyncio.TimerHandle]] = {}
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._count = 0
        self.attempts: list[Attempt] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Probe until `stop` is set, then wait for the last attempts."""
        next_at = self._loop.time()
        for key in itertools.cycle(self._keys):  # spread over the interval
            if stop.is_set():
                break
            self._begin("put", key)
            self._begin("get", key)
            next_at += self._interval_seconds / len(self._keys)
            await asyncio.sleep(max(0.0, next_at - self._loop.time()))
        await asyncio.sleep(self._deadline_seconds)
        if self._connecting:
            await asyncio.wait(self._connecting)
        for connection in [*self._free, *self._running]:
            connection.abort()

    def _begin(self, kind: str, key: str) -> None:
        started = time.monotonic()
        while self._free:
            connection = self._free.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                self._send(connection, kind, key, started)
                return
        if self._open >= CONNECTIONS_MAX:
            self._note(kind, key, started, REFUSED)
            return
        self._open += 1
        task = self._loop.create_task(self._connect(kind, key, started))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, kind: str, key: str, started: float) -> None:
        try:
            async with asyncio.timeout(CONNECT_MS_MAX / 1000):
                connection = await self._connected()
        except (OSError, TimeoutError):
            self._open -= 1
            self._note(kind, key, started, REFUSED)
            return
        self._send(connection, kind, key, started)

    async def _connected(self) -> RawConnection:
        """Return a connection to the router whose turn it is, or to the next that takes one."""
        self._turn += 1
        error: OSError | None = None
        for number in range(len(self._ports)):
            port = self._ports[(self._turn + number) % len(self._ports)]
            try:
                _, connection = await self._loop.create_connection(
                    lambda: RawConnection(self._answered, self._lost), self._host, port
                )
            except OSError as refused:
                error = refused
            else:
                return connection
        assert error is not None
        raise error

    def _send(self, connection: RawConnection, kind: str, key: str, started: float) -> None:
        expires = started + self._deadline_seconds - time.monotonic()
        timer = self._loop.call_later(max(0.0, expires), self._late, connection)
        self._running[connection] = (kind, key, started, timer)
        connection.send(self._request(kind, key))

    def _request(self, kind: str, key: str) -> bytes:
        document: dict[str, Any] = {"TableName": self._table_name}
        if kind == "put":
            self._count += 1
            document["Item"] = {"id": {"S": key}, "count": {"N": str(self._count)}}
            operation = "PutItem"
        else:
            document["Key"] = {"id": {"S": key}}
            document["ConsistentRead"] = True
            operation = "GetItem"
        return dynamodb_request(operation, json.dumps(document).encode(), host=self._host)

    def _answered(self, connection: RawConnection, status: int, body: bytes) -> None:
        del body
        kind, key, started, timer = self._running.pop(connection)
        timer.cancel()
        self._note(kind, key, started, OK if status == 200 else FAILED)
        self._free.append(connection)

    def _late(self, connection: RawConnection) -> None:
        kind, key, started, _ = self._running.pop(connection)
        self._note(kind, key, started, LATE)
        connection.abort()

    def _lost(self, connection: RawConnection) -> None:
        self._open -= 1
        running = self._running.pop(connection, None)
        if running is not None:
            kind, key, started, timer = running
            timer.cancel()
            self._note(kind, key, started, FAILED)

    def _note(self, kind: str, key: str, started: float, outcome: str) -> None:
        self.attempts.append(Attempt(kind, key, started, time.monotonic(), outcome))


class ProbeProcess:
    """A probe in a process of its own; it ends with ours, because its stdin does."""

    def __init__(
        self,
        host: str,
        ports: Sequence[int],
        *,
        table_name: str,
        keys: Sequence[str],
        interval_ms: float = INTERVAL_MS_DEFAULT,
        deadline_ms: float = DEADLINE_MS_DEFAULT,
    ) -> None:
        """Start probing."""
        command = [
            *(sys.executable, "-m", "quorate.demo.probe", "--host", host, "--table", table_name),
            *("--ports", *map(str, ports), "--keys", *keys),
            *("--interval-ms", str(interval_ms), "--deadline-ms", str(deadline_ms)),
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def finish(self) -> list[Attempt]:
        """Stop probing and return the attempts in the order in which they ended."""
        output, _ = self._process.communicate(timeout=STOP_SECONDS)
        return [Attempt(*row) for row in json.loads(output)]

    def kill(self) -> None:
        """End it without results; after `finish` this does nothing."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


async def _probe_until_eof(options: argparse.Namespace) -> list[Attempt]:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    probe = Probe(
        options.host,
        options.ports,
        table_name=options.table,
        keys=options.keys,
        interval_ms=options.interval_ms,
        deadline_ms=options.deadline_ms,
    )
    await probe.run(stop)
    return probe.attempts


def main() -> None:
    """Probe until stdin ends, then print the attempts as JSON."""
    parser = argparse.ArgumentParser(description="Probe keys; prints when stdin ends.")
    parser.add_argument("--host", required=True)
    parser.add_argument("--ports", type=int, nargs="+", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--keys", nargs="+", required=True)
    parser.add_argument("--interval-ms", type=float, default=INTERVAL_MS_DEFAULT)
    parser.add_argument("--deadline-ms", type=float, default=DEADLINE_MS_DEFAULT)
    attempts = asyncio.run(_probe_until_eof(parser.parse_args()))
    sys.stdout.write(json.dumps([astuple(attempt) for attempt in attempts]))


if __name__ == "__main__":
    main()
