"""Programs that fork: `python -m tests.client.forking STORY ADDRESS` prints what became of it.

They are processes of their own: the one that runs the tests is full of gRPC.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from quorate.client import Client, Forked, QuorateError

# The client comes first: it sets how gRPC is loaded.
import grpc  # isort: skip
from tests.client.fake_router import Answer, FakeRouter, Received, serving


async def serve() -> None:
    stored: dict[str, dict[str, Any]] = {}

    def answer(received: Received) -> Answer:
        if received.operation == "PutItem":
            item = received.body["Item"]
            stored[item["pk"]["S"]] = item
            return 200, {}
        return 200, {"Item": stored[received.body["Key"]["pk"]["S"]]}

    async with serving(FakeRouter(answer)) as address:
        print(address, flush=True)
        await asyncio.Event().wait()


async def use(client: Client, who: str) -> str:
    """Return how a put and a get went."""
    try:
        await client.put_item("t", {"pk": who})
        item = await client.get_item("t", {"pk": who}, consistent_read=True)
        assert item == {"pk": who}
    except Forked as error:
        return f"{who}: {error}"
    return f"{who} works"


async def use_new(address: str, who: str) -> str:
    try:
        async with Client(address) as client:
            return await use(client, who)
    except QuorateError as error:
        return f"{who}: {error}"


def fork(child: Callable[[], None]) -> None:
    """Run `child` in a forked process and wait for its end, which is to be a good one."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            child()
            sys.stdout.flush()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        print(f"child ended with {status}")


def closed(address: str) -> None:
    def child() -> None:
        print(asyncio.run(use_new(address, "child")))
        fork(lambda: print(asyncio.run(use_new(address, "grandchild"))))

    for _ in range(5):
        print(asyncio.run(use_new(address, "parent")))
        fork(child)


def kept(address: str) -> None:
    async def story() -> None:
        client = Client(address)
        async with client:
            print(await use(client, "parent"))
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)
        fork(lambda: print(asyncio.run(use_new(address, "child"))))
        assert not client._pipeline.is_connected
        print(await use_new(address, "parent"))

    asyncio.run(story())


def still_open(address: str) -> None:
    async def story() -> None:
        async with Client(address, deadline_seconds=float("inf")) as client:
            print(await use(client, "parent"))

            async def inherited() -> None:
                print(await use(client, "inherited"))
                try:
                    await client.wait_connected()
                except Forked:
                    print("inherited does not connect")
                await client.close()
                print(await use_new(address, "new"))

            fork(lambda: asyncio.run(inherited()))
            print(await use(client, "parent"))

    asyncio.run(story())
    fork(lambda: print(asyncio.run(use_new(address, "child"))))


def made(address: str) -> None:
    client = Client(address)

    async def opened(who: str) -> None:
        async with client:
            print(await use(client, who))
            print(client._next_request_id().hex())

    fork(lambda: asyncio.run(opened("child")))
    asyncio.run(opened("parent"))


def foreign(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(timeout=20)
        fork(lambda: print(asyncio.run(use_new(address, "child"))))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        stories: tuple[Callable[[str], None], ...] = (closed, kept, still_open, made, foreign)
        {story.__name__: story for story in stories}[sys.argv[1]](sys.argv[2])
