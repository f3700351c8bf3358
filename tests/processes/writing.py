"""Writes that go on while something is broken, and the account of what was acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from quorate import Client
from tests.processes.raw_client import Answer, RawClient


@dataclass(slots=True)
class Account:
    """What became of the writes; every key is written once, with a value of its own."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)  # surely not done
    unknown: set[str] = field(default_factory=set)
    failures: list[Answer] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # that acknowledged writes took

    def note(self, key: str, value: str, answer: Answer) -> None:
        if answer.ok:
            self.acknowledged[key] = value
            self.seconds.append(answer.seconds)
            return
        self.failures.append(answer)
        (self.refused if answer.surely_not_done else self.unknown).add(key)


@asynccontextmanager
async def writing(
    client: RawClient,
    table_name: str,
    *,
    prefix: str,
    partition_keys: Sequence[str] = ("",),
    writers: int = 16,
) -> AsyncIterator[Account]:
    """Write unique items without retries until the block is left; the last writes are awaited.

    `partition_keys` are the values of the partition key to take turns with.
    """
    account = Account()
    stop = False

    async def write(writer: int) -> None:
        number = 0
        while not stop:
            number += 1
            partition_key = partition_keys[(writer + number) % len(partition_keys)]
            key, value = f"{prefix}-{writer}-{number}", f"{number * 1000 + writer}"
            answer = await client.call(
                "PutItem", put_request(table_name, partition_key, key, value)
            )
            account.note(f"{partition_key}|{key}", value, answer)
            if not answer.ok:
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as tasks:
        for writer in range(writers):
            tasks.create_task(write(writer))
        try:
            yield account
        finally:
            stop = True


def put_request(table_name: str, partition_key: str, key: str, value: str) -> dict[str, object]:
    item = {"group": {"S": partition_key}, "id": {"S": key}, "value": {"N": value}}
    return {"TableName": table_name, "Item": item}


async def lost(client: Client, table_name: str, account: Account) -> list[str]:
    """Return the acknowledged keys that a consistent read does not find as acknowledged."""
    keys = [key.split("|", 1) for key in account.acknowledged]
    items = await client.batch_get(
        table_name,
        [{"group": group, "id": name} for group, name in keys],
        consistent_read=True,
        deadline_seconds=20.0,
    )
    found = {f"{item['group']}|{item['id']}": str(item["value"]) for item in items}
    return [key for key, value in account.acknowledged.items() if found.get(key) != value]


async def done_though_refused(client: Client, table_name: str, account: Account) -> list[str]:
    """Return keys that are there although the answer said that the write was not done."""
    keys = [key.split("|", 1) for key in account.refused]
    items = await client.batch_get(
        table_name, [{"group": group, "id": name} for group, name in keys], consistent_read=True
    )
    return [f"{item['group']}|{item['id']}" for item in items]
