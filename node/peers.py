"""One outgoing stream to each other node: a message with all that one turn has for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import grpc
import grpc.aio

from node.codec import encode_raft_batch
from node.logs import log
from node.storage.identity import Identity
from quorate.cluster.catalog import NodeRecord
from quorate.cluster.channels import open_channel
from quorate.v1 import node_pb2_grpc
from raft.types import Message

RECONNECT_SECONDS: Final = 0.1
"""Pause between attempts to reach a peer. Ours."""

CONNECT_SECONDS: Final = 2.0
"""Longest wait for a connection before it is tried anew. Ours."""

OUTBOX_MAX: Final = 8_192
"""Most messages that wait for a slow peer; further ones are dropped, as Raft allows. Ours."""

CLUSTER_ID: Final = "x-quorate-cluster-id"
NODE_ID: Final = "x-quorate-node-id"
INCARNATION: Final = "x-quorate-incarnation"


class PeerLink:
    """The stream to one peer. `on_broken` is called when an open stream ends."""

    def __init__(
        self, identity: Identity, peer: NodeRecord, on_broken: Callable[[int], None]
    ) -> None:
        """Nothing is opened before `run`."""
        self._peer = peer
        self._metadata = (
            (CLUSTER_ID, identity.cluster_id),
            (NODE_ID, str(identity.node_id)),
            (INCARNATION, identity.incarnation),
        )
        self._on_broken = on_broken
        self._outbox: list[tuple[int, Message]] = []
        self._wake = asyncio.Event()
        self._open = False

    def send(self, outbox: list[tuple[int, Message]]) -> None:
        """Send (group, message) pairs; dropped while there is no stream or it is too slow."""
        if self._open and len(self._outbox) + len(outbox) <= OUTBOX_MAX:
            self._outbox += outbox
            self._wake.set()

    async def run(self) -> None:
        """Keep a stream open until cancelled."""
        while True:
            async with open_channel(self._peer.address) as channel:
                try:
                    await self._stream(node_pb2_grpc.NodeServiceStub(channel))
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
                    self._note_failure(error)
            if self._open:
                self._open = False
                log("peer_stream_broken", peer=self._peer.name)
                self._on_broken(self._peer.id)
            self._outbox.clear()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _stream(self, stub: node_pb2_grpc.NodeServiceStub) -> None:
        call = stub.Replicate(metadata=self._metadata)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await call.wait_for_connection()
            self._open = True
            log("peer_stream_open", peer=self._peer.name)
            call.add_done_callback(lambda _: self._wake.set())
            while not call.done():
                await self._wake.wait()
                self._wake.clear()
                if self._outbox and not call.done():
                    outbox, self._outbox = self._outbox, []
                    await call.write(encode_raft_batch(outbox))
        finally:
            call.cancel()

    def _note_failure(self, error: Exception) -> None:
        refused = (
            isinstance(error, grpc.aio.AioRpcError)
            and error.code() is grpc.StatusCode.FAILED_PRECONDITION
        )
        if refused:
            log("peer_refused", peer=self._peer.name, reason=error)
