"""Under which id the nodes remember a write, made from its call's request id."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

REQUEST_ID_BYTES: Final = 16


def write_id(request_id: bytes, key: bytes) -> bytes:
    """Return the id of one write of a call.

    It depends on the item, so that the parts of a batch differ, and so that an id that a client
    uses twice, for two items, is two writes.
    """
    return blake2b(key, digest_size=REQUEST_ID_BYTES, key=request_id).digest()
