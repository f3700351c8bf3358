"""A process that answers as a router would, from a dict: what the commands are tested against.

It prints the port of its gRPC face and serves until it is killed. Items with an attribute `poison`
are refused, and every seventh item of a batch is left unprocessed once.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tests.client.fake_router import Answer, FakeRouter, Received, failure, serving

Store = dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]]


class DictTables:
    """Tables by name: (description, items by key)."""

    def __init__(self) -> None:
        """Start with no tables."""
        self.tables: Store = {}
        self.postponed: set[str] = set()

    def answer(self, received: Received) -> Answer:
        """Do one operation."""
        body = received.body
        name = body.get("TableName", "")
        match received.operation:
            case "ListTables":
                return 200, {"TableNames": sorted(self.tables)}
            case "CreateTable":
                if name in self.tables:
                    return failure(400, "ResourceInUseException", f"Table already exists: {name}")
                description = {**body, "TableStatus": "ACTIVE"}
                self.tables[name] = (description, {})
                return 200, {"TableDescription": description}
            case "BatchWriteItem":
                return self.batch(body)
            case _:
                return self.answer_about_table(received.operation, name, body)

    def answer_about_table(self, operation: str, name: str, body: dict[str, Any]) -> Answer:
        """Do one operation on a table that must exist."""
        if name not in self.tables:
            return failure(400, "ResourceNotFoundException", "Requested resource not found")
        description, items = self.tables[name]
        match operation:
            case "DescribeTable":
                return 200, {"Table": description}
            case "UpdateTable":
                description.update(body)
                return 200, {"TableDescription": description}
            case "DeleteTable":
                del self.tables[name]
                return 200, {"TableDescription": description}
            case "PutItem":
                return self.put(name, body)
            case "GetItem":
                item = items.get(self.key(name, body["Key"]))
                return 200, {} if item is None else {"Item": item}
            case "DeleteItem":
                items.pop(self.key(name, body["Key"]), None)
                return 200, {}
            case _:
                raise AssertionError(operation)

    def key(self, name: str, item: dict[str, Any]) -> str:
        """Return the canonical key of an item."""
        schema = self.tables[name][0]["KeySchema"]
        return json.dumps([item[element["AttributeName"]] for element in schema])

    def put(self, name: str, body: dict[str, Any]) -> Answer:
        """Put one item, unless it is poisoned or a condition forbids replacing one."""
        item, items = body["Item"], self.tables[name][1]
        if "poison" in item:
            return failure(400, "ValidationException", "poisoned")
        if "ConditionExpression" in body and self.key(name, item) in items:
            return failure(400, "ConditionalCheckFailedException", "The conditional request failed")
        items[self.key(name, item)] = item
        return 200, {}

    def batch(self, body: dict[str, Any]) -> Answer:
        """Put many, postponing some."""
        ((name, requests),) = body["RequestItems"].items()
        if any("poison" in request["PutRequest"]["Item"] for request in requests):
            return failure(400, "ValidationException", "poisoned")
        left = []
        for position, request in enumerate(requests):
            key = self.key(name, request["PutRequest"]["Item"])
            if position % 7 == 6 and key not in self.postponed:
                self.postponed.add(key)
                left.append(request)
            else:
                self.put(name, {"Item": request["PutRequest"]["Item"]})
        return 200, {"UnprocessedItems": {name: left} if left else {}}


async def main() -> None:
    """Serve until killed."""
    async with serving(FakeRouter(DictTables().answer)) as address:
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
