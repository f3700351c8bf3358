"""Snapshots between nodes: a replica's items, streamed in checked chunks.

The sender reads from one consistent view of its tree while writes go on; the receiver gathers
into a file, verifies the whole, and only then offers it to its core. Few at a time, each with a
deadline: a slow receiver delays nobody.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final
from uuid import uuid4
from zlib import crc32

import grpc.aio

from node.codec import decode_snapshot_meta, encode_snapshot_meta
from node.host import Host
from node.logs import log, warn
from node.replica import PartitionReplica
from node.storage.items import ItemStore
from quorate.cluster.channels import open_channel
from quorate.v1 import node_pb2, node_pb2_grpc
from raft.types import Configuration, Message, MessageType, SnapshotMeta

CHUNK_BYTES: Final = 256 * 1024
"""Bytes of images in one chunk. Ours: large messages hold up the loop."""

SENDING_MAX: Final = 2
"""Snapshots that one node sends at a time; others are asked for again later. Ours."""

RECEIVING_MAX: Final = 4
"""Snapshots that one node receives at a time. Ours."""

TRANSFER_SECONDS: Final = 600.0
"""Longest transfer: an open view of the tree keeps its pages from being used again. Ours."""

CHUNK_SECONDS: Final = 30.0
"""Longest silence within a transfer. Ours."""

_PAIR = struct.Struct(">HI")  # key length, image length


class BrokenSnapshot(Exception):
    """What arrived is not what was sent."""


class SnapshotSender:
    """Sends snapshots to followers whose next entry was cut off the log."""

    def __init__(self, host: Host, items: ItemStore) -> None:
        """Start with nothing under way."""
        self._host = host
        self._items = items
        self._sending = 0

    @property
    def has_room(self) -> bool:
        """Whether another snapshot may be sent now."""
        return self._sending < SENDING_MAX

    async def send(self, group: int, message: Message, address: str) -> None:
        """Send one snapshot and tell the host how it went."""
        self._sending += 1
        ok = False
        try:
            async with asyncio.timeout(TRANSFER_SECONDS), open_channel(address) as channel:
                stub = node_pb2_grpc.NodeServiceStub(channel)
                answer = await stub.SendSnapshot(self._chunks(group, message))
                ok = answer.installed
                log("snapshot_sent", group=group, to=message.to, ok=ok, reason=answer.reason)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            warn("snapshot_failed", group=group, to=message.to, error=error)
        finally:
            self._sending -= 1
            self._host.snapshot_sent(group, message.to, ok=ok)

    async def _chunks(self, group: int, message: Message) -> AsyncIterator[node_pb2.SnapshotChunk]:
        replica = self._host.replicas[group]
        low, high = replica.arc if isinstance(replica, PartitionReplica) else (0, 0)
        view = self._items.snapshot_reader(low, high, group)
        try:
            state = view.state
            meta = SnapshotMeta(
                state.applied_index,
                state.applied_term,
                Configuration.decode(state.configuration),
            )
            chunk = node_pb2.SnapshotChunk(
                group=group,
                sender=message.sender,
                sender_term=message.term,
                meta=encode_snapshot_meta(meta),
                state=view.state_bytes(),
            )
            checksum = crc32(chunk.state)
            size_bytes = 0
            for key, image in view.items():
                chunk.keys.append(key)
                chunk.images.append(image)
                checksum = crc32(image, crc32(key, checksum))
                size_bytes += len(key) + len(image)
                if size_bytes >= CHUNK_BYTES:
                    chunk.checksum = checksum
                    yield chunk
                    chunk, size_bytes = node_pb2.SnapshotChunk(), 0
            chunk.checksum = checksum
            chunk.last = True
            yield chunk
        finally:
            view.close()


class ReceivedSnapshot:
    """A snapshot gathered in a file; `verify` it before it is offered."""

    def __init__(self, directory: Path) -> None:
        """Begin a new file in `directory`."""
        directory.mkdir(exist_ok=True)
        self._path = directory / f"{uuid4().hex}.snapshot"
        self._file = self._path.open("wb")
        self._checksum = 0
        self._complete = False
        self.state = b""
        self.message: Message | None = None
        self.group = 0

    def add(self, chunk: node_pb2.SnapshotChunk, receiver: int) -> None:
        """Take the next chunk. Raises BrokenSnapshot."""
        if self._complete:
            raise BrokenSnapshot("a chunk after the last one")
        if self.message is None:
            self.group = chunk.group
            self.state = chunk.state
            self._checksum = crc32(chunk.state)
            self.message = Message(
                MessageType.SNAPSHOT,
                chunk.sender,
                receiver,
                chunk.sender_term,
                snapshot=decode_snapshot_meta(chunk.meta),
            )
        for key, image in zip(chunk.keys, chunk.images, strict=True):
            self._checksum = crc32(image, crc32(key, self._checksum))
            self._file.write(_PAIR.pack(len(key), len(image)))
            self._file.write(key)
            self._file.write(image)
        if chunk.checksum != self._checksum:
            raise BrokenSnapshot(f"checksum mismatch in group {self.group}")
        self._complete = chunk.last
        if self._complete:
            self._file.close()

    @property
    def complete(self) -> bool:
        """Whether the last chunk has arrived and all checksums match."""
        return self._complete

    def install(self, items: ItemStore, group: int, arc: tuple[int, int]) -> None:
        """Install into the items store; runs on its thread."""
        items.install_snapshot(group, arc[0], arc[1], self.state, self._pairs())

    def discard(self) -> None:
        """Delete the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _pairs(self) -> Iterator[tuple[bytes, bytes]]:
        with self._path.open("rb") as file:
            while head := file.read(_PAIR.size):
                key_length, image_length = _PAIR.unpack(head)
                yield file.read(key_length), file.read(image_length)


def discard_leftovers(directory: Path) -> None:
    """Delete what a process that was killed had received. Before anything is received."""
    for path in directory.glob("*.snapshot"):
        path.unlink()


async def receive_snapshot(
    chunks: AsyncIterator[node_pb2.SnapshotChunk], directory: Path, receiver: int
) -> ReceivedSnapshot:
    """Gather one snapshot. Raises BrokenSnapshot or TimeoutError; leaves no file behind then."""
    received = ReceivedSnapshot(directory)
    try:
        while not received.complete:
            async with asyncio.timeout(CHUNK_SECONDS):
                chunk = await anext(chunks, None)
            if chunk is None:
                raise BrokenSnapshot("the stream ended before the last chunk")
            received.add(chunk, receiver)
    except BaseException:
        received.discard()
        raise
    return received
