"""Loads many records through batches at the same time: the work of `quorate load`.

Every record is accounted for: loaded, or failed with its line number and a reason. Putting an item
twice changes nothing, so a load that was cut short is resumed by running it again.

When a key occurs more than once in a file, its last line wins: a record waits until an earlier
one of its key has been written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

import orjson

from quorate.cli.documents import DocumentRefused, Encoding, parse_item
from quorate.client import Client, Put, QuorateError, RequestRefused, Unreachable
from quorate.client.batches import BATCH_WRITES_MAX
from quorate.client.retry import backoff_seconds

READ_BYTES: Final = 1 << 20
"""About how much of the file is read in one go. Ours."""

FAILURES_KEPT_MAX: Final = 1000
"""Most failures whose reasons are kept; all are counted. Ours."""

STOP_AFTER_LOST_BATCHES: Final = 16
"""So many batches in a row without an answer end the load: the cluster is gone. Ours."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line's item, in DynamoDB's JSON encoding, with its key's canonical bytes."""

    line: int
    item: dict[str, Any]
    key: bytes


@dataclass(slots=True)
class Tally:
    """What became of the lines. Invariant: loaded + failed <= read."""

    read: int = 0  # records, not counting empty lines
    read_bytes: int = 0
    loaded: int = 0
    failed: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)  # (line, reason), the first ones

    def fail(self, line: int, reason: str) -> None:
        """Count a record that is not in the table."""
        self.failed += 1
        if len(self.failures) < FAILURES_KEPT_MAX:
            self.failures.append((line, reason))


class Loader:
    """Puts the records of one file into one table. `tally` may be read at any time."""

    def __init__(
        self,
        client: Client,
        table_name: str,
        key_names: Sequence[str],
        tally: Tally,
        *,
        batches_max: int,
        encoding: Encoding,
    ) -> None:
        """Take a raw client, the table and its key attributes' names, and the batches in flight."""
        self.tally = tally
        self._client = client
        self._table_name = table_name
        self._key_names = tuple(key_names)
        self._encoding = encoding
        self._slots = asyncio.Semaphore(batches_max)
        self._batch: list[Record] = []
        self._keys: set[bytes] = set()  # of the batch being filled and of those in flight
        self._in_flight: set[asyncio.Task[None]] = set()
        self._lost_batches = 0

    async def load(self, file: IO[bytes], progress: Callable[[], None]) -> None:
        """Load all lines; `progress` is called now and then. Raises Unreachable."""
        line = 0
        try:
            while lines := await asyncio.to_thread(file.readlines, READ_BYTES):
                for text in lines:
                    line += 1
                    self.tally.read_bytes += len(text)
                    if text.strip():
                        await self._take(line, text)
                progress()
            await self._flush()
            await self._drain()
        finally:
            for task in self._in_flight:
                task.cancel()
        progress()

    async def _take(self, line: int, text: bytes) -> None:
        self.tally.read += 1
        try:
            record = self._record(line, text)
        except DocumentRefused as error:
            self.tally.fail(line, str(error))
            return
        if record.key in self._keys:
            await self._flush()
            await self._drain()
        self._keys.add(record.key)
        self._batch.append(record)
        if len(self._batch) == BATCH_WRITES_MAX:
            await self._flush()

    def _record(self, line: int, text: bytes) -> Record:
        item = parse_item(text, self._encoding)
        missing = [name for name in self._key_names if name not in item]
        if missing:
            raise DocumentRefused(f"the key attribute {missing[0]} is missing")
        key = orjson.dumps([item[name] for name in self._key_names])
        return Record(line, item, key)

    async def _flush(self) -> None:
        """Send the batch being filled, once there is a free slot."""
        if not self._batch:
            return
        await self._slots.acquire()
        if self._lost_batches >= STOP_AFTER_LOST_BATCHES:
            raise Unreachable("the cluster does not answer any more")
        batch, self._batch = self._batch, []
        task = asyncio.get_running_loop().create_task(self._send(batch))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _drain(self) -> None:
        while self._in_flight:
            done, _ = await asyncio.wait(self._in_flight)
            for task in done:
                task.result()  # our own bugs are not failures of records

    async def _send(self, batch: Sequence[Record]) -> None:
        try:
            await self._write(batch)
        finally:
            self._keys.difference_update(record.key for record in batch)
            self._slots.release()

    async def _write(self, batch: Sequence[Record]) -> None:
        """Write a batch until everything in it is done or the client gives up on it."""
        left = {record.key: record for record in batch}
        failures = 0
        try:
            while left:
                written = await self._client.batch_write_item(
                    {self._table_name: [Put(record.item) for record in left.values()]}
                )
                self._lost_batches = 0
                unprocessed = {
                    orjson.dumps([write.item[name] for name in self._key_names])
                    for write in written.unprocessed.get(self._table_name, ())
                    if isinstance(write, Put)
                }
                self.tally.loaded += len(left) - len(unprocessed)
                failures = failures + 1 if len(unprocessed) == len(left) else 1
                left = {key: record for key, record in left.items() if key in unprocessed}
                if left:
                    await asyncio.sleep(backoff_seconds(failures, self._client.rng))
        except RequestRefused:
            # One bad item spoils its batch: put each alone to find out which.
            for record in left.values():
                await self._put(record)
        except QuorateError as error:
            self._lost_batches += 1
            for record in left.values():
                self.tally.fail(record.line, f"{error.code}: {error}")

    async def _put(self, record: Record) -> None:
        try:
            await self._client.put_item(self._table_name, record.item)
            self.tally.loaded += 1
        except QuorateError as error:
            self.tally.fail(record.line, f"{error.code}: {error}")
