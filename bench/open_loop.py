"""An open loop of PutItem: so many requests a second, whether or not earlier ones were answered.

Requests go to several routers in turn, over plain connections. What is due while all connections
are busy is counted as `late`: then the machine, not the table, is the limit.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.load import Items, percentiles, put_request
from quorate.demo.raw_http import RawConnection

THROTTLED = (b"ProvisionedThroughputExceeded", b"ThrottlingException")
STEP_SECONDS = 0.005


@dataclass(slots=True)
class Second:
    """What happened in one second of the load."""

    done: int = 0
    throttled: int = 0
    failed: int = 0
    late: int = 0


@dataclass(slots=True)
class Seen:
    """What happened in all; latencies in seconds."""

    seconds: list[Second] = field(default_factory=list)
    done_latencies: list[float] = field(default_factory=list)
    throttled_latencies: list[float] = field(default_factory=list)
    first_failure: str = ""

    def done_per_second(self, low: int = 0, high: int | None = None) -> float:
        """Return the mean of the successes of seconds [low, high)."""
        chosen = self.seconds[low:high]
        return sum(second.done for second in chosen) / max(1, len(chosen))

    def describe(self) -> dict[str, Any]:
        """Return the figures, as JSON has them."""
        return {
            "done": sum(second.done for second in self.seconds),
            "throttled": sum(second.throttled for second in self.seconds),
            "failed": sum(second.failed for second in self.seconds),
            "late": sum(second.late for second in self.seconds),
            "done_latency": percentiles(self.done_latencies),
            "throttled_latency": percentiles(self.throttled_latencies),
            "first_failure": self.first_failure,
            "done_by_second": [second.done for second in self.seconds],
        }


class OpenLoop:
    """One load on one table. `rate` may be changed while it runs."""

    def __init__(
        self,
        ports: Sequence[int],
        table: str,
        rate: float,
        *,
        connections: int = 64,
        keys: int = 10_000,
        seed: int = 1,
    ) -> None:
        """Send to routers on these ports of this machine, `connections` to each."""
        self.rate = rate
        self.seen = Seen()
        self._ports = tuple(ports)
        self._table = table
        self._connections = connections
        self._items = Items(keys, seed)
        self._free: dict[int, list[RawConnection]] = {port: [] for port in self._ports}
        self._port_of: dict[RawConnection, int] = {}
        self._sent_at: dict[RawConnection, float] = {}
        self._started = 0.0
        self._running = True

    async def run(self, seconds: float) -> Seen:
        """Send for so many seconds and return what came of it."""
        loop = asyncio.get_running_loop()
        for port in self._ports:
            for _ in range(self._connections):
                _, connection = await loop.create_connection(
                    lambda: RawConnection(self._answered, self._lost), "127.0.0.1", port
                )
                self._port_of[connection] = port
                self._free[port].append(connection)
        turns = itertools.cycle(self._ports)
        self._started = last = time.perf_counter()
        owed = 0.0
        while (now := time.perf_counter()) < self._started + seconds:
            owed += (now - last) * self.rate
            last = now
            while owed >= 1:
                owed -= 1
                self._send(next(turns))
            await asyncio.sleep(STEP_SECONDS)
        self._running = False
        for connection in self._port_of:
            connection.abort()
        del self.seen.seconds[int(seconds) :]
        return self.seen

    def _second(self) -> Second:
        number = int(time.perf_counter() - self._started)
        while len(self.seen.seconds) <= number:
            self.seen.seconds.append(Second())
        return self.seen.seconds[number]

    def _send(self, port: int) -> None:
        free = self._free[port]
        if not free:
            self._second().late += 1
            return
        connection = free.pop()
        self._sent_at[connection] = time.perf_counter()
        connection.send(put_request(self._table, self._items.next_item(), "127.0.0.1"))

    def _answered(self, connection: RawConnection, status: int, body: bytes) -> None:
        latency = time.perf_counter() - self._sent_at[connection]
        self._free[self._port_of[connection]].append(connection)
        second = self._second()
        if status == 200:
            second.done += 1
            self.seen.done_latencies.append(latency)
        elif any(name in body for name in THROTTLED):
            second.throttled += 1
            self.seen.throttled_latencies.append(latency)
        else:
            second.failed += 1
            self.seen.first_failure = self.seen.first_failure or body.decode(errors="replace")

    def _lost(self, connection: RawConnection) -> None:
        """Take note of a router's end: its share of the load goes unsent."""
        if self._running:
            self._second().failed += connection.busy
            free = self._free[self._port_of[connection]]
            if connection in free:
                free.remove(connection)
