"""Loads the demo's records and keeps exact account of what was acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from quorate.client import Client, OutcomeUnknown, Put, QuorateError, RequestRefused
from quorate.client.batches import BATCH_WRITES_MAX
from quorate.demo.records import Record, key_of

BATCHES_IN_FLIGHT: Final = 16
"""Enough to keep a small machine busy, few enough for answers to stay quick. Ours."""

BATCH_DEADLINE_SECONDS: Final = 20.0
"""A batch's time, tried again meanwhile. Ours: far longer than any failover."""

Key = tuple[str, str]


@dataclass(slots=True)
class Account:
    """What became of the records. Invariant: nothing is in `acknowledged` without an answer."""

    acknowledged: dict[Key, Record] = field(default_factory=dict)
    retried_batches: int = 0  # those whose outcome was unknown, or that were not got to
    failed: list[str] = field(default_factory=list)  # why, for those given up
    times: list[tuple[float, int]] = field(default_factory=list)  # (monotonic, acknowledged then)


class Loading:
    """Puts records into a table, many batches at a time, until each is acknowledged."""

    def __init__(
        self,
        client: Client,
        table_name: str,
        records: Sequence[Record],
        show: Callable[[int], None],
    ) -> None:
        """Take a raw client; `show` is told how many are acknowledged."""
        self.account = Account()
        self._client = client
        self._table_name = table_name
        self._waiting = deque(
            [*records[low : low + BATCH_WRITES_MAX]]
            for low in range(0, len(records), BATCH_WRITES_MAX)
        )
        self._show = show
        self._marks: list[tuple[int, asyncio.Event]] = []
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Load everything; a batch that the cluster refuses ends it."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(BATCHES_IN_FLIGHT):
                    workers.create_task(self._work())
        finally:
            self._ended.set()
            for _, event in self._marks:
                event.set()

    async def reached(self, count: int) -> None:
        """Return when so many are acknowledged, or when loading has ended."""
        event = asyncio.Event()
        if self._ended.is_set() or len(self.account.acknowledged) >= count:
            return
        self._marks.append((count, event))
        await event.wait()

    async def _work(self) -> None:
        while self._waiting:
            batch = self._waiting.popleft()
            left = await self._put(batch)
            if left:
                self._waiting.append(left)

    async def _put(self, batch: list[Record]) -> list[Record]:
        """Put one batch; return what is to be tried again."""
        account = self.account
        try:
            written = await self._client.batch_write_item(
                {self._table_name: [Put(record) for record in batch]},
                deadline_seconds=BATCH_DEADLINE_SECONDS,
            )
        except RequestRefused:
            raise
        except OutcomeUnknown:
            account.retried_batches += 1  # putting an item twice changes nothing
            return batch
        except QuorateError as error:
            account.failed.append(f"{len(batch)} records: {error}")
            return []
        unprocessed = {
            key_of(write.item)
            for write in written.unprocessed.get(self._table_name, ())
            if isinstance(write, Put)
        }
        for record in batch:
            key = key_of(record)
            if key not in unprocessed:
                account.acknowledged[key] = record
        self._note()
        if not unprocessed:
            return []
        account.retried_batches += 1
        return [record for record in batch if key_of(record) in unprocessed]

    def _note(self) -> None:
        count = len(self.account.acknowledged)
        self.account.times.append((time.monotonic(), count))
        self._show(count)
        for mark in [mark for mark in self._marks if mark[0] <= count]:
            self._marks.remove(mark)
            mark[1].set()
