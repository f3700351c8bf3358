"""Before a node takes part: is it who it says it is, and do its peers agree?

A data directory is drawn a random incarnation when it is made. Nodes remember each other's, so
a node that comes back with an empty directory under its old name is refused: it could have
forgotten votes and acknowledged writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import grpc
import grpc.aio

from node.logs import log
from node.storage.identity import Identity
from quorate.cluster.catalog import NodeRecord
from quorate.cluster.channels import open_channel
from quorate.v1 import node_pb2, node_pb2_grpc

ASK_SECONDS: Final = 2.0
"""Deadline of one question. Ours."""

RETRY_SECONDS: Final = 0.1
"""Pause before peers that did not answer are asked again. Ours."""


class JoinRefused(Exception):
    """This node may not take part under this identity; the text says why and what to do."""


async def join(
    identity: Identity,
    peers: Sequence[NodeRecord],
    save: Callable[[Identity], None],
    stop: asyncio.Event,
) -> bool:
    """Return True once this node may take part, False if `stop` was set. Raises JoinRefused.

    A directory used before asks once and goes on whatever does not answer; a new one waits until
    it has seen every initial node, so that all of them remember one another.
    """
    waiting = {peer.id: peer for peer in peers}
    told = False
    while True:
        answers = await asyncio.gather(*(_ask(identity, peer) for peer in waiting.values()))
        for peer, answer in zip(list(waiting.values()), answers, strict=True):
            if answer is not None:
                _check(identity, peer, answer)
                identity.peers.setdefault(peer.id, answer.incarnation)
                del waiting[peer.id]
        if identity.joined:
            return True
        if not waiting:
            identity.joined = True
            save(identity)
            log("joined", peers=len(peers))
            return True
        if not told:
            told = True
            log("waiting_for_peers", missing=",".join(peer.name for peer in waiting.values()))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
            return False


async def _ask(identity: Identity, peer: NodeRecord) -> node_pb2.IdentifyResponse | None:
    request = node_pb2.IdentifyRequest(
        cluster_id=identity.cluster_id,
        node_id=identity.node_id,
        incarnation=identity.incarnation,
    )
    async with open_channel(peer.address) as channel:
        stub = node_pb2_grpc.NodeServiceStub(channel)
        try:
            answer: node_pb2.IdentifyResponse = await stub.Identify(request, timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError:
            return None
        return answer


def _check(identity: Identity, peer: NodeRecord, answer: node_pb2.IdentifyResponse) -> None:
    if answer.cluster_id != identity.cluster_id or answer.node_id != peer.id:
        raise JoinRefused(
            f"{peer.address} is node {answer.node_id} of cluster {answer.cluster_id}, not node "
            f"{peer.id} of cluster {identity.cluster_id}: check the member addresses"
        )
    if answer.incarnation_known not in ("", identity.incarnation):
        raise JoinRefused(
            f"node {peer.name} remembers this node ({identity.name}) with another data directory: "
            "the old one was lost, emptied or replaced. An empty directory must not vote under "
            "the old name, for it has forgotten votes and acknowledged writes. Bring the old "
            "directory back, or replace the node by a new one"
        )
