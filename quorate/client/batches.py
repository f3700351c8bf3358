"""The batch operations, and the forms of them that do not stop halfway."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson

from quorate.client.answers import BatchGot, BatchWritten, Delete, Item, Put
from quorate.client.caller import Caller
from quorate.client.calls import BODY_BYTES_MAX
from quorate.client.errors import DeadlineExceeded
from quorate.client.requests import by_table, check_iterable, check_text
from quorate.client.retry import backoff_seconds
from quorate.values import ValueRefused, shown

BATCH_WRITES_MAX: Final = 25
"""Most writes in one batch. Source: DynamoDB API Reference, BatchWriteItem."""

BATCH_BYTES_MAX: Final = BODY_BYTES_MAX - (4 << 10)
"""Most bytes of writes in one batch, as JSON: the table's name needs some, too. Ours."""

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

        `batch_write` does any number, of any size, and all of them.
        """
        body: dict[str, Any] = {"RequestItems": by_table(writes, "writes", self._write_requests)}
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
        allowed = self.allowed_seconds(deadline_seconds)
        table_name = check_text(table_name, "table_name")
        writes = [{"PutRequest": {"Item": item}} for item in self.encode_all(puts, "puts")]
        writes += [{"DeleteRequest": {"Key": key}} for key in self.encode_all(deletes, "deletes")]
        await _all_of(self._write_all(table_name, batch, allowed) for batch in _batches(writes))
        return len(writes)

    async def _write_all(
        self, table_name: str, writes: Sequence[dict[str, Any]], allowed: float
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + allowed
        failures = 0
        while writes:
            left = deadline - loop.time()
            if left <= 0:
                raise DeadlineExceeded(
                    f"{len(writes)} writes of a batch were not got to within {allowed:g} s"
                )
            body = {"RequestItems": {table_name: writes}}
            document = orjson.loads(await self.call("BatchWriteItem", body, left))
            remaining = document.get("UnprocessedItems", {}).get(table_name, [])
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
        wanted = by_table(keys, "keys", self.encode_all)
        body = _get_body(wanted, consistent_read=consistent_read)
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
        allowed = self.allowed_seconds(deadline_seconds)
        table_name = check_text(table_name, "table_name")
        wanted = self.encode_all(keys, "keys")
        found = await _all_of(
            self._get_all(
                table_name,
                wanted[low : low + BATCH_KEYS_MAX],
                allowed,
                consistent_read=consistent_read,
            )
            for low in range(0, len(wanted), BATCH_KEYS_MAX)
        )
        return [item for items in found for item in items]

    async def _get_all(
        self,
        table_name: str,
        keys: Sequence[dict[str, Any]],
        allowed: float,
        *,
        consistent_read: bool,
    ) -> list[Item]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + allowed
        items: list[Item] = []
        failures = 0
        while keys:
            left = deadline - loop.time()
            if left <= 0:
                raise DeadlineExceeded(
                    f"{len(keys)} keys of a batch were not got to within {allowed:g} s"
                )
            body = _get_body({table_name: keys}, consistent_read=consistent_read)
            document = orjson.loads(await self.call("BatchGetItem", body, left))
            found = document.get("Responses", {}).get(table_name, [])
            items += [self.decode(item) for item in found]
            keys = document.get("UnprocessedKeys", {}).get(table_name, {}).get("Keys", [])
            failures = 1 if found else failures + 1
            if keys and not found:
                await asyncio.sleep(backoff_seconds(failures, self.rng))
        return items

    def _write_requests(self, writes: Iterable[Put | Delete], place: str) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = []
        for write in check_iterable(writes, place):
            where = f"{place}[{len(requests)}]"
            if isinstance(write, Put):
                item = self.encode(write.item, f"{where}.item")
                requests.append({"PutRequest": {"Item": item}})
            elif isinstance(write, Delete):
                key = self.encode(write.key, f"{where}.key")
                requests.append({"DeleteRequest": {"Key": key}})
            else:
                raise ValueRefused(f"a Put or a Delete is wanted, not {shown(write)}", where)
        return requests

    def _write_of(self, request: Mapping[str, Any]) -> Put | Delete:
        if "PutRequest" in request:
            return Put(self.decode(request["PutRequest"]["Item"]))
        return Delete(self.decode(request["DeleteRequest"]["Key"]))


def _get_body(keys: Mapping[str, Any], *, consistent_read: bool) -> dict[str, Any]:
    consistent = {"ConsistentRead": True} if consistent_read else {}
    return {
        "RequestItems": {name: {"Keys": of_table, **consistent} for name, of_table in keys.items()}
    }


async def _all_of(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of all; the first failure cancels the others and is raised alone."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _batches(writes: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    """Yield the writes in batches of as many, and as many bytes, as one call may have."""
    batch: list[dict[str, Any]] = []
    batch_bytes = 0
    for write in writes:
        size_bytes = len(orjson.dumps(write)) + 1
        if batch and (len(batch) == BATCH_WRITES_MAX or batch_bytes + size_bytes > BATCH_BYTES_MAX):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(write)
        batch_bytes += size_bytes
    if batch:
        yield batch
