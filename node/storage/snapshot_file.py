"""The file in which a node gathers a snapshot. It can be gone on with after a break, or a crash.

Its frames carry running checksums, so nothing else has to be remembered or synced on the way: what
is whole up to some frame is good, what follows is cut off. See `snapshot_frames`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from node.storage.environment import storage_error, sync_directory
from node.storage.errors import StorageFull
from node.storage.layout import Malformed, ReplicaState, decode_snapshot_state
from node.storage.snapshot_frames import (
    BODY_BYTES_MAX,
    HEADER,
    KIND_HEAD,
    KIND_PAIRS,
    KIND_STATE,
    BrokenSnapshot,
    FrameReader,
    Head,
    Position,
    check_pairs,
    decode_pairs,
)
from quorate.security.private_directory import DIRECTORY_MODE, private_opener

SNAPSHOTS_DIRECTORY: Final = "snapshots"
"""Where they lie in a data directory. Ours."""

SUFFIX: Final = ".snapshot"

SYNC_BYTES: Final = 16 << 20
"""Bytes after which a file is synced on the way, so that the last sync, and the log's meanwhile,
find little to do; and after which the disk's room is looked at. Ours."""

ROOM_KEPT_SHARE: Final = 0.05
"""Share of the disk that snapshots leave free, for the log and the checkpoints. Ours."""


def path_of(directory: Path, group: int, view: bytes) -> Path:
    """Return where the snapshot of a view is gathered. No text from the wire is in it."""
    return directory / f"{group}-{view.hex()}{SUFFIX}"


def paths_of_group(directory: Path, group: int) -> list[Path]:
    """Return all files of a group's snapshots."""
    return sorted(directory.glob(f"{group}-*{SUFFIX}"))


def room_bytes(directory: Path) -> int:
    """Return how many bytes snapshots may still take of the disk; negative if too many already."""
    status = os.statvfs(directory)
    kept = int(status.f_blocks * ROOM_KEPT_SHARE)
    return (status.f_bavail - kept) * status.f_frsize


class SnapshotFile:
    """A snapshot that is being gathered. Used by one thread at a time, any thread."""

    def __init__(self, directory: Path, group: int, view: bytes, arc: tuple[int, int]) -> None:
        """Open or make the file, and take up what is good of it.

        `arc` is [low token, high token) of the replica. Raises StorageFull, StorageFailed.
        """
        self.path = path = path_of(directory, group, view)
        self._identity = (group, view)
        self._arc = arc
        self._reader = FrameReader()
        self._unsynced_bytes = 0
        try:
            path.parent.mkdir(DIRECTORY_MODE, exist_ok=True)
            descriptor = private_opener(str(path), os.O_RDWR | os.O_CREAT)
            self._file = os.fdopen(descriptor, "r+b", buffering=0)
            self._take_up()
        except OSError as error:
            raise storage_error(error, f"opening {path}") from error

    def _take_up(self) -> None:
        last_pairs = None
        try:
            for kind, body in _frames(self._file, self._reader):
                if kind == KIND_PAIRS:
                    last_pairs = body
        except BrokenSnapshot:
            pass  # a write that did not come to its end
        if not self._reader.has_state:
            self._reader = FrameReader()  # little is lost, and the rest may go on by its last key
        elif last_pairs is not None:
            *_, (self._reader.position.last_key, _) = decode_pairs(last_pairs)
        self._file.seek(self._reader.position.size_bytes)
        self._file.truncate()

    @property
    def position(self) -> Position:
        """How far it has come."""
        return self._reader.position

    @property
    def head(self) -> Head:
        """What the snapshot is of, once its first frame is there."""
        assert self._reader.head is not None
        return self._reader.head

    @property
    def complete(self) -> bool:
        """Whether the end has arrived, and everything before it."""
        return self._reader.complete

    def append(self, raw: bytes) -> None:
        """Take the next frame.

        Raises BrokenSnapshot (not what must come next, or not sound), StorageFull, StorageFailed.
        """
        kind, body = self._reader.take(raw)
        if kind == KIND_HEAD:
            head = self.head
            if (head.group, head.view) != self._identity:
                raise BrokenSnapshot(f"the head of another snapshot, of group {head.group}")
        elif kind == KIND_PAIRS:
            for key, _ in check_pairs(body, self._arc, self.position.last_key):
                self.position.last_key = key
        try:
            written = self._file.write(raw)
            self._unsynced_bytes += len(raw)
            if written != len(raw):
                raise StorageFull(f"{self.path}: no space left on the device")
            if self._unsynced_bytes >= SYNC_BYTES:
                if room_bytes(self.path.parent) < 0:
                    raise StorageFull(f"{self.path}: the disk is nearly full")
                os.fdatasync(self._file.fileno())
                self._unsynced_bytes = 0
        except OSError as error:
            raise storage_error(error, f"writing {self.path}") from error

    def seal(self) -> ReplicaState:
        """Make the complete file durable, and close it; return the replica state in it.

        Raises BrokenSnapshot (its parts contradict each other), StorageFull, StorageFailed.
        """
        assert self.complete
        head = self.head
        state = self._check_state()
        if (state.applied_index, state.applied_term) != (head.applied_index, head.applied_term):
            raise BrokenSnapshot(f"its state is of {state.applied_index}, not {head.applied_index}")
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            sync_directory(self.path.parent)
        except OSError as error:
            raise storage_error(error, f"syncing {self.path}") from error
        return state

    def _check_state(self) -> ReplicaState:
        try:
            return decode_snapshot_state(read_state(self.path))[0]
        except Malformed as error:
            raise BrokenSnapshot(f"its state: {error}") from error

    def close(self) -> None:
        """Close the file; what has arrived stays for another time. Harmless when closed."""
        self._file.close()


def read_state(path: Path) -> bytes:
    """Return the snapshot state in a file. Raises BrokenSnapshot, OSError."""
    reader = FrameReader()
    pieces = []
    with path.open("rb") as file:
        for kind, body in _frames(file, reader):
            if kind == KIND_STATE:
                pieces.append(bytes(body))
            elif kind != KIND_HEAD:
                break
    return b"".join(pieces)


def read_pairs(path: Path, checksum: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield the pairs of a complete file, frame by frame; `checksum` is that of its end.

    Raises BrokenSnapshot, OSError.
    """
    reader = FrameReader()
    with path.open("rb") as file:
        for kind, body in _frames(file, reader):
            if kind == KIND_PAIRS:
                yield list(decode_pairs(body))
    if not reader.complete or reader.position.checksum != checksum:
        raise BrokenSnapshot(f"{path.name} is not the snapshot that was received")


def _frames(file: BinaryIO, reader: FrameReader) -> Iterator[tuple[int, memoryview]]:
    """Yield (kind, body) of the frames from the start of the file. Raises BrokenSnapshot."""
    while header := file.read(HEADER.size):
        if len(header) < HEADER.size:
            raise BrokenSnapshot("a frame's header is cut short")
        length = HEADER.unpack(header)[-1]
        if length > BODY_BYTES_MAX:
            raise BrokenSnapshot(f"a body of {length} bytes")
        yield reader.take(header + file.read(length))
