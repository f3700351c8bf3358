"""The batch operations, and the forms of them that do not stop halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson

from quorate.client.answers import BatchGot, BatchWritten, Delete, Item, Put
from quorate.client.caller import Caller
from quorate.client.errors import DeadlineExceeded
from quorate.client.retry import backoff_seconds

BATCH_WRITES_MAX: Final = 25
"""Most writes in one batch. Source: DynamoDB API Reference, BatchWriteItem."""

BATCH_KEYS_MAX: Final = 100
"""Most keys in one batch. Source: DynamoDB API Reference, BatchGetItem."""


T = TypeVar("T")


class BatchOperations(Caller):
    """Write and get many items at once, each on its own: a batch is not a transaction."""

    async def batch_write_item(
        self,
        writes: Mapping[str, Sequence[Put | Delete]],
        *,
        return_consumed_capacity: str | None = None,
        deadline_seconds: float | None = None,
    ) -> BatchWritten:
        """Do up to 25 writes, given by table; return those that were not got to.

        `batch_write` does any number, and all of them.
        """
        body: dict[str, Any] = {
            "RequestItems": {
                table_name: [self._write_request(write) for write in of_table]
                for table_name, of_table in writes.items()
            }
        }
        if return_consumed_capacity is not None:
            body["ReturnConsumedCapacity"] = return_consumed_capacity
        document = orjson.loads(await self.call("BatchWriteItem", body, deadline_seconds))
        return BatchWritten(
            unprocessed={
                table_name: [self._write_of(request) for request in requests]
                for table_name, requests in document.get("UnprocessedItems", {}).items()
            },
            consumed_capacity=document.get("ConsumedCapacity"),
        )

    async def batch_write(
        self,
        table_name: str,
        *,
        puts: Iterable[Item] = (),
        deletes: Iterable[Item] = (),
        deadline_seconds: float | None = None,
    ) -> int:
        """Put items and delete keys, however many, in batches at the same time; return how many.

        What a batch did not get to is sent again until the deadline, of each batch, passes; then
        this raises, and some of the writes may be done. No key may occur twice.
        """
        writes: list[Put | Delete] = [*map(Put, puts), *map(Delete, deletes)]
        await _all_of(
            self._write_all(table_name, writes[low : low + BATCH_WRITES_MAX], deadline_seconds)
            for low in range(0, len(writes), BATCH_WRITES_MAX)
        )
        return len(writes)

    async def _write_all(
        self, table_name: str, writes: Sequence[Put | Delete], deadline_seconds: float | None
    ) -> None:
        loop = asyncio.get_running_loop()
        allowed = self.deadline_seconds if deadline_seconds is None else deadline_seconds
        deadline = loop.time() + allowed
        failures = 0
        while writes:
            left = deadline - loop.time()
            if left <= 0:
                raise DeadlineExceeded(
                    f"{len(writes)} writes of a batch were not got to within {allowed:g} s"
                )
            written = await self.batch_write_item({table_name: writes}, deadline_seconds=left)
            remaining = written.unprocessed.get(table_name, [])
            failures = failures + 1 if len(remaining) == len(writes) else 1
            writes = remaining
            if writes:
                await asyncio.sleep(backoff_seconds(failures, self.rng))

    async def batch_get_item(
        self,
        keys: Mapping[str, Sequence[Mapping[str, object]]],
        *,
        consistent_read: bool = False,
        return_consumed_capacity: str | None = None,
        deadline_seconds: float | None = None,
    ) -> BatchGot:
        """Get up to 100 items, their keys given by table; items that do not exist are left out.

        `batch_get` does any number, and all of them.
        """
        body: dict[str, Any] = {
            "RequestItems": {
                table_name: {
                    "Keys": [self.encode(key) for key in of_table],
                    **({"ConsistentRead": True} if consistent_read else {}),
                }
                for table_name, of_table in keys.items()
            }
        }
        if return_consumed_capacity is not None:
            body["ReturnConsumedCapacity"] = return_consumed_capacity
        document = orjson.loads(await self.call("BatchGetItem", body, deadline_seconds))
        return BatchGot(
            items={
                table_name: [self.decode(item) for item in items]
                for table_name, items in document.get("Responses", {}).items()
            },
            unprocessed={
                table_name: [self.decode(key) for key in of_table["Keys"]]
                for table_name, of_table in document.get("UnprocessedKeys", {}).items()
            },
            consumed_capacity=document.get("ConsumedCapacity"),
        )

    async def batch_get(
        self,
        table_name: str,
        keys: Iterable[Mapping[str, object]],
        *,
        consistent_read: bool = False,
        deadline_seconds: float | None = None,
    ) -> list[Item]:
        """Return the items of these keys, however many, in no order; no key may occur twice."""
        wanted = list(keys)
        found = await _all_of(
            self._get_all(
                table_name,
                wanted[low : low + BATCH_KEYS_MAX],
                consistent_read=consistent_read,
                deadline_seconds=deadline_seconds,
            )
            for low in range(0, len(wanted), BATCH_KEYS_MAX)
        )
        return [item for items in found for item in items]

    async def _get_all(
        self,
        table_name: str,
        keys: Sequence[Mapping[str, object]],
        *,
        consistent_read: bool,
        deadline_seconds: float | None,
    ) -> list[Item]:
        loop = asyncio.get_running_loop()
        allowed = self.deadline_seconds if deadline_seconds is None else deadline_seconds
        deadline = loop.time() + allowed
        items: list[Item] = []
        failures = 0
        while keys:
            left = deadline - loop.time()
            if left <= 0:
                raise DeadlineExceeded(
                    f"{len(keys)} keys of a batch were not got to within {allowed:g} s"
                )
            got = await self.batch_get_item(
                {table_name: keys}, consistent_read=consistent_read, deadline_seconds=left
            )
            found = got.items.get(table_name, [])
            items += found
            keys = got.unprocessed.get(table_name, [])
            failures = 1 if found else failures + 1
            if keys and not found:
                await asyncio.sleep(backoff_seconds(failures, self.rng))
        return items

    def _write_request(self, write: Put | Delete) -> dict[str, Any]:
        if isinstance(write, Put):
            return {"PutRequest": {"Item": self.encode(write.item)}}
        return {"DeleteRequest": {"Key": self.encode(write.key)}}

    def _write_of(self, request: Mapping[str, Any]) -> Put | Delete:
        if "PutRequest" in request:
            return Put(self.decode(request["PutRequest"]["Item"]))
        return Delete(self.decode(request["DeleteRequest"]["Key"]))


async def _all_of(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all; the first failure cancels the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]
