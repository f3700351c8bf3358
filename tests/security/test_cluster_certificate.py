"""The certificate for a cluster's other processes: what is refused, and what is read anew."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from quorate.cluster.channels import Dialer
from quorate.security.certificate_pair import CertificateRefused
from quorate.security.cluster_certificate import (
    ClusterFiles,
    ClusterPaths,
    load_cluster_certificate,
)
from quorate.security.cluster_roles import Caller, Role
from quorate.security.development_ca import (
    AuthorityRefused,
    make_cluster_authority,
    make_cluster_certificate,
)

NOW = 1_800_000_000.0
DAY = 86_400.0
A1 = Caller(Role.NODE, "prod", "a1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "certs"
    make_cluster_authority(made, "prod", NOW)
    return made


@pytest.fixture
def paths(folder: Path) -> ClusterPaths:
    return make_cluster_certificate(folder, A1, NOW, valid_seconds=30 * DAY)


def refusal(paths: ClusterPaths, expected: Caller | Role = A1, seconds: float = NOW) -> str:
    with pytest.raises(CertificateRefused) as refused:
        load_cluster_certificate(paths, expected, seconds)
    assert paths.key.read_text().split("\n")[1] not in str(refused.value)
    return str(refused.value)


def test_good_files_are_loaded_and_show_no_key(paths: ClusterPaths) -> None:
    loaded = load_cluster_certificate(paths, A1, NOW)

    assert loaded.owner == A1
    assert loaded.expires == NOW + 30 * DAY
    assert loaded.authorities == paths.ca.read_bytes()
    assert "PRIVATE" not in repr(loaded)
    assert load_cluster_certificate(paths, Role.NODE, NOW).owner == A1
    assert paths.key.stat().st_mode & 0o777 == 0o600
    assert (paths.ca.parent / "ca.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("expected", "sentence"),
    [
        (Caller(Role.NODE, "prod", "b1"), "of node a1 of cluster prod, not of node b1 of"),
        (
            Caller(Role.NODE, "test", "a1"),
            "of node a1 of cluster prod, not of node a1 of cluster t",
        ),
        (Caller(Role.ROUTER, "prod"), "of node a1 of cluster prod, not of router of cluster prod"),
        (Role.ADMIN, "of node a1 of cluster prod, not of admin"),
    ],
)
def test_anothers_certificate_is_refused(
    paths: ClusterPaths, expected: Caller | Role, sentence: str
) -> None:
    assert sentence in refusal(paths, expected)


def test_what_no_peer_would_take_is_refused(paths: ClusterPaths, tmp_path: Path) -> None:
    assert "expired on" in refusal(paths, seconds=NOW + 31 * DAY)
    assert "is not valid before" in refusal(paths, seconds=NOW - DAY)

    other = tmp_path / "other"
    stranger = make_cluster_authority(other, "prod", NOW)
    mixed = ClusterPaths(ca=stranger, certificate=paths.certificate, key=paths.key)
    assert (
        refusal(mixed)
        == f"the certificate {paths.certificate} is signed by no authority in {stranger}"
    )
    keyless = ClusterPaths(ca=paths.ca, certificate=paths.certificate, key=other / "ca.key")
    assert "does not belong to the certificate" in refusal(keyless)
    plain = ClusterPaths(ca=paths.ca, certificate=paths.ca, key=paths.ca.parent / "ca.key")
    assert "is no certificate of a cluster: the certificate names 0 roles" in refusal(plain)
    missing = ClusterPaths(ca=tmp_path / "none", certificate=paths.certificate, key=paths.key)
    assert "cannot read the certificate authority" in refusal(missing)
    paths.key.chmod(0o644)
    assert "is open to others: chmod 600 it" in refusal(paths)


def test_authority_may_have_signed_by_way_of_another(
    folder: Path, paths: ClusterPaths, tmp_path: Path
) -> None:
    """The chain leads to it; without the link in the middle nobody could tell."""
    root = make_cluster_authority(tmp_path / "root", "prod", NOW)
    root_key = load_pem_private_key((tmp_path / "root/ca.key").read_bytes(), password=None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    middle = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signed = (
        x509.CertificateBuilder()
        .subject_name(middle.subject)
        .issuer_name(x509.load_pem_x509_certificate(root.read_bytes()).subject)
        .public_key(middle.public_key())
        .serial_number(1)
        .not_valid_before(middle.not_valid_before_utc)
        .not_valid_after(middle.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(root_key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    alone = ClusterPaths(ca=root, certificate=paths.certificate, key=paths.key)
    assert "is signed by no authority in" in refusal(alone)

    leaf = paths.certificate.read_bytes()
    paths.certificate.write_bytes(leaf + signed)
    assert load_cluster_certificate(alone, A1, NOW).chain == leaf + signed
    paths.certificate.write_bytes(leaf + leaf)
    assert "is signed by no authority in" in refusal(alone)


def test_files_are_given_together_or_not_at_all(tmp_path: Path) -> None:
    assert ClusterPaths.given(None, None, None) is None
    with pytest.raises(CertificateRefused, match="belong together"):
        ClusterPaths.given(tmp_path, None, tmp_path)


def test_nothing_is_overwritten_unless_told(folder: Path, paths: ClusterPaths) -> None:
    with pytest.raises(AuthorityRefused, match=r"ca.key is there already: it is never overwritten"):
        make_cluster_authority(folder, "prod", NOW)
    before = paths.certificate.read_bytes()
    with pytest.raises(AuthorityRefused, match="--overwrite makes a new one"):
        make_cluster_certificate(folder, A1, NOW)
    assert paths.certificate.read_bytes() == before
    make_cluster_certificate(folder, A1, NOW, overwrite=True)
    assert paths.certificate.read_bytes() != before
    with pytest.raises(AuthorityRefused, match=r"create-ca makes one"):
        make_cluster_certificate(folder / "none", A1, NOW)


def test_authority_is_changed_by_way_of_a_bundle(
    folder: Path, paths: ClusterPaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Old and new together; then new certificates; then the new one alone."""
    caplog.set_level(logging.INFO)
    files = ClusterFiles(paths, A1, lambda: NOW)
    dialer = Dialer(files)
    first = dialer.credentials
    assert dialer.credentials is first
    new = tmp_path / "new"
    new_ca = make_cluster_authority(new, "prod", NOW)
    renewed = make_cluster_certificate(new, A1, NOW)

    shutil.copy(renewed.certificate, paths.certificate)
    shutil.copy(renewed.key, paths.key)
    files.refresh()
    assert "old_certificate_stays" in caplog.text, "nobody would know the new one yet"
    assert dialer.credentials is first

    paths.ca.write_bytes(paths.ca.read_bytes() + new_ca.read_bytes())
    files.refresh()
    assert dialer.credentials is not first
    assert files.current.authorities.count(b"BEGIN CERTIFICATE") == 2

    paths.ca.write_bytes(new_ca.read_bytes())
    files.refresh()
    assert files.current.authorities == new_ca.read_bytes()
