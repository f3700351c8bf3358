"""Under which id the nodes remember a write, made from its call's request id and the write itself.

A request id proves nothing by itself: clients send equal ids for different calls (a generator
restored from a snapshot, a replayed capture). A write's id covers all that decides what the
write does, so that nodes take a write for a repetition only if it is one.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import Final
from zlib import crc32

REQUEST_ID_BYTES: Final = 16

MARK_BYTES: Final = 4
"""The part of a write's id that tells which call it is of, for whoever searches a log. Ours."""

_LENGTHS: Final = Struct(">II")


def call_mark(request_id: bytes) -> bytes:
    """Return the first bytes of the ids of all writes of a call."""
    return crc32(request_id).to_bytes(MARK_BYTES, "big")


def write_id(request_id: bytes, key: bytes, image: bytes, program: bytes) -> bytes:
    """Return the id of one write of a call: equal for a retry, another for any other write."""
    lengths = _LENGTHS.pack(len(key), len(image))
    digest = blake2b(
        b"".join((lengths, key, image, program)),
        digest_size=REQUEST_ID_BYTES - MARK_BYTES,
        key=request_id,
    )
    return call_mark(request_id) + digest.digest()


def command_id(request_id: bytes, operation: str, request: bytes) -> bytes:
    """Return the id of the catalog command of a call; `request` is what was asked, canonical."""
    return write_id(request_id, operation.encode(), request, b"")
