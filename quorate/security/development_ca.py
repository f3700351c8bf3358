"""Certificates signed by an authority that lies next to them: of a cluster's processes, of hosts.

Whoever reads the authority's key can sign for any of them: keep it on no machine of the cluster.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from quorate.security.cluster_certificate import ClusterPaths
from quorate.security.cluster_roles import Caller, NoRole, Role, names_of
from quorate.security.private_file import (
    PrivateFileRefused,
    create_private_file,
    read_private_file,
)

VALID_SECONDS: Final = 397 * 86_400.0
"""How long certificates are valid. Ours: the most that browsers take."""

AUTHORITY_VALID_SECONDS: Final = 3_653 * 86_400.0
"""How long a cluster's authority is valid. Ours: ten years, as CockroachDB's."""

BACKDATED_SECONDS: Final = 3_600.0
"""Certificates begin so long before they are made. Ours: for machines whose clocks are late."""

PEM_BYTES_MAX: Final = 1 << 16
"""Longest key that is read. Ours."""


class AuthorityRefused(Exception):
    """The folder or a host cannot be used; the text is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class DevelopmentFiles:
    """What clients are given (`ca`), and what a server is given. All are PEM."""

    ca: Path
    certificate: Path
    key: Path


def make_development_certificate(
    folder: Path, hosts: Sequence[str], seconds: float, *, valid_seconds: float = VALID_SECONDS
) -> DevelopmentFiles:
    """Make a certificate for names and addresses, valid so long from `seconds` after 1970 on.

    The folder's authority signs it, and is made if there is none; the folder's older certificate
    is replaced. Raises AuthorityRefused or OSError.
    """
    files = DevelopmentFiles(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    names = [_general_name(host) for host in hosts]
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "ca.key").exists():
        _make_authority(folder, "Quorate development CA", seconds, VALID_SECONDS)
    authority = _read_authority(folder)
    certificate, key = authority.issue(
        hosts[0], names, (ExtendedKeyUsageOID.SERVER_AUTH,), seconds, valid_seconds
    )
    _write(files.certificate, files.key, certificate, key)
    return files


def cluster_paths(folder: Path, role: Role, name: str = "") -> ClusterPaths:
    """Return where the certificate of a role, or of one node, lies in a folder."""
    stem = f"node-{name}" if role is Role.NODE else role.value
    return ClusterPaths(
        ca=folder / "ca.crt", certificate=folder / f"{stem}.crt", key=folder / f"{stem}.key"
    )


def make_cluster_authority(
    folder: Path, cluster_id: str, seconds: float, *, valid_seconds: float = AUTHORITY_VALID_SECONDS
) -> Path:
    """Make ca.crt and ca.key, valid so long from `seconds` after 1970 on; return the former.

    Raises AuthorityRefused if there is one, or OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in (folder / "ca.key", folder / "ca.crt"):
        if path.exists():
            raise AuthorityRefused(f"{path} is there already: it is never overwritten")
    _make_authority(folder, f"Quorate CA of {cluster_id}", seconds, valid_seconds)
    return folder / "ca.crt"


def make_cluster_certificate(
    folder: Path,
    owner: Caller,
    seconds: float,
    *,
    valid_seconds: float = VALID_SECONDS,
    overwrite: bool = False,
) -> ClusterPaths:
    """Make a certificate of a cluster's process, signed by the folder's authority.

    It is valid so long from `seconds` after 1970 on. Raises AuthorityRefused or OSError.
    """
    paths = cluster_paths(folder, owner.role, owner.name)
    try:
        names = [x509.DNSName(name) for name in names_of(owner)]
    except NoRole as refusal:
        raise AuthorityRefused(str(refusal)) from None
    for path in (paths.certificate, paths.key):
        if path.exists() and not overwrite:
            raise AuthorityRefused(f"{path} is there already: --overwrite makes a new one")
    if not (folder / "ca.key").exists():
        raise AuthorityRefused(f"there is no ca.key in {folder}: quorate cert create-ca makes one")
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if owner.role is Role.NODE:  # nobody else may pass for a node
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    authority = _read_authority(folder)
    certificate, key = authority.issue(str(owner), names, usages, seconds, valid_seconds)
    _write(paths.certificate, paths.key, certificate, key)
    return paths


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(
        self,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usages: Sequence[x509.ObjectIdentifier],
        seconds: float,
        valid_seconds: float,
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Return a new certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(common_name), key, seconds, valid_seconds)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_issuer(self.key), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate, key


def _make_authority(folder: Path, common_name: str, seconds: float, valid_seconds: float) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    certificate = (
        _builder(name, key, seconds, valid_seconds)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "ca.crt", folder / "ca.key", certificate, key)


def _read_authority(folder: Path) -> _Authority:
    path, key_path = folder / "ca.crt", folder / "ca.key"
    try:
        pem = read_private_file(key_path, what="authority's key", bytes_max=PEM_BYTES_MAX)
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        found = load_pem_private_key(pem, password=None)
    except PrivateFileRefused as refusal:
        raise AuthorityRefused(str(refusal)) from None
    except (ValueError, TypeError):
        raise AuthorityRefused(f"{key_path} and {path} are not an authority's") from None
    if (
        not isinstance(found, ec.EllipticCurvePrivateKey)
        or found.public_key() != certificate.public_key()
    ):
        raise AuthorityRefused(f"{key_path} and {path} were not made by this command")
    return _Authority(certificate, found)


def _builder(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, seconds: float, valid_seconds: float
) -> x509.CertificateBuilder:
    """Return what all certificates have, but for the issuer."""
    made = datetime.fromtimestamp(seconds, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(made - timedelta(seconds=BACKDATED_SECONDS))
        .not_valid_after(made + timedelta(seconds=valid_seconds))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _issuer(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # 64: RFC 5280


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise AuthorityRefused(f"{host!r} is neither a host's name nor an address") from None


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(
    path: Path, key_path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    """Put a pair in place of an older one, the certificate last, each file as a whole."""
    new = key_path.with_name(f"{key_path.name}.new")
    new.unlink(missing_ok=True)
    create_private_file(new, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    new.replace(key_path)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(certificate.public_bytes(Encoding.PEM))
    new.replace(path)
