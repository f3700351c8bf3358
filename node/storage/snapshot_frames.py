"""The frames of a snapshot: how it travels, and how it lies in the receiver's file. Bytes only.

Big-endian. A snapshot is one head, the pieces of its state, its pairs, one end.

    frame   crc32 u32 (of the rest of the frame, going on from the checksum of the frame before;
            the first goes on from 0) · version u8 · kind u8 · reserved u16 · body length u32 · body

    head  1 view 16 bytes · group u32 · applied index u64 · applied term u64 · state length u32
    state 2 the next piece of the snapshot state (see `layout`)
    pairs 3 number of pairs before this frame u64 · number in it u32, then by key, ascending:
            key length u16 · image length u32 · key · image
    end   4 number of pairs u64 · length of all frames before this one u64

Because each checksum goes on from the last, a frame that is missing, doubled or out of place is
found as surely as a flipped bit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from model.image import CorruptImage, check_image
from node.storage import layout

FRAME_VERSION: Final = 1
"""Version of frames. A reader refuses what it does not know."""

BODY_BYTES_MAX: Final = 8 << 20
"""Longest body. Ours: a piece of the usual size, and one more item whose JSON is all escapes."""

VIEW_BYTES: Final = 16
"""Length of a view's number, drawn when the view is opened. Ours: no two are ever equal."""

KIND_HEAD: Final = 1
KIND_STATE: Final = 2
KIND_PAIRS: Final = 3
KIND_END: Final = 4

HEADER: Final = struct.Struct(">IBBHI")
_HEAD: Final = struct.Struct(f">{VIEW_BYTES}sIQQI")
_PAIRS: Final = struct.Struct(">QI")
_PAIR: Final = struct.Struct(">HI")
_END: Final = struct.Struct(">QQ")

assert HEADER.size == 12


class BrokenSnapshot(Exception):
    """What arrived, or lies in the file, is not what was sent."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a snapshot is of. The view is its identity: only frames of one view fit together."""

    view: bytes
    group: int
    applied_index: int
    applied_term: int
    state_length: int


@dataclass(slots=True)
class Position:
    """How far a snapshot has come; the next frame goes on from here."""

    frame_count: int = 0
    size_bytes: int = 0
    checksum: int = 0
    pair_count: int = 0
    last_key: bytes = b""

    def add(self, raw: bytes) -> None:
        """Count one whole frame."""
        self.frame_count += 1
        self.size_bytes += len(raw)
        self.checksum = int.from_bytes(raw[: layout.CRC_BYTES], "big")


def encode_frame(kind: int, body: bytes, before: int) -> bytes:
    """Return a frame; `before` is the checksum of the frame before it. Pair of `decode_frame`."""
    assert len(body) <= BODY_BYTES_MAX
    fields = HEADER.pack(0, FRAME_VERSION, kind, 0, len(body))[layout.CRC_BYTES :]
    checksum = crc32(body, crc32(fields, before))
    return b"".join((checksum.to_bytes(layout.CRC_BYTES, "big"), fields, body))


def decode_frame(raw: bytes, before: int) -> tuple[int, memoryview]:
    """Return kind and body of a frame that follows checksum `before`. Raises BrokenSnapshot."""
    if len(raw) < HEADER.size:
        raise BrokenSnapshot(f"a frame of {len(raw)} bytes")
    checksum, version, kind, _, length = HEADER.unpack_from(raw)
    if version != FRAME_VERSION:
        raise BrokenSnapshot(f"frame {layout.other_version(version, FRAME_VERSION)}")
    if length != len(raw) - HEADER.size:
        raise BrokenSnapshot(f"a frame of {len(raw)} bytes with a body of {length}")
    if crc32(memoryview(raw)[layout.CRC_BYTES :], before) != checksum:
        raise BrokenSnapshot("the checksum of a frame does not match, or frames are out of order")
    return kind, memoryview(raw)[HEADER.size :]


def encode_head(head: Head) -> bytes:
    """Return the body of a head. Pair of the one that `FrameReader` decodes."""
    return _HEAD.pack(
        head.view, head.group, head.applied_index, head.applied_term, head.state_length
    )


def encode_pair(key: bytes, image: bytes) -> bytes:
    """Return one pair of a pairs body."""
    return b"".join((_PAIR.pack(len(key), len(image)), key, image))


def encode_pairs(pair_count_before: int, pairs: list[bytes]) -> bytes:
    """Return the body of a pairs frame. Pair of `decode_pairs`."""
    return b"".join((_PAIRS.pack(pair_count_before, len(pairs)), *pairs))


def decode_pairs(body: memoryview) -> Iterator[tuple[bytes, bytes]]:
    """Yield the (key, image) of a pairs body. Raises BrokenSnapshot."""
    at = _PAIRS.size
    for _ in range(_PAIRS.unpack_from(body)[1]):
        try:
            key_length, image_length = _PAIR.unpack_from(body, at)
        except struct.error as error:
            raise BrokenSnapshot(f"a pair is cut short: {error}") from error
        key_at = at + _PAIR.size
        image_at = key_at + key_length
        at = image_at + image_length
        if at > len(body):
            raise BrokenSnapshot("a pair is cut short")
        yield bytes(body[key_at:image_at]), bytes(body[image_at:at])
    if at != len(body):
        raise BrokenSnapshot(f"{len(body) - at} bytes after the last pair")


def encode_end(position: Position) -> bytes:
    """Return the body of the end after everything that `position` counts."""
    return _END.pack(position.pair_count, position.size_bytes)


def check_pairs(
    body: memoryview, arc: tuple[int, int], last_key: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs of a body; each must be whole, in the arc, and follow the one before.

    Raises BrokenSnapshot.
    """
    low, high = arc
    for key, image in decode_pairs(body):
        try:
            layout.table_of(key)
            check_image(image)
        except (layout.Malformed, CorruptImage) as error:
            raise BrokenSnapshot(f"item {key.hex()}: {error}") from error
        if not image or key <= last_key or not low <= layout.token_of(key) < high:
            raise BrokenSnapshot(f"item {key.hex()} is out of place")
        last_key = key
        yield key, image


@dataclass(slots=True)
class FrameReader:
    """Takes the frames of one snapshot in their order.

    Invariant: `position` counts exactly the frames taken, all of them verified; its `last_key` is
    kept by those who look at the pairs.
    """

    position: Position = field(default_factory=Position)
    head: Head | None = None
    state_length: int = 0  # of what has arrived
    complete: bool = False

    @property
    def has_state(self) -> bool:
        """Whether all of the state is there, so that pairs may follow."""
        return self.head is not None and self.state_length == self.head.state_length

    def take(self, raw: bytes) -> tuple[int, memoryview]:
        """Take the next frame; return its kind and body. Raises BrokenSnapshot, and then stays."""
        kind, body = decode_frame(raw, self.position.checksum)
        if self.complete:
            raise BrokenSnapshot("a frame after the end")
        try:
            self._follow(kind, body)
        except struct.error as error:
            raise BrokenSnapshot(f"a frame of kind {kind} is cut short: {error}") from error
        self.position.add(raw)
        return kind, body

    def _follow(self, kind: int, body: memoryview) -> None:
        position = self.position
        if (kind == KIND_HEAD) != (self.head is None):
            raise BrokenSnapshot(f"a frame of kind {kind} as number {position.frame_count}")
        if kind == KIND_HEAD:
            self.head = Head(*_HEAD.unpack(body))
        elif kind == KIND_STATE:
            assert self.head is not None
            if self.state_length + len(body) > self.head.state_length:
                raise BrokenSnapshot("more state than announced")
            self.state_length += len(body)
        elif not self.has_state:
            raise BrokenSnapshot(f"a frame of kind {kind} within the state")
        elif kind == KIND_PAIRS:
            before, count = _PAIRS.unpack_from(body)
            if before != position.pair_count:
                raise BrokenSnapshot(f"pairs from {before} on after {position.pair_count}")
            position.pair_count += count
        elif kind == KIND_END:
            pair_count, size_bytes = _END.unpack(body)
            if (pair_count, size_bytes) != (position.pair_count, position.size_bytes):
                raise BrokenSnapshot(
                    f"{pair_count} pairs in {size_bytes} bytes announced, "
                    f"{position.pair_count} in {position.size_bytes} found"
                )
            self.complete = True
        else:
            raise BrokenSnapshot(f"a frame of kind {kind}, which this release does not know")
