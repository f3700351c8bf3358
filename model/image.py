"""The image: an item as stored and sent between processes.

    version u8 · flags u8 · reserved u16 · size u32 · crc32 u32 · JSON of the item (DynamoDB's form)

Big-endian. `size` is the item's size in DynamoDB's sense, for capacity; the checksum covers the
other header fields and the JSON. An empty image means "no such item", everywhere.
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import Final

import orjson

IMAGE_VERSION: Final = 1
"""The only version so far. A reader refuses what it does not know."""

HEADER_BYTES: Final = 12

_FIELDS: Final = struct.Struct(">BBHI")
_HEADER: Final = struct.Struct(">BBHII")
_SIZE: Final = struct.Struct(">I")

assert _HEADER.size == HEADER_BYTES


class CorruptImage(Exception):
    """The bytes are not an image as it was written: stop this replica, do not serve it."""


def encode_image(item: dict[str, object], size_bytes: int) -> bytes:
    """Return the image of a validated item whose size is known."""
    body = orjson.dumps(item)
    fields = _FIELDS.pack(IMAGE_VERSION, 0, 0, size_bytes)
    return b"".join((fields, crc32(body, crc32(fields)).to_bytes(4, "big"), body))


def image_size_bytes(image: bytes) -> int:
    """Return the item's size in DynamoDB's sense, without decoding; 0 for no item."""
    if not image:
        return 0
    size: int = _SIZE.unpack_from(image, 4)[0]
    return size


def image_json(image: bytes) -> bytes:
    """Return the item's JSON as it is, for passing through."""
    assert image, "an absent item has no JSON"
    return image[HEADER_BYTES:]


def decode_image(image: bytes) -> dict[str, object]:
    """Return a fresh copy of the item; the image was checked when it came in."""
    item: dict[str, object] = orjson.loads(memoryview(image)[HEADER_BYTES:])
    return item


def check_image(image: bytes) -> None:
    """Check header and checksum of bytes that come from a disk or a peer.

    Raises CorruptImage; an empty image (no item) is fine.
    """
    if not image:
        return
    if len(image) < HEADER_BYTES:
        raise CorruptImage(f"{len(image)} bytes, the header alone has {HEADER_BYTES}")
    version, flags, reserved, size, checksum = _HEADER.unpack_from(image)
    if version != IMAGE_VERSION:
        raise CorruptImage(f"version {version}, this release reads {IMAGE_VERSION}")
    if flags or reserved:
        raise CorruptImage(f"flags {flags} and reserved {reserved} are not zero")
    body = memoryview(image)[HEADER_BYTES:]
    found = crc32(body, crc32(_FIELDS.pack(version, flags, reserved, size)))
    if found != checksum:
        raise CorruptImage(f"checksum {found:08x}, written as {checksum:08x}")
