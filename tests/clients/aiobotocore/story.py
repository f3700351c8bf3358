"""aiobotocore: many calls at a time on aiohttp's connections, batches, pages, a proxy, codings."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

TABLE = "aiobotocore-events"
ENDPOINT = os.environ["AWS_ENDPOINT_URL_DYNAMODB"]
CALLS = 500


@asynccontextmanager
async def client_of(endpoint: str = ENDPOINT, **config: Any) -> AsyncIterator[Any]:
    """Return a client with as many connections as calls at a time."""
    settings = AioConfig(max_pool_connections=100, **config)
    async with get_session().create_client(
        "dynamodb", endpoint_url=endpoint, config=settings
    ) as client:
        yield client


def key(number: int) -> dict[str, dict[str, str]]:
    return {"source": {"S": "aio"}, "number": {"N": str(number)}}


async def creates_a_table_and_waits_until_it_exists(client: Any) -> None:
    await client.create_table(
        TableName=TABLE,
        KeySchema=[
            {"AttributeName": "source", "KeyType": "HASH"},
            {"AttributeName": "number", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "source", "AttributeType": "S"},
            {"AttributeName": "number", "AttributeType": "N"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    await client.get_waiter("table_exists").wait(TableName=TABLE)


async def puts_500_items_at_a_time_and_gets_them(client: Any) -> None:
    items = [{**key(number), "text": {"S": f"é{number}"}} for number in range(CALLS)]
    await asyncio.gather(*(client.put_item(TableName=TABLE, Item=item) for item in items))
    got = await asyncio.gather(
        *(
            client.get_item(TableName=TABLE, Key=key(number), ConsistentRead=True)
            for number in range(CALLS)
        )
    )
    assert [answer["Item"] for answer in got] == items


async def is_refused_when_a_condition_fails(client: Any) -> None:
    code = ""
    try:
        await client.put_item(
            TableName=TABLE,
            Item=key(1),
            ConditionExpression="attribute_not_exists(#s)",
            ExpressionAttributeNames={"#s": "source"},
        )
    except ClientError as refused:
        code = refused.response["Error"]["Code"]
    assert code == "ConditionalCheckFailedException"


async def queries_in_pages(client: Any) -> None:
    pages = client.get_paginator("query").paginate(
        TableName=TABLE,
        KeyConditionExpression="#s = :s AND #n >= :n",
        ExpressionAttributeNames={"#s": "source", "#n": "number"},
        ExpressionAttributeValues={":s": {"S": "aio"}, ":n": {"N": "100"}},
        ConsistentRead=True,
        PaginationConfig={"PageSize": 70},
    )
    numbers = [int(item["number"]["N"]) async for page in pages for item in page["Items"]]
    assert numbers == list(range(100, CALLS))


async def writes_and_gets_batches(client: Any) -> None:
    puts = [{"PutRequest": {"Item": key(number)}} for number in range(1_000, 1_025)]
    written = await client.batch_write_item(RequestItems={TABLE: puts})
    assert not written["UnprocessedItems"]
    keys = [key(number) for number in range(990, 1_030)]
    got = await client.batch_get_item(RequestItems={TABLE: {"Keys": keys, "ConsistentRead": True}})
    assert len(got["Responses"][TABLE]) == 25


async def takes_the_router_for_its_proxy(_: Any) -> None:
    async with client_of("http://quorate.example:8000", proxies={"http": ENDPOINT}) as client:
        await client.put_item(TableName=TABLE, Item=key(2_000))
        got = await client.get_item(TableName=TABLE, Key=key(2_000), ConsistentRead=True)
    assert got["Item"] == key(2_000)


async def compresses_its_requests(client: Any) -> None:
    def compress(request: Any, **_: Any) -> None:
        request.data = zlib.compress(request.body)
        request.headers["Content-Encoding"] = "deflate"

    async with client_of() as compressing:
        compressing.meta.events.register("before-sign.dynamodb.PutItem", compress)
        await compressing.put_item(TableName=TABLE, Item={**key(3_000), "x": {"S": "x" * 99_999}})
    got = await client.get_item(TableName=TABLE, Key=key(3_000), ConsistentRead=True)
    assert len(got["Item"]["x"]["S"]) == 99_999


async def deletes_the_table(client: Any) -> None:
    await client.delete_table(TableName=TABLE)
    await client.get_waiter("table_not_exists").wait(TableName=TABLE)


STORY: tuple[Callable[[Any], Awaitable[None]], ...] = (
    creates_a_table_and_waits_until_it_exists,
    puts_500_items_at_a_time_and_gets_them,
    is_refused_when_a_condition_fails,
    queries_in_pages,
    writes_and_gets_batches,
    takes_the_router_for_its_proxy,
    compresses_its_requests,
    deletes_the_table,
)


async def tell() -> None:
    """Tell the story; the first step that fails ends it."""
    async with client_of() as client:
        for step in STORY:
            sentence = getattr(step, "__name__", "").replace("_", " ")
            try:
                await step(client)
            except BaseException:
                print(f"FAILED: {sentence}")
                raise
            print(f"  {sentence}")


asyncio.run(tell())
