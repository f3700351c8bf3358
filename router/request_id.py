"""Request ids: 16 bytes that are the same for every attempt of one call."""

from __future__ import annotations

import os
from binascii import Error as BinasciiError
from binascii import unhexlify
from hashlib import blake2b
from typing import Final

REQUEST_ID_BYTES: Final = 16
_UUID_LENGTH: Final = 36


def new_request_id() -> bytes:
    """Return a random id, for a caller that gave none."""
    return os.urandom(REQUEST_ID_BYTES)


def write_id(request_id: bytes, key: bytes) -> bytes:
    """Return the id of one write of a call, under which the nodes remember it.

    It depends on the item, so that the parts of a batch differ, and so that an id that a client
    uses twice, for two items, is two writes.
    """
    return blake2b(key, digest_size=REQUEST_ID_BYTES, key=request_id).digest()


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
