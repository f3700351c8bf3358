"""Signatures: what is taken, and the precise refusal of everything else, in AWS's order.

"Row" is that of the table "Bad inputs for the router" in docs/SECURITY.md.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from hashlib import sha256

import pytest

from model.errors import (
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    ModelError,
    UnrecognizedClient,
)
from quorate.security import signing
from router.signature import SignatureCheck
from tests.router.signed import KEY_ID, SECRET, Signed, sign

NOW = 1_795_449_600.0  # 2026-11-23T16:00:00Z


def check(request: Signed, *, region: str | None = None, now: float = NOW) -> str:
    digest = signing.digest_of(request.body)
    return SignatureCheck(
        service="dynamodb",
        region=region,
        must_sign=(b"host", b"x-amz-target"),
        find_secret={KEY_ID: SECRET}.get,
        wall_clock=lambda: now,
    ).check(request.method.encode(), request.target.encode(), request.fields, digest)


def refused(request: Signed, *, region: str | None = None) -> ModelError:
    with pytest.raises(ModelError) as refusal:
        check(request, region=region)
    return refusal.value


def without(name: str) -> Callable[[str], str]:
    """Return what takes a parameter out of an Authorization header."""

    def change(header: str) -> str:
        algorithm, _, rest = header.partition(" ")
        parts = [part for part in rest.split(", ") if not part.startswith(name + "=")]
        return f"{algorithm} {', '.join(parts)}"

    return change


def unsigned(name: str) -> Signed:
    """Return a request whose signature, right in itself, does not cover a header."""
    request = sign(NOW)
    request.edit(
        "Authorization", lambda header: header.replace(f"{name};", "").replace(f";{name}", "")
    )
    return request


def test_signed_request_is_its_users() -> None:
    assert check(sign(NOW)) == KEY_ID


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00\xff" * 5000])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Amz-User-Agent": "  two   blanks  ", "Amz-Sdk-Request": "attempt=1; max=4"},
        {"Content-Encoding": "gzip"},
        {"Content-Length": "2", "Amz-Sdk-Invocation-Id": "6e9b2f5a-1111-2222-3333-444455556666"},
    ],
)
def test_every_header_that_a_client_signs_is_covered(body: bytes, headers: dict[str, str]) -> None:
    assert check(sign(NOW, body=body, headers=headers)) == KEY_ID


def test_hash_of_the_body_may_be_a_header_of_its_own() -> None:
    digest = sha256(b"{}").hexdigest()

    assert check(sign(NOW, headers={"X-Amz-Content-Sha256": digest})) == KEY_ID


@pytest.mark.parametrize("date", [formatdate(NOW, usegmt=True), "20261123T160000Z"])
def test_date_may_come_in_the_date_header(date: str) -> None:
    headers = {"Host": "h", "Date": date, "X-Amz-Target": "t"}
    fields = {name.lower().encode(): value.encode() for name, value in headers.items()}
    scope = signing.Scope("20261123", "r", "dynamodb")
    digest = signing.digest_of(b"{}")
    canonical = signing.canonical_request(b"POST", b"/", fields, sorted(fields), digest)
    signature = signing.sign(SECRET, scope, "20261123T160000Z", canonical)
    headers["Authorization"] = signing.authorization(KEY_ID, scope, sorted(fields), signature)

    assert check(Signed(headers)) == KEY_ID


def test_row_1_unsigned_request() -> None:
    request = sign(NOW)
    del request.headers["Authorization"]

    assert str(refused(request)) == "Request is missing Authentication Token"
    for other in ("Basic YTpi", "Bearer x", "", "AWS key:signature"):
        request.headers["Authorization"] = other
        assert isinstance(refused(request), MissingAuthenticationToken)


@pytest.mark.parametrize("name", ["Credential", "SignedHeaders", "Signature"])
def test_row_2_incomplete_authorization(name: str) -> None:
    request = sign(NOW)
    request.edit("Authorization", without(name))

    error = refused(request)

    assert isinstance(error, IncompleteSignature)
    assert str(error) == (
        f"Authorization header requires '{name}' parameter. Authorization=AWS4-HMAC-SHA256"
    )


def test_row_2_everything_missing_is_told_at_once() -> None:
    request = sign(NOW)
    request.headers["Authorization"] = "AWS4-HMAC-SHA256 "
    del request.headers["X-Amz-Date"]

    assert str(refused(request)) == (
        "Authorization header requires 'Credential' parameter. "
        "Authorization header requires 'Signature' parameter. "
        "Authorization header requires 'SignedHeaders' parameter. "
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
        "Authorization=AWS4-HMAC-SHA256"
    )


def test_row_2_parameter_without_a_value() -> None:
    request = sign(NOW)
    request.edit("Authorization", lambda header: header + ", Nonsense")

    error = refused(request)

    assert isinstance(error, IncompleteSignature)
    assert "'Nonsense' not a valid key=value pair (missing equal-sign)" in str(error)
    assert request.headers["Authorization"] not in str(error)


def test_row_2_other_algorithm() -> None:
    request = sign(NOW)
    request.edit("Authorization", lambda header: header.replace("SHA256", "SHA1"))

    error = refused(request)

    assert isinstance(error, IncompleteSignature)
    assert "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'" in str(error)


@pytest.mark.parametrize("credential", ["K", f"{KEY_ID}/20261123/r/dynamodb", "a/b/c/d/e/f"])
def test_row_2_credential_of_another_shape(credential: str) -> None:
    request = sign(NOW)
    request.edit(
        "Authorization", lambda header: f"{without('Credential')(header)}, Credential={credential}"
    )

    error = refused(request)

    assert isinstance(error, IncompleteSignature)
    assert str(error).endswith(f"got '{credential}'")


def test_row_3_unknown_access_key() -> None:
    error = refused(sign(NOW, key_id="QRTEBBBBBBBBBBBBBBBB"))

    assert isinstance(error, UnrecognizedClient)
    assert str(error) == "The security token included in the request is invalid."


def test_row_3_temporary_credentials_are_not_known_here() -> None:
    request = sign(NOW, headers={"X-Amz-Security-Token": "token"})

    assert isinstance(refused(request), UnrecognizedClient)


def test_row_4_wrong_secret() -> None:
    error = refused(sign(NOW, secret=SECRET + "x"))

    assert isinstance(error, InvalidSignature)
    assert str(error).startswith("The request signature we calculated does not match")


@pytest.mark.parametrize("signature", ["", "0" * 64, "é" * 64, "0" * 10_000])
def test_row_4_signature_that_is_none(signature: str) -> None:
    request = sign(NOW)
    request.edit(
        "Authorization", lambda header: f"{without('Signature')(header)}, Signature={signature}"
    )

    assert isinstance(refused(request), InvalidSignature if signature else IncompleteSignature)


def test_row_5_body_changed_after_signing() -> None:
    request = sign(NOW)
    request.body = b'{"Limit":1}'

    assert isinstance(refused(request), InvalidSignature)


@pytest.mark.parametrize("header", ["Host", "X-Amz-Target", "Content-Type"])
def test_row_5_signed_header_changed(header: str) -> None:
    request = sign(NOW)
    request.edit(header, lambda value: value + "s")

    assert isinstance(refused(request), InvalidSignature)


def test_row_5_signed_header_gone() -> None:
    request = sign(NOW, headers={"X-Amz-Meta": "a"})
    del request.headers["X-Amz-Meta"]

    error = refused(request)

    assert isinstance(error, IncompleteSignature)
    assert str(error) == (
        "'x-amz-meta' is named as a SignedHeader, but it does not exist in the HTTP request."
    )


@pytest.mark.parametrize(
    ("header", "shown"),
    [("host", "Host"), ("x-amz-date", "X-Amz-Date"), ("x-amz-target", "X-Amz-Target")],
)
def test_row_5_header_that_must_be_signed_is_not(header: str, shown: str) -> None:
    error = refused(unsigned(header))

    assert isinstance(error, InvalidSignature)
    assert str(error) == f"'{shown}' must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_row_5_method_changed(method: str) -> None:
    request = sign(NOW)
    request.method = method

    assert isinstance(refused(request), InvalidSignature)


@pytest.mark.parametrize("target", ["/x", "/?a=1"])
def test_row_5_target_changed(target: str) -> None:
    request = sign(NOW)
    request.target = target

    assert isinstance(refused(request), InvalidSignature)


@pytest.mark.parametrize("minutes", [-15, 0, 15])
def test_row_6_clock_that_is_a_quarter_of_an_hour_off_is_taken(minutes: int) -> None:
    assert check(sign(NOW + minutes * 60)) == KEY_ID


@pytest.mark.parametrize("seconds", [-15 * 60 - 1, -16 * 60, -9 * 365 * 86_400])
def test_row_6_old_request(seconds: int) -> None:
    request = sign(NOW + seconds)

    error = refused(request)

    assert isinstance(error, InvalidSignature)
    assert str(error) == (
        f"Signature expired: {request.headers['X-Amz-Date']} is now earlier than "
        "20261123T154500Z (20261123T160000Z - 15 min.)"
    )


@pytest.mark.parametrize("seconds", [15 * 60 + 1, 16 * 60, 994 * 365 * 86_400])
def test_row_6_request_from_the_future(seconds: int) -> None:
    request = sign(NOW + seconds)

    error = refused(request)

    assert isinstance(error, InvalidSignature)
    assert str(error) == (
        f"Signature not yet current: {request.headers['X-Amz-Date']} is still later than "
        "20261123T161500Z (20261123T160000Z + 15 min.)"
    )


@pytest.mark.parametrize(
    "date", ["yesterday", "2026-11-23T16:00:00Z", "20261123T160000", "20261399T999999Z", "٢" * 16]
)
def test_row_6_date_that_is_none(date: str) -> None:
    """AWS calls the format incomplete, not invalid."""
    request = sign(NOW)
    request.headers["X-Amz-Date"] = date

    error = refused(request)

    assert isinstance(error, IncompleteSignature)
    assert str(error).startswith("Date must be in ISO-8601 'basic format'. Got '")


def test_row_7_scope_of_another_region() -> None:
    assert check(sign(NOW, region="eu-west-1"), region="eu-west-1") == KEY_ID

    error = refused(sign(NOW, region="us-east-1"), region="eu-west-1")

    assert isinstance(error, InvalidSignature)
    assert str(error) == "Credential should be scoped to a valid region, not 'us-east-1'. "


def test_row_7_scope_of_another_service() -> None:
    error = refused(sign(NOW, service="s3"))

    assert isinstance(error, InvalidSignature)
    assert str(error) == "Credential should be scoped to correct service: 'dynamodb'. "


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "/20261123/",
            "/20261122/",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
            "from HTTP: '20261122' != '20261123', from '20261123T160000Z'.",
        ),
        (
            "/aws4_request",
            "/aws5_request",
            "Credential should be scoped with a valid terminator: 'aws4_request', "
            "not 'aws5_request'. ",
        ),
    ],
)
def test_row_7_scope_of_another_day_or_protocol(old: str, new: str, sentence: str) -> None:
    request = sign(NOW)
    request.edit("Authorization", lambda header: header.replace(old, new))

    error = refused(request)

    assert isinstance(error, InvalidSignature)
    assert str(error) == sentence


def test_row_8_replay_within_the_quarter_of_an_hour_is_taken() -> None:
    """SigV4 allows it to whoever can read the wire: TLS guards against that.

    Within a minute the request id, if the client gave one, makes a repeated write harmless.
    """
    request = sign(NOW)

    assert check(request) == check(request, now=NOW + 14 * 60) == KEY_ID


def test_row_9_signature_in_the_query() -> None:
    request = sign(NOW)
    request.target = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"
    error = refused(request)
    assert isinstance(error, InvalidSignature)
    assert "Found both 'X-Amz-Algorithm' as a query-string param" in str(error)

    del request.headers["Authorization"]
    assert isinstance(refused(request), MissingAuthenticationToken)


def test_row_9_two_authorization_headers() -> None:
    """The protocol joins the values of one name by a comma."""
    request = sign(NOW)
    request.edit("Authorization", lambda header: f"{header},{header}")

    assert isinstance(refused(request), IncompleteSignature)


def test_row_9_parameter_given_twice() -> None:
    request = sign(NOW)
    request.edit("Authorization", lambda header: f"{header}, Signature=0")

    assert isinstance(refused(request), IncompleteSignature)


@pytest.mark.parametrize("hash_", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"])
def test_body_that_is_not_covered_by_the_signature_is_refused(hash_: str) -> None:
    """Only S3 takes these. botocore signs the header's value in the place of the body's hash."""
    request = sign(NOW, headers={"X-Amz-Content-Sha256": hash_})

    assert isinstance(refused(request), InvalidSignature)
