"""The canonical form and the signature, against botocore's signer as an oracle."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from quorate.security.signing import Scope, authorization, canonical_request, digest_of, sign

TIMESTAMP = "20261123T160000Z"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # AWS's own example
HOST = "127.0.0.1:8000"

token = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=12)
printable = st.text("".join(map(chr, range(32, 127))), max_size=30)
segment = st.sampled_from(["a", "b~c", ".", "..", "", "%20", "x%2Fy", "é", "a b", "=", "+"])


def by_botocore(
    method: str, target: str, headers: dict[str, str], body: bytes, region: str
) -> tuple[str, str]:
    """Return the canonical request and the Authorization header that botocore makes."""
    signer = SigV4Auth(Credentials("AKID", SECRET), "dynamodb", region)
    request = AWSRequest(method, f"http://{HOST}{target}", headers, body)
    request.context["timestamp"] = TIMESTAMP
    request.headers["X-Amz-Date"] = TIMESTAMP
    canonical = signer.canonical_request(request)
    signer._inject_signature_to_request(  # type: ignore[attr-defined]
        request, signer.signature(signer.string_to_sign(request, canonical), request)
    )
    return canonical, request.headers["Authorization"]


def by_us(
    method: str, target: str, headers: dict[str, str], body: bytes, region: str
) -> tuple[str, str]:
    fields = {name.lower().encode(): value.encode() for name, value in headers.items()}
    fields |= {b"host": HOST.encode(), b"x-amz-date": TIMESTAMP.encode()}
    names = sorted(fields)
    digest = digest_of(body)
    canonical = canonical_request(method.encode(), target.encode(), fields, names, digest)
    scope = Scope(TIMESTAMP[:8], region, "dynamodb")
    signature = sign(SECRET, scope, TIMESTAMP, canonical)
    return canonical.decode(), authorization("AKID", scope, names, signature)


@given(
    method=st.sampled_from(["POST", "GET"]),
    segments=st.lists(segment, max_size=5),
    slash=st.booleans(),
    names=st.dictionaries(token.map(lambda name: f"x-amz-meta-{name}"), printable, max_size=5),
    body=st.binary(max_size=200),
    region=token,
)
@example(method="POST", segments=[], slash=True, names={}, body=b"{}", region="local")
@example(
    method="POST",
    segments=["..", "a", "", "b", "..", ""],
    slash=True,
    names={"x-amz-meta-a": "  two   blanks  "},
    body=b"",
    region="us-east-1",
)
def test_requests_are_signed_as_botocore_signs_them(
    *,
    method: str,
    segments: list[str],
    slash: bool,
    names: dict[str, str],
    body: bytes,
    region: str,
) -> None:
    target = "/" + "/".join(quote(part, safe="%~") for part in segments) + "/" * slash

    ours = by_us(method, target, names, body, region)

    assert ours == by_botocore(method, target, names, body, region)


@given(parameters=st.dictionaries(printable.filter(bool), printable, max_size=4))
def test_query_is_signed_as_botocore_signs_it(parameters: dict[str, str]) -> None:
    pairs = [
        f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in parameters.items()
    ]
    target = "/" + ("?" + "&".join(pairs) if pairs else "")

    assert by_us("GET", target, {}, b"", "local") == by_botocore("GET", target, {}, b"", "local")


@pytest.mark.parametrize(
    ("query", "canonical"),
    [
        (b"b=2&a=1", b"a=1&b=2"),
        (b"a=2&a=1", b"a=1&a=2"),
        (b"a", b"a="),
        (b"a=%7e%2f", b"a=~%2F"),
        (b"a=b=c", b"a=b%3Dc"),
    ],
)
def test_query_has_one_canonical_form(query: bytes, canonical: bytes) -> None:
    request = canonical_request(b"GET", b"/?" + query, {b"host": b"h"}, [b"host"], digest_of(b""))
    lines = request.split(b"\n")

    assert lines[2] == canonical


def test_example_of_the_aws_documentation() -> None:
    """Source: AWS General Reference, "Examples of how to derive a signing key", and its request."""
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        b"content-type": b"application/x-www-form-urlencoded; charset=utf-8",
        b"host": b"iam.amazonaws.com",
        b"x-amz-date": now.encode(),
    }
    target = b"/?Action=ListUsers&Version=2010-05-08"
    canonical = canonical_request(b"GET", target, headers, sorted(headers), digest_of(b""))

    signature = sign(SECRET, Scope("20150830", "us-east-1", "iam"), now, canonical)

    assert signature == "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
