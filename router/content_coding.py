"""Bodies of requests as they were before their content coding: RFC 9110, section 8.4.

Nothing here unpacks to more than a request may have, nor takes long over little: what a body
holds decides about both, and it comes from anybody who may call.
"""

from __future__ import annotations

import zlib
from typing import Final

from model.errors import SerializationFailed

RATIO_MAX: Final = 100
"""How many times its size a body may unpack to. Ours: JSON does to 5 or 20."""

RATIO_FREE_BYTES: Final = 1 << 20
"""What a body may unpack to in any case. Ours: an item full of one letter."""

CODINGS_MAX: Final = 4
"""Most codings one over the other. Ours: each may take as long as one."""

MEMBERS_MAX: Final = 4_096
"""Most gzip members of one body: each takes microseconds even if it is empty. Ours."""

SHOWN_LENGTH_MAX: Final = 64
"""Most characters of an unknown coding's name that its refusal repeats. Ours."""

PIECE_BYTES: Final = 16 << 10
"""What an unpacker is given at a time: what it leaves of that, it copies. Ours."""

GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's way to say that a gzip header is expected
ZLIB: Final = zlib.MAX_WBITS
RAW: Final = -zlib.MAX_WBITS

DECODED: Final = b"gzip, deflate"
"""What is understood, as an Accept-Encoding header has it."""


class UnknownCoding(SerializationFailed):
    """The body has a coding that is not known here. Its status: RFC 9110, section 15.5.16."""

    http_status = 415


class BodyTooLarge(SerializationFailed):
    """Unpacked, the body would be larger than a request may be."""

    http_status = 413


def decode_body(field: bytes, body: bytes | bytearray, bytes_max: int) -> bytes | bytearray:
    """Return a body without the codings that a Content-Encoding field names.

    It may have `bytes_max` bytes then, and not too many times what it has now. Raises
    UnknownCoding, BodyTooLarge, or SerializationFailed for what is not in its coding.
    """
    names = [name.strip().lower() for name in field.split(b",")]
    codings = [name for name in names if name not in (b"", b"identity")]
    if len(codings) > CODINGS_MAX:
        raise UnknownCoding(f"Content-Encoding names more than {CODINGS_MAX} codings.")
    bytes_max = min(bytes_max, max(RATIO_FREE_BYTES, RATIO_MAX * len(body)))
    for coding in reversed(codings):
        match coding:
            case b"gzip" | b"x-gzip":
                body = _unpack_gzip(body, bytes_max)
            case b"deflate":
                body = _unpack_deflate(body, bytes_max)
            case _:
                shown = coding[:SHOWN_LENGTH_MAX].decode("ascii", "replace")
                raise UnknownCoding(f"Content-Encoding {shown!r} is not understood here.")
    return body


def _unpack_gzip(body: bytes | bytearray, bytes_max: int) -> bytes:
    """Return what all members of a gzip body hold. Source: RFC 1952, section 2.2."""
    members: list[bytes] = []
    place = size_bytes = 0
    while place < len(body) or not members:
        if len(members) == MEMBERS_MAX:
            raise SerializationFailed(f"A gzip body has {MEMBERS_MAX} members at most.")
        plain, place = _unpack(body, place, GZIP, bytes_max - size_bytes)
        members.append(plain)
        size_bytes += len(plain)
    return members[0] if len(members) == 1 else b"".join(members)


def _unpack_deflate(body: bytes | bytearray, bytes_max: int) -> bytes:
    """Return what a deflate body holds: zlib's format, or, as some send it, without its frame."""
    has_frame = (
        len(body) > 1 and body[0] & 15 == zlib.DEFLATED and not (body[0] << 8 | body[1]) % 31
    )
    plain, end = _unpack(body, 0, ZLIB if has_frame else RAW, bytes_max)
    if end < len(body):
        raise _broken("deflate")
    return plain


def _unpack(
    body: bytes | bytearray, start: int, form: int, size_bytes_max: int
) -> tuple[bytes, int]:
    """Return what one stream holds that begins at `start`, and where it ends."""
    unpacker = zlib.decompressobj(form)
    view = memoryview(body)
    pieces: list[bytes] = []
    place, room = start, size_bytes_max + 1
    try:
        while not unpacker.eof and place < len(body):
            piece = view[place : place + PIECE_BYTES]
            plain = unpacker.decompress(piece, room)
            pieces.append(plain)
            room -= len(plain)
            if not room:
                raise BodyTooLarge(
                    "Unpacked, the body is larger than such a request may be, or over"
                    f" {RATIO_MAX} times as large as it came."
                )
            place += len(piece) - len(unpacker.unused_data)
    except zlib.error:
        raise _broken("gzip" if form == GZIP else "deflate") from None
    if not unpacker.eof:
        raise _broken("gzip" if form == GZIP else "deflate")
    return b"".join(pieces), place


def _broken(coding: str) -> SerializationFailed:
    return SerializationFailed(f"The body is not whole {coding}, as Content-Encoding says.")
