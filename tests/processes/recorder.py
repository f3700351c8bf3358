"""Random operations on a few registers and counters, written down for `history`'s checker."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.processes.conftest import TABLE
from tests.processes.history import Operation, Status
from tests.processes.raw_client import Answer, RawClient

REGISTERS = 6
COUNTERS = 3
NAMES = [
    *(f"register-{number}" for number in range(REGISTERS)),
    *(f"counter-{number}" for number in range(COUNTERS)),
]
VALUE = {"#v": "value"}


class Recorder:
    """Does random operations of one client and writes down what it saw, attempt by attempt."""

    def __init__(self, raw: RawClient, client: int, run: str, seed: int) -> None:
        self._raw = raw
        self._client = client
        self._run = run
        self._rng = random.Random(seed * 1000 + client)
        self._written = 0
        self.history: list[Operation] = []

    async def work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self._rng.random() < 0.3:
                await self._count(f"counter-{self._rng.randrange(COUNTERS)}")
            else:
                await self._register(f"register-{self._rng.randrange(REGISTERS)}")
            await asyncio.sleep(self._rng.uniform(0.005, 0.04))

    async def read_once(self, name: str) -> None:
        """Read until there is an answer: what came of everything shows in it."""
        for _ in range(50):
            if (await self._get(name)).ok:
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"{name} cannot be read after healing")

    def _new_value(self) -> int:
        self._written += 1
        return self._written * 1000 + self._client  # nobody else writes it

    async def _count(self, name: str) -> None:
        if self._rng.random() < 0.3:
            await self._get(name)
            return
        answer = await self._call(
            "UpdateItem",
            name,
            UpdateExpression="ADD #v :one",
            ExpressionAttributeNames=VALUE,
            ExpressionAttributeValues={":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        result = int(answer.document["Attributes"]["value"]["N"]) if answer.ok else None
        self._note(name, "add", (1,), result, answer)

    async def _register(self, name: str) -> None:
        chance = self._rng.random()
        if chance < 0.4:
            await self._get(name)
        elif chance < 0.65:
            value = self._new_value()
            self._note(name, "put", (value,), None, await self._put(name, value))
        elif chance < 0.75:
            self._note(name, "delete", (), None, await self._call("DeleteItem", name))
        else:
            await self._swap(name)

    async def _swap(self, name: str) -> None:
        """Replace what was just read, if it is still there."""
        read = await self._get(name)
        if not read.ok:
            return
        expected, new = _value(read), self._new_value()
        condition = "attribute_not_exists(#v)"
        values: dict[str, object] | None = None
        if expected is not None:
            condition, values = "#v = :expected", {":expected": {"N": str(expected)}}
        answer = await self._put(name, new, condition, values)
        if answer.code == "ConditionalCheckFailedException":
            self._note(name, "miss", (expected, new), None, answer, status="ok")
        else:
            self._note(name, "swap", (expected, new), None, answer)

    async def _get(self, name: str) -> Answer:
        answer = await self._call("GetItem", name, ConsistentRead=True)
        self._note(name, "get", (), _value(answer), answer)
        return answer

    async def _put(
        self,
        name: str,
        value: int,
        condition: str = "",
        values: dict[str, object] | None = None,
    ) -> Answer:
        document: dict[str, object] = {
            "TableName": TABLE,
            "Item": {**self._key(name), "value": {"N": str(value)}},
        }
        if condition:
            document |= {"ConditionExpression": condition, "ExpressionAttributeNames": VALUE}
        if values:
            document["ExpressionAttributeValues"] = values
        return await self._raw.call("PutItem", document)

    async def _call(self, operation: str, name: str, **parameters: object) -> Answer:
        return await self._raw.call(
            operation, {"TableName": TABLE, "Key": self._key(name), **parameters}
        )

    def _key(self, name: str) -> dict[str, object]:
        return {"group": {"S": f"{self._run}-{name}"}, "id": {"S": "x"}}

    def _note(
        self,
        name: str,
        kind: str,
        arguments: tuple[int | None, ...],
        result: int | None,
        answer: Answer,
        status: Status | None = None,
    ) -> None:
        if status is None:
            rejected = answer.surely_not_done or kind == "get"
            status = "ok" if answer.ok else "rejected" if rejected else "unknown"
        self.history.append(
            Operation(
                self._client, name, kind, arguments, result, answer.called, answer.returned, status
            )
        )


def _value(answer: Answer) -> int | None:
    item = answer.document.get("Item")
    return None if item is None else int(item["value"]["N"])
