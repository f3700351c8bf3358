"""Content codings of request bodies: what is understood, and what everything else is told."""

from __future__ import annotations

import gzip
import os
import time
import zlib
from itertools import pairwise

import pytest

from model.errors import ModelError, SerializationFailed
from router import content_coding
from router.content_coding import RATIO_FREE_BYTES, RATIO_MAX, BodyTooLarge, UnknownCoding
from router.content_coding import decode_body as decode

BODY_BYTES_MAX = RATIO_FREE_BYTES
TEXT = b'{"TableName":"Music","Item":{"p":{"S":"k"}}}'


def decode_body(field: bytes, body: bytes | bytearray) -> bytes | bytearray:
    return decode(field, body, BODY_BYTES_MAX)


def test_body_does_not_unpack_to_too_many_times_its_size() -> None:
    plain = TEXT * 3 + os.urandom(20_000) + bytes(2 * RATIO_FREE_BYTES)
    packed = gzipped(plain)
    assert RATIO_MAX * len(packed) > len(plain)
    assert decode(b"gzip", packed, len(plain)) == plain

    many_times = gzipped(bytes(RATIO_FREE_BYTES + 1))
    with pytest.raises(BodyTooLarge, match="100 times"):
        decode(b"gzip", many_times, 16 << 20)


def gzipped(plain: bytes, level: int = 9) -> bytes:
    return gzip.compress(plain, level, mtime=0)


GZIP = gzipped(TEXT)
ZLIB = zlib.compress(TEXT)
BOMB_SECONDS_MAX = 1.0
"""Of processor time, and ten times what the slowest takes."""


def raw_deflate(plain: bytes, level: int = 9) -> bytes:
    packer = zlib.compressobj(level, wbits=-15)
    return packer.compress(plain) + packer.flush()


@pytest.mark.parametrize(
    ("field", "body"),
    [
        (b"gzip", GZIP),
        (b"GZip", GZIP),
        (b"x-gzip", GZIP),
        (b"X-GZIP", GZIP),
        (b"deflate", ZLIB),
        (b"Deflate", ZLIB),
        (b"deflate", raw_deflate(TEXT)),
        (b"deflate", raw_deflate(TEXT, level=0)),
        (b"identity", TEXT),
        (b"Identity", TEXT),
        (b"", TEXT),
        (b"identity, gzip", GZIP),
        (b"gzip,identity", GZIP),
        (b", gzip ,\t,", GZIP),
        (b"deflate, gzip", gzipped(ZLIB)),
        (b"gzip,deflate", zlib.compress(GZIP)),
        (b"gzip,gzip", gzipped(GZIP)),
        (b"gzip, x-gzip, deflate, gzip", gzipped(zlib.compress(gzipped(GZIP)))),
    ],
)
def test_body_is_unpacked_from_the_codings_that_are_named(field: bytes, body: bytes) -> None:
    assert decode_body(field, body) == TEXT
    assert decode_body(field, bytearray(body)) == TEXT


@pytest.mark.parametrize("cuts", [(10,), (1, 2, 3), (0,), (len(TEXT),)])
def test_gzip_body_may_have_several_members(cuts: tuple[int, ...]) -> None:
    ends = (0, *cuts, len(TEXT))
    members = [gzipped(TEXT[low:high]) for low, high in pairwise(ends)]

    assert decode_body(b"gzip", b"".join(members)) == TEXT


@pytest.mark.parametrize("size_bytes", [0, 1, content_coding.PIECE_BYTES, BODY_BYTES_MAX])
def test_body_of_any_size_that_a_request_may_have_is_unpacked(size_bytes: int) -> None:
    plain = (bytes(range(256)) * (size_bytes // 256 + 1))[:size_bytes]

    assert decode_body(b"gzip", gzipped(plain, 1)) == plain
    assert decode_body(b"deflate", zlib.compress(plain, 1)) == plain
    assert decode_body(b"deflate", raw_deflate(plain, 1)) == plain


@pytest.mark.parametrize(
    "field", [b"br", b"zstd", b"compress", b"garbage", b"gzip;q=1", b"gzip gzip"]
)
@pytest.mark.parametrize("listed", [b"%b", b"gzip, %b", b"%b, gzip"])
def test_unknown_coding_is_named(field: bytes, listed: bytes) -> None:
    with pytest.raises(UnknownCoding, match=field.decode()) as refused:
        decode_body(listed % field, GZIP)
    assert refused.value.http_status == 415


def test_more_codings_over_each_other_than_anybody_needs_are_refused() -> None:
    with pytest.raises(UnknownCoding):
        decode_body(b"gzip," * 5, GZIP)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        *((b"gzip", GZIP[:length]) for length in range(len(GZIP))),
        *((b"deflate", ZLIB[:length]) for length in range(len(ZLIB))),
        (b"gzip", TEXT),
        (b"deflate", TEXT),
        (b"gzip", ZLIB),
        (b"deflate", GZIP),
        (b"gzip", GZIP + b"junk"),
        (b"gzip", GZIP + b"\0"),
        (b"gzip", GZIP + GZIP[:-1]),
        (b"deflate", ZLIB + b"junk"),
        (b"deflate", ZLIB + ZLIB),
        (b"deflate", raw_deflate(TEXT) + b"x"),
        (b"gzip", GZIP[:-8] + bytes(8)),
        (b"gzip", b"\x1f\x8b\x08\xff" + GZIP[4:]),
        (b"deflate", b"\x78\xbb" + bytes(8)),
        (b"gzip, gzip", GZIP),
    ],
)
def test_body_that_is_not_what_its_coding_says_is_a_fault_of_the_request(
    field: bytes, body: bytes
) -> None:
    with pytest.raises(SerializationFailed, match="Content-Encoding") as refused:
        decode_body(field, body)
    assert refused.value.http_status == 400


@pytest.mark.parametrize(
    ("field", "body"),
    [
        (b"gzip", gzipped(bytes(BODY_BYTES_MAX + 1))),
        (b"gzip", gzipped(bytes(1 << 20)) * 17),
        (b"deflate", zlib.compress(bytes(64 << 20))),
        (b"deflate", raw_deflate(bytes(64 << 20))),
        (b"gzip,deflate", zlib.compress(gzipped(bytes(64 << 20)))),
        (b"gzip,gzip,gzip,gzip", gzipped(gzipped(gzipped(bytes(64 << 20)) * 9) * 99)),
        (b"gzip", gzipped(b"") * 800_000),
        (b"gzip,gzip", gzipped(gzipped(b"") * 800_000)),
        (b"gzip,gzip,gzip,gzip", gzipped(gzipped(b"", 0) * 800_000)),
    ],
    ids=[
        "one byte too many",
        "over several members",
        "zlib",
        "raw",
        "two codings",
        "four codings",
        "empty members",
        "empty members, packed",
        "empty members, packed several times",
    ],
)  # fmt: skip
def test_bomb_is_refused_soon(field: bytes, body: bytes) -> None:
    """By what it unpacks to, or by the number of its members; and it is not unpacked further."""
    started = time.thread_time()
    with pytest.raises(ModelError):
        decode_body(field, body)
    assert time.thread_time() - started < BOMB_SECONDS_MAX


def test_as_many_members_as_are_allowed_are_unpacked() -> None:
    members = gzipped(b"x") * content_coding.MEMBERS_MAX

    assert decode_body(b"gzip", members) == b"x" * content_coding.MEMBERS_MAX
    with pytest.raises(SerializationFailed, match="members"):
        decode_body(b"gzip", members + gzipped(b""))


def test_too_large_is_said_of_what_is_too_large_and_nothing_else() -> None:
    with pytest.raises(BodyTooLarge) as refused:
        decode_body(b"gzip", gzipped(bytes(BODY_BYTES_MAX + 1)))
    assert refused.value.http_status == 413
