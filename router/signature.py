"""Verifies AWS Signature Version 4, and refuses as AWS does: the same order, the same sentences.

No policy here: who the users are, and when a signature is needed, is `router.authentication`'s.
The order of the checks, and the sentences, are what DynamoDB answered to requests of each kind.
Unlike AWS, a query that carries the signature is not taken: no SDK signs DynamoDB calls so.
"""

from __future__ import annotations

import hmac
import re
import secrets
from binascii import b2a_base64
from calendar import timegm
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from time import gmtime, strftime, strptime
from typing import Final

from model.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    UnrecognizedClient,
)
from quorate.security.signing import ALGORITHM, TERMINATOR, Scope, canonical_request, sign

SKEW_SECONDS_MAX: Final = 15 * 60
"""How far a request's date may be from this clock, either way, unless told otherwise. Source:
DynamoDB's own refusals, `Signature expired: ... (... - 15 min.)`."""

TIMESTAMP_FORMAT: Final = "%Y%m%dT%H%M%SZ"
TIMESTAMP: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)

HEADER_NAMES: Final = {
    b"host": "Host",
    b"x-amz-content-sha256": "X-Amz-Content-Sha256",
    b"x-amz-date": "X-Amz-Date",
    b"x-amz-target": "X-Amz-Target",
}

_NOBODY: Final = secrets.token_urlsafe(30)
"""Takes the place of an unknown key's secret, so that its refusal takes as long."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the Authorization header says."""

    algorithm: str
    credential: str
    signed_headers: list[bytes]
    signature: str


class SignatureCheck:
    """Checks the requests of one service."""

    def __init__(
        self,
        *,
        service: str,
        region: str | None,
        must_sign: Sequence[bytes],
        must_sign_if_there: Sequence[bytes] = (),
        skew_seconds_max: int = SKEW_SECONDS_MAX,
        find_secret: Callable[[str], str | None],
        wall_clock: Callable[[], float],
    ) -> None:
        """`region` None takes any. `must_sign` are the headers that the signature must cover.

        A date may be off by `skew_seconds_max`, whole minutes.
        """
        self._service = service
        self._region = region
        self._must_sign = tuple(must_sign)
        self._must_sign_if_there = tuple(must_sign_if_there)
        self._skew_seconds_max = skew_seconds_max
        self._find_secret = find_secret
        self._wall_clock = wall_clock

    def check(
        self,
        method: bytes,
        target: bytes,
        headers: Mapping[bytes, bytes],
        digest: bytes,
    ) -> str:
        """Return the access key id that a request was signed with; `digest` is of its body.

        Raises MissingAuthenticationToken, IncompleteSignature, InvalidSignature or
        UnrecognizedClient.
        """
        claim, timestamp, key_id, scope = self._claim(target, headers)
        secret = self._find_secret(key_id)
        canonical = canonical_request(method, target, headers, claim.signed_headers, digest)
        expected = sign(_NOBODY if secret is None else secret, scope, timestamp, canonical)
        is_right = hmac.compare_digest(expected.encode(), claim.signature.encode())
        if secret is None or (is_right and b"x-amz-security-token" in headers):
            raise UnrecognizedClient
        if not is_right:
            raise InvalidSignature
        return key_id

    def check_header(self, target: bytes, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a request whose body would be of no use: `check` would refuse it whatever it is.

        Raises as `check` does.
        """
        *_, key_id, _ = self._claim(target, headers)
        if self._find_secret(key_id) is None:
            raise UnrecognizedClient

    def _claim(
        self, target: bytes, headers: Mapping[bytes, bytes]
    ) -> tuple[_Claim, str, str, Scope]:
        """Return what the header claims: with it the date, the access key id and the scope."""
        claim = _parse(target, headers)
        date_header, timestamp = _timestamp(headers)
        self._check_age(timestamp)
        self._check_signed(claim, headers, date_header)
        return claim, timestamp, *self._scope(claim, timestamp)

    def _check_age(self, timestamp: str) -> None:
        now = self._wall_clock()
        seconds = _seconds(timestamp)
        skew = self._skew_seconds_max
        if seconds < int(now) - skew:
            raise InvalidSignature(
                f"Signature expired: {timestamp} is now earlier than "
                f"{_text(now - skew)} ({_text(now)} - {skew // 60} min.)"
            )
        if seconds > now + skew:
            raise InvalidSignature(
                f"Signature not yet current: {timestamp} is still later than "
                f"{_text(now + skew)} ({_text(now)} + {skew // 60} min.)"
            )

    def _check_signed(
        self, claim: _Claim, headers: Mapping[bytes, bytes], date_header: bytes
    ) -> None:
        there = [name for name in self._must_sign_if_there if name in headers]
        for name in (*self._must_sign, date_header, *there):
            if name not in claim.signed_headers:
                shown = HEADER_NAMES.get(name, name.decode())
                raise InvalidSignature(
                    f"'{shown}' must be a 'SignedHeader' in the AWS Authorization."
                )
        for name in claim.signed_headers:
            if name not in headers:
                raise IncompleteSignature(
                    f"'{name.decode('latin-1')}' is named as a SignedHeader, "
                    "but it does not exist in the HTTP request."
                )

    def _scope(self, claim: _Claim, timestamp: str) -> tuple[str, Scope]:
        """Return the access key id and the scope, if it is the right one."""
        if claim.algorithm != ALGORITHM:
            raise IncompleteSignature(
                f"Unsupported AWS 'algorithm': '{claim.algorithm}' (only {ALGORITHM} for now). "
            )
        parts = claim.credential.rstrip("/").split("/")
        if len(parts) != 5:
            raise IncompleteSignature(
                "Credential must have exactly 5 slash-delimited elements, "
                f"e.g. keyid/date/region/service/term, got '{claim.credential}'"
            )
        key_id, date, region, service, terminator = parts
        wrong = ""
        if self._region not in (None, region):
            wrong += f"Credential should be scoped to a valid region, not '{region}'. "
        if service != self._service:
            wrong += f"Credential should be scoped to correct service: '{self._service}'. "
        if terminator != TERMINATOR:
            wrong += (
                "Credential should be scoped with a valid terminator: "
                f"'{TERMINATOR}', not '{terminator}'. "
            )
        if date != timestamp[:8]:
            wrong += (
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
                f"from HTTP: '{date}' != '{timestamp[:8]}', from '{timestamp}'."
            )
        if wrong:
            raise InvalidSignature(wrong)
        return key_id, Scope(date, region, service)


def _parse(target: bytes, headers: Mapping[bytes, bytes]) -> _Claim:
    header = headers.get(b"authorization", b"").decode("latin-1").strip()
    if header and b"X-Amz-Algorithm=" in target:
        raise InvalidSignature(
            "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' "
            "as HTTP header."
        )
    if not header.startswith("AWS4-"):
        raise MissingAuthenticationToken
    algorithm, _, rest = header.partition(" ")
    fields: dict[str, str] = {}
    for part in rest.replace(",", " ").split():
        name, equals, value = part.partition("=")
        if not equals:
            digest = b2a_base64(sha256(header.encode()).digest(), newline=False).decode()
            raise IncompleteSignature(
                f"'{part}' not a valid key=value pair (missing equal-sign) in Authorization "
                f"header (hashed with SHA-256 and encoded with Base64): '{digest}'."
            )
        if name in fields:
            raise IncompleteSignature(f"Authorization header has '{name}' more than once.")
        fields[name] = value
    missing = "".join(
        f"Authorization header requires '{name}' parameter. "
        for name in ("Credential", "Signature", "SignedHeaders")
        if not fields.get(name)
    )
    if b"x-amz-date" not in headers and b"date" not in headers:
        missing += (
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        )
    if missing:
        raise IncompleteSignature(f"{missing}Authorization={algorithm}")
    signed_headers = fields["SignedHeaders"].lower().encode("latin-1").split(b";")
    return _Claim(algorithm, fields["Credential"], signed_headers, fields["Signature"])


def _timestamp(headers: Mapping[bytes, bytes]) -> tuple[bytes, str]:
    """Return which header has the request's date, and the date as it is signed."""
    if b"x-amz-date" in headers:
        return b"x-amz-date", headers[b"x-amz-date"].decode("latin-1")
    text = headers[b"date"].decode("latin-1")
    if not TIMESTAMP.fullmatch(text):
        text = _from_http_date(text)
    return b"date", text


def _from_http_date(text: str) -> str:
    try:
        return strftime(TIMESTAMP_FORMAT, parsedate_to_datetime(text).utctimetuple())
    except (ValueError, OverflowError):
        return text  # `_seconds` says what is wrong with it


@lru_cache(maxsize=64)
def _seconds(timestamp: str) -> int:
    """Return a timestamp as seconds since 1970: the requests of one second share it."""
    try:
        if not TIMESTAMP.fullmatch(timestamp):
            raise ValueError
        return timegm(strptime(timestamp, TIMESTAMP_FORMAT))
    except ValueError:
        raise IncompleteSignature(
            f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'."
        ) from None


def _text(seconds: float) -> str:
    return strftime(TIMESTAMP_FORMAT, gmtime(seconds))
