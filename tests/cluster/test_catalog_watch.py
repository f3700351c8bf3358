"""Following the catalog over real gRPC: what is said is taken, who is silent is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from quorate.cluster import catalog_search
from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_leader import NodeChannels
from quorate.cluster.catalog_watch import follow_catalog
from quorate.cluster.channels import Dialer
from quorate.cluster.codec import encode_catalog
from quorate.v1 import node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceServicer, add_NodeServiceServicer_to_server

WAIT_SECONDS = 30.0
"""Longest wait for what must come. Much above what it takes."""

Answer = Callable[[int], AsyncIterator[node_pb2.WatchCatalogResponse]]


class Node(NodeServiceServicer):  # type: ignore[misc]  # protoc's service stubs have no types
    """Answers watches as it is told; remembers which epochs were shown to it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.shown: list[int] = []

    async def WatchCatalog(  # noqa: N802  (gRPC's name)
        self, request: node_pb2.WatchCatalogRequest, context: Any
    ) -> AsyncIterator[node_pb2.WatchCatalogResponse]:
        self.shown.append(request.epoch)
        async for said in self._answer(request.epoch):
            yield said


async def _for_ever() -> None:
    await asyncio.Event().wait()


def having(epoch: int) -> Answer:
    """Answer with a catalog of that epoch, or that there is none."""

    async def answer(known: int) -> AsyncIterator[node_pb2.WatchCatalogResponse]:
        newer = encode_catalog(Catalog(epoch=epoch)) if epoch > known else None
        yield node_pb2.WatchCatalogResponse(epoch=epoch, catalog=newer)
        await _for_ever()

    return answer


def leaving(epoch: int) -> Answer:
    """Answer with a catalog of that epoch, and end the stream."""

    async def answer(known: int) -> AsyncIterator[node_pb2.WatchCatalogResponse]:
        yield node_pb2.WatchCatalogResponse(catalog=encode_catalog(Catalog(epoch=epoch)))

    return answer


async def silent(known: int) -> AsyncIterator[node_pb2.WatchCatalogResponse]:
    """Take the question, and never answer."""
    await _for_ever()
    yield node_pb2.WatchCatalogResponse()


async def of_older_release(known: int) -> AsyncIterator[node_pb2.WatchCatalogResponse]:
    """Send the catalog and nothing beside it, whatever the asking one has."""
    yield node_pb2.WatchCatalogResponse(catalog=encode_catalog(Catalog(epoch=3)))
    await _for_ever()


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[str]:
    """Yield the node's address."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    add_NodeServiceServicer_to_server(node, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


def adopted_from(*answers: Answer, epoch: int) -> list[Node]:
    """Follow nodes that answer so, in this order, until a catalog of that epoch was adopted."""

    async def story() -> list[Node]:
        nodes = [Node(answer) for answer in answers]
        catalog = Catalog()
        arrived = asyncio.Event()

        def adopt(newer: Catalog) -> None:
            nonlocal catalog
            catalog = newer
            if newer.epoch >= epoch:
                arrived.set()

        async with AsyncExitStack() as stack:
            addresses = [await stack.enter_async_context(serving(node)) for node in nodes]
            channels = await stack.enter_async_context(NodeChannels(Dialer()))
            async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as tasks:
                following = tasks.create_task(
                    follow_catalog(
                        channels,
                        likely=lambda: (),
                        others=lambda: addresses,
                        epoch=lambda: catalog.epoch,
                        adopt=adopt,
                    )
                )
                await arrived.wait()
                following.cancel()
        return nodes

    return asyncio.run(story())


def test_who_has_no_catalog_is_left_for_one_who_has() -> None:
    adopted_from(having(0), having(4), epoch=4)


def test_who_never_answers_is_left_for_one_who_does() -> None:
    adopted_from(silent, having(4), epoch=4)


def test_who_has_an_older_catalog_is_left_for_one_who_has_a_newer() -> None:
    _, older, _ = adopted_from(leaving(5), having(2), having(7), epoch=7)

    assert older.shown == [5], "he was told what the asking one has"


def test_who_hears_of_no_change_himself_is_left_for_one_who_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """He may be cut off from the others, and not know it."""
    monkeypatch.setattr(catalog_search, "FOLLOW_SECONDS", 0.05)

    adopted_from(having(3), having(3), having(4), epoch=4)


def test_an_older_release_is_understood() -> None:
    adopted_from(of_older_release, epoch=3)
