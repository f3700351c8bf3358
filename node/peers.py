"""One outgoing stream to each other node: a message with all that one turn has for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import grpc
import grpc.aio

from node.acquaintances import Introduction
from node.codec import encode_raft_batch
from node.errands import End, Errands
from node.join import identify_request
from node.logs import log
from node.peer_batch import PeerBatch
from node.storage.identity import Identity, Start
from quorate.cluster.channels import RECEIVER_KEY, Dialer
from quorate.troubles import Troubles
from quorate.v1 import node_pb2_grpc

RECONNECT_SECONDS: Final = 0.1
"""Pause between attempts to reach a peer. Ours."""

CONNECT_SECONDS: Final = 2.0
"""Longest wait for a connection before it is tried anew. Ours."""

MEASURE_SECONDS: Final = 5.0
"""Between two measurements of the way to a peer and back. Ours: some for each scrape."""

OUTBOX_MAX: Final = 8_192
"""Most messages that wait for a slow peer; further ones are dropped, as Raft allows. Ours."""

CLUSTER_ID: Final = "x-quorate-cluster-id"
NODE_ID: Final = "x-quorate-node-id"
INCARNATION: Final = "x-quorate-incarnation"
STARTS: Final = "x-quorate-starts"
START_TOKEN: Final = "x-quorate-start-token"  # noqa: S105 - no password

ADMITTED: Final = "x-quorate-admitted"
"""In the initial metadata of the answer: the peer has let this node in."""

Metadata = tuple[tuple[str, str], ...]


def introduce(identity: Identity, receiver: int) -> Metadata:
    """Return the metadata of a stream to node `receiver`; the pair of `read_introduction`."""
    return (
        (CLUSTER_ID, identity.cluster_id),
        (NODE_ID, str(identity.node_id)),
        (INCARNATION, identity.incarnation),
        (STARTS, str(identity.start.number)),
        (START_TOKEN, identity.start.token),
        (RECEIVER_KEY, str(receiver)),
    )


def read_introduction(
    metadata: Mapping[str, str | bytes], certified_name: str = ""
) -> Introduction:
    """Return who opened a stream. Raises KeyError or ValueError if it does not say."""
    return Introduction(
        cluster_id=str(metadata[CLUSTER_ID]),
        node_id=int(metadata[NODE_ID]),
        incarnation=str(metadata[INCARNATION]),
        start=Start(int(metadata[STARTS]), str(metadata[START_TOKEN])),
        certified_name=certified_name,
    )


class PeerEvents(Protocol):
    """Who is told what becomes of the streams."""

    def peer_broken(self, node_id: int) -> None:
        """Take note that an open stream to a node ended."""
        ...

    def peer_connected(self, node_id: int) -> None:
        """Take note that a stream to a node was opened."""
        ...

    def peer_refused(self, node_id: int, address: str) -> None:
        """Take note that a node does not let this one in: it knows something about it."""
        ...


class PeerLink:
    """The stream to one peer.

    `round_trip_seconds` is how long the newest small call took, on the same connection: the network
    there and back, and what it waits for at both loops. None: the peer has not answered it.
    """

    def __init__(
        self,
        identity: Identity,
        node_id: int,
        address: str,
        events: PeerEvents,
        dialer: Dialer,
    ) -> None:
        """Nothing is opened before `run`."""
        self.node_id = node_id
        self.address = address
        self._identity = identity
        self._metadata = introduce(identity, node_id)
        self._name = identity.names.get(node_id, "")
        self._events = events
        self._dialer = dialer
        self._outbox = self._empty_outbox()
        self._wake = asyncio.Event()
        self._open = False
        self.round_trip_seconds: float | None = None
        self._refused = Troubles("refused_by_peer")

    @property
    def is_open(self) -> bool:
        """Whether the peer has let this node in and the stream has not ended since."""
        return self._open

    def send(self, outbox: PeerBatch) -> None:
        """Send a batch; dropped while there is no stream or it is too slow."""
        if self._open and len(self._outbox) + len(outbox) <= OUTBOX_MAX:
            self._outbox.extend(outbox)
            self._wake.set()

    def _empty_outbox(self) -> PeerBatch:
        return PeerBatch(self._identity.node_id, self.node_id)

    async def run(self) -> None:
        """Keep a stream open until cancelled."""
        while True:
            async with self._dialer.open(self.address, self._name) as channel:
                try:
                    await self._stream(node_pb2_grpc.NodeServiceStub(channel))
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
                    self._note_failure(error)
            if self._open:
                self._open = False
                log("peer_stream_broken", peer=self.node_id)
                self._events.peer_broken(self.node_id)
            self._outbox = self._empty_outbox()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _stream(self, stub: node_pb2_grpc.NodeServiceStub) -> None:
        call = stub.Replicate(metadata=self._metadata)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                admitted = ADMITTED in (await call.initial_metadata() or ())
                if not admitted:
                    await call  # raises why not
            self._open = True
            self._refused.over()
            log("peer_stream_open", peer=self.node_id, address=self.address)
            self._events.peer_connected(self.node_id)
            call.add_done_callback(lambda _: self._wake.set())
            measuring = asyncio.get_running_loop().create_task(self._measure(stub))
            try:
                while not call.done():
                    await self._wake.wait()
                    self._wake.clear()
                    if self._outbox and not call.done():
                        outbox, self._outbox = self._outbox, self._empty_outbox()
                        await call.write(encode_raft_batch(outbox))
            finally:
                measuring.cancel()
                await asyncio.wait([measuring])
        finally:
            call.cancel()

    async def _measure(self, stub: node_pb2_grpc.NodeServiceStub) -> None:
        """Measure the way to the peer and back now and then, until cancelled."""
        request = identify_request(self._identity)
        try:
            while True:
                began = time.monotonic()
                try:
                    await stub.Identify(request, timeout=CONNECT_SECONDS)
                except grpc.aio.AioRpcError:
                    self.round_trip_seconds = None
                else:
                    self.round_trip_seconds = time.monotonic() - began
                await asyncio.sleep(MEASURE_SECONDS)
        finally:
            self.round_trip_seconds = None

    def _note_failure(self, error: Exception) -> None:
        if (
            isinstance(error, grpc.aio.AioRpcError)
            and error.code() is grpc.StatusCode.PERMISSION_DENIED
        ):
            self._refused.met(peer=self.node_id, reason=error.details())
            self._events.peer_refused(self.node_id, self.address)


@dataclass(frozen=True, slots=True)
class _Running:
    link: PeerLink
    end: End


class PeerLinks:
    """The streams to all other nodes, opened and ended as nodes come and go."""

    def __init__(
        self,
        identity: Identity,
        events: PeerEvents,
        errands: Errands,
        dialer: Dialer,
    ) -> None:
        """Links run as errands, until these end. `follow` opens the first ones."""
        self._identity = identity
        self._events = events
        self._dialer = dialer
        self._errands = errands
        self._running: dict[int, _Running] = {}

    def follow(self, addresses: Mapping[int, str]) -> None:
        """Keep a stream to each of these node ids, at its address, and to no other."""
        for node_id, running in list(self._running.items()):
            if addresses.get(node_id) != running.link.address:
                running.end()
                del self._running[node_id]
        for node_id, address in addresses.items():
            if node_id not in self._running:
                link = PeerLink(self._identity, node_id, address, self._events, self._dialer)
                end = self._errands.start(link.run(), name=f"stream to node {node_id}")
                self._running[node_id] = _Running(link, end)

    def send(self, outbox: PeerBatch) -> None:
        """Send to the node that a batch is for; lost if there is no stream to it."""
        running = self._running.get(outbox.to)
        if running is not None:
            running.link.send(outbox)

    def streams(self) -> dict[int, tuple[bool, float | None]]:
        """Return of each other node whether its stream is open, and the newest round trip."""
        return {
            node_id: (running.link.is_open, running.link.round_trip_seconds)
            for node_id, running in self._running.items()
        }
