"""What a process shows to the others of its cluster, and by which authorities it knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from quorate.security.certificate_pair import (
    CertificateRefused,
    load_certificate_pair,
    load_certificates,
)
from quorate.security.cluster_roles import Caller, NoRole, Role, caller_of
from quorate.security.watched_files import WatchedFiles

CALLERS_MAX: Final = 1_024
"""Most certificates of callers whose names are remembered. Ours: more than a cluster has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPaths:
    """Three PEM files: authorities, several while they change; a certificate and chain; its key."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def given(
        cls, ca: Path | None, certificate: Path | None, key: Path | None
    ) -> ClusterPaths | None:
        """Return the three files, or None if none is given. Raises CertificateRefused."""
        if ca is None and certificate is None and key is None:
            return None
        if ca is None or certificate is None or key is None:
            raise CertificateRefused(
                "--cluster-ca, --cluster-cert and --cluster-key belong together"
            )
        return cls(ca=ca, certificate=certificate, key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCertificate:
    """What the files held, all PEM, and whose it is. `expires` is in seconds after 1970."""

    owner: Caller
    authorities: bytes
    chain: bytes
    key: bytes = field(repr=False)
    expires: float


def load_cluster_certificate(
    paths: ClusterPaths, expected: Caller | Role, seconds: float
) -> ClusterCertificate:
    """Read the files, `seconds` after 1970, of a process that is `expected`, or of any of a role.

    Raises CertificateRefused for what nobody in the cluster would take: besides a pair that no
    server may show, a certificate of none of the authorities, or of another role, name or cluster.
    """
    pair = load_certificate_pair(paths.certificate, paths.key, seconds)
    authorities, bundle = load_certificates(paths.ca, "certificate authority")
    if not _is_issued_by(pair.certificates, bundle):
        raise CertificateRefused(
            f"the certificate {paths.certificate} is signed by no authority in {paths.ca}"
        )
    try:
        found = caller_of(_dns_names(pair.certificates[0]))
    except NoRole as refusal:
        raise CertificateRefused(
            f"{paths.certificate} is no certificate of a cluster: {refusal}"
        ) from None
    if expected not in (found, found.role):
        raise CertificateRefused(
            f"{paths.certificate} is the certificate of {found}, not of {_said(expected)}"
        )
    return ClusterCertificate(
        owner=found, authorities=authorities, chain=pair.chain, key=pair.key, expires=pair.expires
    )


def _said(expected: Caller | Role) -> str:
    return expected.value if isinstance(expected, Role) else str(expected)


def _is_issued_by(
    chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]
) -> bool:
    """Return whether each certificate is signed by the next one, and one by an authority."""
    for certificate, issuer in zip(chain, (*chain[1:], None), strict=True):
        if any(_is_signed_by(certificate, authority) for authority in authorities):
            return True
        if issuer is None or not _is_signed_by(certificate, issuer):
            return False
    return False


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.value.get_values_for_type(x509.DNSName)


@lru_cache(maxsize=CALLERS_MAX)
def dns_names_of_pem(pem: bytes) -> tuple[str, ...]:
    """Return the DNS names in a certificate, and no names of another type; none if it has none."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        return ()
    return tuple(_dns_names(certificate))


class ClusterFiles(WatchedFiles[ClusterCertificate]):
    """The three files of a process, read again when they change."""

    def __init__(
        self, paths: ClusterPaths, owner: Caller | Role, wall_clock: Callable[[], float]
    ) -> None:
        """Read the files. `wall_clock` gives seconds after 1970. Raises CertificateRefused."""
        super().__init__(
            paths.certificate,
            paths.key,
            paths.ca,
            load=partial(load_cluster_certificate, paths, owner),
            wall_clock=wall_clock,
        )
