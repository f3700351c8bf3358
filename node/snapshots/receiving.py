"""Receiving: into a file, each frame checked; what is whole goes to the core, a part may wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from node.codec import decode_snapshot_meta
from node.host import Host
from node.logs import log
from node.snapshots.off_loop import Call, off_loop
from node.snapshots.pace import Pace
from node.storage.errors import StorageFull
from node.storage.items import InstallRecord, ItemStore
from node.storage.items_install import SnapshotInstall
from node.storage.snapshot_file import SUFFIX, SnapshotFile, path_of, paths_of_group, room_bytes
from node.storage.snapshot_frames import VIEW_BYTES, BrokenSnapshot, Position
from quorate.security.private_directory import DIRECTORY_MODE
from quorate.v1 import node_pb2
from raft.types import BadConfiguration, Configuration, Message, MessageType, SnapshotMeta

RECEIVING_MAX: Final = 4
"""Snapshots that one node receives at a time. Ours."""

ANNOUNCED_BYTES_MAX: Final = 256 << 30
"""Most bytes of all snapshots that one node receives at a time, as announced. Ours."""

LONGER_FACTOR: Final = 8
"""How many times longer than announced a snapshot may be. Ours: what is announced counts sizes in
DynamoDB's sense, and JSON may be six times as long."""

LONGER_BYTES: Final = 16 << 20
"""Length up to which it does not matter what was announced. Ours."""

PARTIAL_SECONDS: Final = 120.0
"""How long a part is kept for a sender to go on with. Ours: longer than the sender keeps its view,
which may have been opened again by one that was paused."""

Parts = AsyncIterator[node_pb2.SnapshotPart]
Answer = Callable[[node_pb2.SnapshotPosition], Awaitable[None]]


@dataclass(eq=False)
class SnapshotRefused(Exception):
    """Why a transfer ends here; the call ends with this code and sentence."""

    code: grpc.StatusCode
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a sender has, decoded and possible; `message` is for the core."""

    message: Message
    group: int
    view: bytes
    size_bytes: int


class SnapshotReceiver:
    """Gathers snapshots in files of one directory, few at a time."""

    def __init__(self, directory: Path, node_id: int, host: Host, call: Call) -> None:
        """Whatever lies in the directory may be gone on with for a while."""
        self._directory = directory
        self._call = call
        self._node_id = node_id
        self._host = host
        self.received_bytes = 0  # of frames, in this process's life
        self._receiving: dict[int, _Offer] = {}  # by group
        self._got: dict[int, int] = {}  # bytes, by group
        self._handed: set[Path] = set()  # to the host, which deletes them
        self._idle_since: dict[Path, float] = {}

    def unfinished(self, items: ItemStore) -> list[SnapshotInstall]:
        """Return the installs that a crash interrupted; the host goes on with them."""
        installs = [
            SnapshotInstall(record, self._directory, begun=True) for record in items.installs()
        ]
        self._handed.update(install.path for install in installs)
        return installs

    def progress(self) -> list[tuple[int, float]]:
        """Return (group, ratio done) of what is being received."""
        return [
            (group, min(1.0, self._got.get(group, 0) / max(1, offer.size_bytes)))
            for group, offer in self._receiving.items()
        ]

    @property
    def receiving(self) -> int:
        """How many snapshots are being received now."""
        return len(self._receiving)

    async def receive(self, sender: int, parts: Parts, answer: Answer) -> None:
        """Receive one snapshot and offer it to the host; return once it is durable here.

        Raises SnapshotRefused, StorageFailed.
        """
        pace = Pace(_now())
        offer = self._decode(sender, await _next_part(parts, pace))
        self._admit(offer)
        self._receiving[offer.group] = offer
        try:
            install, message = await self._gather(offer, parts, answer, pace)
        finally:
            del self._receiving[offer.group]
            self._got.pop(offer.group, None)
        self._handed.add(install.path)
        log("snapshot_received", group=offer.group, index=install.record.applied_index)
        self._call(self._host.offer_snapshot, offer.group, message, install)

    def _decode(self, sender: int, part: node_pb2.SnapshotPart) -> _Offer:
        wire = part.offer
        try:
            meta = decode_snapshot_meta(wire.meta)
        except (BadConfiguration, ValueError) as error:
            raise _broken(str(error)) from error
        if part.WhichOneof("part") != "offer" or len(wire.view) != VIEW_BYTES:
            raise _broken("a transfer begins with an offer")
        message = Message(
            MessageType.SNAPSHOT,
            sender,
            self._node_id,
            wire.sender_term,
            sequence=wire.sequence,
            snapshot=meta,
        )
        return _Offer(message, wire.group, wire.view, wire.size_bytes)

    def _admit(self, offer: _Offer) -> None:
        """Refuse what is not wanted, or too much at present. Raises SnapshotRefused."""
        if offer.group in self._receiving or len(self._receiving) >= RECEIVING_MAX:
            raise SnapshotRefused(grpc.StatusCode.ABORTED, "busy with other snapshots")
        announced = offer.size_bytes + sum(each.size_bytes for each in self._receiving.values())
        if announced > ANNOUNCED_BYTES_MAX:
            raise SnapshotRefused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"{announced} bytes announced, in all"
            )
        if not self._call(self._host.wants_snapshot, offer.group, offer.message):
            raise SnapshotRefused(grpc.StatusCode.FAILED_PRECONDITION, "it is not wanted")

    async def _gather(
        self, offer: _Offer, parts: Parts, answer: Answer, pace: Pace
    ) -> tuple[SnapshotInstall, Message]:
        """Return a durable file and the message that goes with it. Raises SnapshotRefused."""
        arc = self._host.replicas[offer.group].arc
        file = None
        try:
            await off_loop(lambda: self._make_room(offer))
            file = await off_loop(
                lambda: SnapshotFile(self._directory, offer.group, offer.view, arc)
            )
            await answer(encode_position(file.position))
            await self._take_frames(offer, file, parts, pace)
            state = await off_loop(file.seal)
            configuration = Configuration.decode(state.configuration)
        except (BrokenSnapshot, BadConfiguration) as error:
            await self._drop(offer, file)
            raise _broken(str(error)) from error
        except StorageFull as error:
            await self._drop(offer, file)
            raise SnapshotRefused(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from error
        finally:
            if file is not None:
                file.close()
        record = InstallRecord(
            offer.group,
            offer.view,
            state.applied_index,
            state.applied_term,
            arc,
            file.position.checksum,
        )
        meta = SnapshotMeta(state.applied_index, state.applied_term, configuration)
        return SnapshotInstall(record, self._directory), replace(offer.message, snapshot=meta)

    async def _take_frames(
        self, offer: _Offer, file: SnapshotFile, parts: Parts, pace: Pace
    ) -> None:
        size_bytes_max = max(LONGER_BYTES, LONGER_FACTOR * offer.size_bytes)
        while not file.complete:
            part = await _next_part(parts, pace)
            if part.WhichOneof("part") != "frame":
                raise BrokenSnapshot("a second offer")
            frame = part.frame
            if file.position.size_bytes + len(frame) > size_bytes_max:
                raise BrokenSnapshot(f"longer than {size_bytes_max} bytes, far above the announced")
            await off_loop(lambda: file.append(frame))  # noqa: B023 - awaited in this round
            self.received_bytes += len(frame)
            self._got[offer.group] = file.position.size_bytes

    def _make_room(self, offer: _Offer) -> None:
        """Delete parts of other snapshots of the group; see that the disk has room for this one.

        It must hold the file and, for as long, the same items in the tree. Raises StorageFull.
        """
        self._directory.mkdir(DIRECTORY_MODE, exist_ok=True)
        own = path_of(self._directory, offer.group, offer.view)
        for path in paths_of_group(self._directory, offer.group):
            if path != own:
                path.unlink(missing_ok=True)
        there = own.stat().st_size if own.exists() else 0
        promised = sum(2 * each.size_bytes for each in self._receiving.values())
        room = room_bytes(self._directory) + there
        if promised > room:
            raise StorageFull(f"{promised} bytes wanted, there is room for {max(0, room)}")

    async def _drop(self, offer: _Offer, file: SnapshotFile | None) -> None:
        """Delete what nobody can go on with."""
        if file is not None:
            file.close()
        path = path_of(self._directory, offer.group, offer.view)
        await off_loop(lambda: path.unlink(missing_ok=True))

    async def sweep(self, now: float) -> None:
        """Delete the parts that nobody has gone on with. Seconds of any clock; now and then."""
        found = set(self._directory.glob(f"*{SUFFIX}"))
        self._handed &= found
        busy = {
            path_of(self._directory, offer.group, offer.view) for offer in self._receiving.values()
        }
        idle = found - self._handed - busy
        self._idle_since = {path: self._idle_since.get(path, now) for path in idle}
        for path, since in list(self._idle_since.items()):
            if now - since > PARTIAL_SECONDS:
                log("snapshot_part_deleted", path=path)
                path.unlink(missing_ok=True)


async def _next_part(parts: Parts, pace: Pace) -> node_pb2.SnapshotPart:
    """Return the next part. Raises SnapshotRefused if it comes too late, or not at all."""
    try:
        async with asyncio.timeout_at(pace.passed(0, _now())):
            part = await anext(parts, None)
    except TimeoutError:
        raise SnapshotRefused(grpc.StatusCode.DEADLINE_EXCEEDED, "too slow") from None
    if part is None:
        raise SnapshotRefused(grpc.StatusCode.ABORTED, "it broke off")
    pace.passed(len(part.frame), _now())
    return part


def _now() -> float:
    return asyncio.get_running_loop().time()


def _broken(reason: str) -> SnapshotRefused:
    return SnapshotRefused(grpc.StatusCode.DATA_LOSS, reason)


def encode_position(position: Position) -> node_pb2.SnapshotPosition:
    """Write down where a receiver stands. Pair of `node.snapshots.sending.decode_position`."""
    return node_pb2.SnapshotPosition(
        frame_count=position.frame_count,
        size_bytes=position.size_bytes,
        checksum=position.checksum,
        pair_count=position.pair_count,
        last_key=position.last_key,
    )
