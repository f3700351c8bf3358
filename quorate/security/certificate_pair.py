"""A certificate and its key in two PEM files, read and judged: a server's or a client's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from quorate.security.private_file import PrivateFileRefused, read_private_file

PEM_BYTES_MAX: Final = 1 << 20
"""Longest file that is read. Ours: a chain has some ten kilobytes."""


class CertificateRefused(Exception):
    """The files cannot be used; the text is one sentence, without anything of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePair:
    """A certificate with its chain and its key, both PEM. `expires` is in seconds after 1970."""

    chain: bytes
    key: bytes = field(repr=False)
    certificates: Sequence[x509.Certificate]  # the chain's; the first is the certificate itself
    expires: float


def load_certificates(path: Path, what: str) -> tuple[bytes, list[x509.Certificate]]:
    """Return a file and the certificates in it, one at least. Raises CertificateRefused."""
    try:
        with path.open("rb") as file:
            pem = file.read(PEM_BYTES_MAX)
        return pem, x509.load_pem_x509_certificates(pem)
    except OSError as error:
        raise CertificateRefused(f"cannot read the {what} {path}: {error.strerror}") from None
    except ValueError:
        raise CertificateRefused(f"{path} holds no certificate in PEM") from None


def load_certificate_pair(
    certificate_path: Path, key_path: Path, seconds: float
) -> CertificatePair:
    """Read a pair of files, `seconds` after 1970. Raises CertificateRefused.

    The key must be its owner's alone and belong to the first certificate of the chain, and that
    must be valid now: nobody who verifies would take it otherwise.
    """
    chain, certificates = load_certificates(certificate_path, "certificate")
    leaf = certificates[0]
    try:
        key_pem = read_private_file(key_path, what="TLS key", bytes_max=PEM_BYTES_MAX)
    except PrivateFileRefused as refusal:
        raise CertificateRefused(str(refusal)) from None
    if _private_key(key_path, key_pem).public_key() != leaf.public_key():
        raise CertificateRefused(
            f"the TLS key {key_path} does not belong to the certificate {certificate_path}"
        )
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if seconds >= ends.timestamp():
        raise CertificateRefused(f"the certificate {certificate_path} expired on {ends:%F %T} UTC")
    if seconds < begins.timestamp():
        raise CertificateRefused(
            f"the certificate {certificate_path} is not valid before {begins:%F %T} UTC"
        )
    return CertificatePair(
        chain=chain, key=key_pem, certificates=certificates, expires=ends.timestamp()
    )


def _private_key(path: Path, pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateRefused(f"the TLS key {path} is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateRefused(f"{path} holds no private key in PEM") from None
