"""Access keys on the caller's side: where they come from, and how a gRPC call is signed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import gmtime, strftime
from typing import Final

from quorate.security.signing import (
    DIGEST_KEY,
    GRPC_HOST,
    GRPC_SERVICE,
    REQUEST_ID_KEY,
    Scope,
    authorization,
    canonical_request,
    digest_of,
    sign,
)
from quorate.values import ValueRefused

REGION: Final = "local"
"""The region that calls are signed for; routers take any."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key, as `quorate user create` prints it."""

    access_key_id: str
    secret_access_key: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what no header can carry. Raises ValueRefused, which shows no secret."""
        given: dict[str, object] = {
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }
        for name, value in given.items():
            if not (isinstance(value, str) and value.isascii() and value.isprintable()):
                raise ValueRefused("an access key is a str of printable ASCII", name)

    def metadata(
        self, method: str, seconds: float, message: bytes, request_id: bytes = b""
    ) -> tuple[tuple[str, str], ...]:
        """Return what goes with a call of /package.Service/Method, signed `seconds` after 1970.

        `message` is what will be sent, byte by byte; of a Pipeline, nothing. The request id, 16
        bytes, is left out if it is empty.
        """
        timestamp = strftime("%Y%m%dT%H%M%SZ", gmtime(seconds))
        digest = digest_of(message)
        signed = {DIGEST_KEY: digest.decode(), "x-amz-date": timestamp}
        if request_id:
            signed[REQUEST_ID_KEY] = request_id.hex()
        headers = {name.encode(): value.encode() for name, value in signed.items()}
        headers[b"host"] = GRPC_HOST
        names = sorted(headers)
        scope = Scope(timestamp[:8], REGION, GRPC_SERVICE)
        canonical = canonical_request(b"POST", method.encode(), headers, names, digest)
        signature = sign(self.secret_access_key, scope, timestamp, canonical)
        return (
            *signed.items(),
            ("authorization", authorization(self.access_key_id, scope, names, signature)),
        )


def credentials_from(environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """Return the credentials that the AWS SDKs would take from the environment, None without."""
    key_id = environment.get("AWS_ACCESS_KEY_ID")
    secret = environment.get("AWS_SECRET_ACCESS_KEY")
    return Credentials(key_id, secret) if key_id and secret else None
