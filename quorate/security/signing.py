"""AWS Signature Version 4: what of a request is signed, and how. Pure; for both sides.

Everything is bytes, as it is on the wire. What a verifier must insist on is not here: see
`router.signature`. Source: AWS IAM User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import quote, unquote_to_bytes

ALGORITHM: Final = "AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
GRPC_SERVICE: Final = "quorate"
"""The service that gRPC calls are signed for; see api.proto."""

GRPC_HOST: Final = b"quorate"
"""The host that gRPC calls are signed for, whatever address they go to; see api.proto."""

DIGEST_KEY: Final = "x-amz-content-sha256"
"""Metadata of a gRPC call: the SHA-256 of its message, in hex. Source: S3's header."""

REQUEST_ID_KEY: Final = "x-quorate-request-id"
"""Metadata of a gRPC call: the same for every attempt of one; signed if it is there."""

SIGNING_KEYS_MAX: Final = 4_096
"""Most derived keys that are remembered; each is good for a day. Ours."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for. `date` is YYYYMMDD."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        """Return the scope as it is signed."""
        return f"{self.date}/{self.region}/{self.service}/{TERMINATOR}"


def canonical_request(
    method: bytes,
    target: bytes,
    headers: Mapping[bytes, bytes],
    signed_headers: Sequence[bytes],
    digest: bytes,
) -> bytes:
    """Return the text that stands for a request. `digest` is its body's, see `digest_of`.

    `target` is path and query as sent. `headers` have lower-case names, and several values of one
    name joined by commas; each of `signed_headers` must be among them.
    """
    path, _, query = target.partition(b"?")
    return b"%b\n%b\n%b\n%b\n%b\n%b" % (
        method,
        b"/" if path == b"/" else _canonical_path(path),
        _canonical_query(query) if query else b"",
        b"".join([b"%b:%b\n" % (name, _trimmed(headers[name])) for name in signed_headers]),
        b";".join(signed_headers),
        digest,
    )


def digest_of(body: bytes | bytearray) -> bytes:
    """Return the SHA-256 of a body, or message, in hex."""
    return sha256(body).hexdigest().encode()


def sign(secret: str, scope: Scope, timestamp: str, canonical: bytes) -> str:
    """Return the signature, 64 hex digits. `timestamp` is YYYYMMDDTHHMMSSZ."""
    text = f"{ALGORITHM}\n{timestamp}\n{scope}\n{sha256(canonical).hexdigest()}"
    return hmac.digest(_signing_key(secret, scope), text.encode(), "sha256").hex()


def authorization(
    access_key_id: str, scope: Scope, signed_headers: Sequence[bytes], signature: str
) -> str:
    """Return the value of the Authorization header."""
    return (
        f"{ALGORITHM} Credential={access_key_id}/{scope}, "
        f"SignedHeaders={b';'.join(signed_headers).decode()}, Signature={signature}"
    )


@lru_cache(maxsize=SIGNING_KEYS_MAX)
def _signing_key(secret: str, scope: Scope) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in (scope.date, scope.region, scope.service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _trimmed(value: bytes) -> bytes:
    """Return a header's value without blanks around it, and one blank where there are several."""
    return b" ".join(value.split())


def _canonical_path(path: bytes) -> bytes:
    """Return a path without dot segments and empty ones, and encoded once more."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    ending = b"/" if path.endswith(b"/") and kept else b""
    return quote(b"/" + b"/".join(kept) + ending, safe="/~").encode()


def _canonical_query(query: bytes) -> bytes:
    """Return the parameters encoded in the one right way, and sorted."""
    pairs = [part.partition(b"=") for part in query.split(b"&")]
    encoded = [(_encoded(name), _encoded(value)) for name, _, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded)).encode()


def _encoded(text: bytes) -> str:
    return quote(unquote_to_bytes(text), safe="~")
