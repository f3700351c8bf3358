"""The asyncio client: DynamoDB's operations with Python values, over one gRPC stream."""

from __future__ import annotations

from quorate.client.batches import BatchOperations
from quorate.client.items import ItemOperations
from quorate.client.pages import PageOperations
from quorate.client.tables import TableOperations


class Client(ItemOperations, PageOperations, BatchOperations, TableOperations):
    """A connection to a Quorate cluster.

        async with Client("127.0.0.1:8001") as client:
            await client.put_item("music", {"artist": "Nina Simone", "title": "Sinnerman"})
            item = await client.get_item("music", {"artist": "Nina Simone", "title": "Sinnerman"})

    All calls share one stream, so start many at once (`asyncio.gather`, task groups): each then
    costs microseconds. A call is tried again until its deadline when that is safe: every attempt
    carries the same request id, so a write takes effect at most once.

    Names follow DynamoDB's: `condition_expression` is its `ConditionExpression`. Items are plain
    dicts of Python values (see `quorate.values`); with `raw=True` they are DynamoDB's JSON
    encoding, `{"artist": {"S": "Nina Simone"}}`, untouched.

    Every operation takes `deadline_seconds` (default: the client's) and raises a `QuorateError`.
    """
