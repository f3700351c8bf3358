"""HTTP requests signed by botocore, with everything about them to be spoilt by a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import gmtime, strftime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from quorate.cluster.catalog import AccessKeyRecord, Grant, UserRecord
from quorate.security.sealing import KEY_BYTES, KeyFile, Place

KEY_ID = "QRTEAAAAAAAAAAAAAAAA"
SECRET = "a secret of forty characters, and no less"
KEY_FILE = KeyFile(bytes(KEY_BYTES))
KEY_FILE_TEXT = bytes(KEY_BYTES).hex()


def ada(cluster_id: str, *grants: Grant) -> UserRecord:
    """Return a user whose only key is KEY_ID with SECRET."""
    place = Place(cluster_id=cluster_id, user_name="ada", grants=grants, access_key_id=KEY_ID)
    sealed = KEY_FILE.seal(SECRET, place)
    key = AccessKeyRecord(id=KEY_ID, sealed_secret=sealed)
    return UserRecord(name="ada", access_keys=(key,), grants=grants)


@dataclass
class Signed:
    """A request after signing: spoil it, then send `raw` or take `fields`."""

    headers: dict[str, str]
    body: bytes = b"{}"
    method: str = "POST"
    target: str = "/"
    extra_lines: list[bytes] = field(default_factory=list)

    @property
    def raw(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1".encode()]
        lines += [f"{name}: {value}".encode() for name, value in self.headers.items()]
        lines += [*self.extra_lines, b"Content-Length: %d" % len(self.body), b"Connection: close"]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body

    @property
    def fields(self) -> dict[bytes, bytes]:
        return {name.lower().encode(): value.encode() for name, value in self.headers.items()}

    def edit(self, header: str, change: Callable[[str], str]) -> None:
        self.headers[header] = change(self.headers[header])


def sign(
    now: float,
    *,
    operation: str = "ListTables",
    body: bytes = b"{}",
    key_id: str = KEY_ID,
    secret: str = SECRET,
    region: str = "eu-west-1",
    service: str = "dynamodb",
    headers: dict[str, str] | None = None,
    host: str = "router.example:8000",
) -> Signed:
    """Return a call signed at `now`, seconds since 1970."""
    request = AWSRequest(
        "POST",
        f"http://{host}/",
        {
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            **(headers or {}),
        },
        body,
    )
    request.context["timestamp"] = timestamp = strftime("%Y%m%dT%H%M%SZ", gmtime(now))
    signer = SigV4Auth(Credentials(key_id, secret), service, region)
    request.headers["X-Amz-Date"] = timestamp
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))  # type: ignore[attr-defined]
    return Signed({"Host": host, **dict(request.headers.items())}, body)
