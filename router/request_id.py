"""Request ids: 16 bytes that are the same for every attempt of one call."""

from __future__ import annotations

import os
from binascii import Error as BinasciiError
from binascii import unhexlify
from hashlib import blake2b
from typing import Final

from quorate.cluster.write_id import REQUEST_ID_BYTES

_UUID_LENGTH: Final = 36


def new_request_id() -> bytes:
    """Return a random id, for a caller that gave none."""
    return os.urandom(REQUEST_ID_BYTES)


def request_id_of(text: bytes) -> bytes:
    """Return the id in a header's value: a UUID or 32 hex digits as they are, else a digest.

    An empty text gets a random id.
    """
    if not text:
        return new_request_id()
    digits = text.replace(b"-", b"") if len(text) == _UUID_LENGTH else text
    if len(digits) == 2 * REQUEST_ID_BYTES:
        try:
            return unhexlify(digits)
        except BinasciiError:
            pass
    return blake2b(text, digest_size=REQUEST_ID_BYTES).digest()
