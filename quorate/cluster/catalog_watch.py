"""Following the catalog over gRPC; whom, and for how long: `catalog_search` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn

import grpc.aio

from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_leader import NodeChannels
from quorate.cluster.catalog_search import CatalogSearch
from quorate.cluster.codec import decode_catalog
from quorate.troubles import Troubles
from quorate.v1 import node_pb2

Addresses = Callable[[], Sequence[str]]


async def follow_catalog(
    channels: NodeChannels,
    *,
    likely: Addresses,
    others: Addresses,
    epoch: Callable[[], int],
    adopt: Callable[[Catalog], object],
    turn: int = 0,
) -> NoReturn:
    """Have every newer catalog adopted that anybody tells of, until cancelled.

    `likely` and `others` are as in `CatalogSearch.ask_next`; `epoch` is that of the own catalog.
    """
    search = CatalogSearch(turn)
    unwatched = Troubles("catalog_watch_ended", "catalog_watched")
    clock = asyncio.get_running_loop().time
    while True:
        address = search.ask_next(likely(), others(), clock())
        if address is not None:
            await _listen(channels, address, search, unwatched, epoch, adopt)
        await asyncio.sleep(search.until - clock())


async def _listen(
    channels: NodeChannels,
    address: str,
    search: CatalogSearch,
    unwatched: Troubles,
    epoch: Callable[[], int],
    adopt: Callable[[Catalog], object],
) -> None:
    """Listen to one node for as long as the search wants."""
    clock = asyncio.get_running_loop().time
    has_answered = False
    call = channels.stub(address).WatchCatalog(node_pb2.WatchCatalogRequest(epoch=epoch()))
    try:
        async with asyncio.timeout_at(search.until) as limit:
            while (told := await call.read()) is not grpc.aio.EOF:
                has_answered = True
                unwatched.over(address, address=address)
                if told.HasField("catalog"):
                    adopt(decode_catalog(told.catalog))
                # An older release does not say its epoch beside its catalog.
                search.heard(told.epoch or told.catalog.epoch, epoch(), clock())
                limit.reschedule(search.until)
        search.broken(clock())
        unwatched.met(address, address=address, reason="the node closed it")
    except TimeoutError:
        if not has_answered:
            unwatched.met(address, address=address, reason="no answer")
    except grpc.aio.AioRpcError as error:
        search.broken(clock())
        reason = f"{error.code().name}: {error.details()}"
        unwatched.met(address, address=address, reason=reason)
    finally:
        call.cancel()
