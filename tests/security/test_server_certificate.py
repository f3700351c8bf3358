"""The certificate for clients: what is refused with which sentence, and taking a new one."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from quorate.security.certificate_pair import CertificateRefused
from quorate.security.development_ca import (
    BACKDATED_SECONDS,
    AuthorityRefused,
    DevelopmentFiles,
    make_development_certificate,
)
from quorate.security.server_certificate import CertificateFiles, load_server_certificate
from quorate.security.watched_files import WARNING_PAUSE_SECONDS, WARNING_SECONDS

NOW = 1_800_000_000.0
DAY = 86_400.0


@pytest.fixture
def files(tmp_path: Path) -> DevelopmentFiles:
    return make_development_certificate(
        tmp_path / "tls", ["localhost", "::1"], NOW, valid_seconds=30 * DAY
    )


def refusal(files: DevelopmentFiles, seconds: float = NOW) -> str:
    with pytest.raises(CertificateRefused) as refused:
        load_server_certificate(files.certificate, files.key, seconds)
    assert files.key.read_text().split("\n")[1] not in str(refused.value)
    return str(refused.value)


def test_good_pair_is_loaded_and_shows_no_key(files: DevelopmentFiles) -> None:
    loaded = load_server_certificate(files.certificate, files.key, NOW)

    assert loaded.expires == NOW + 30 * DAY
    assert loaded.chain == files.certificate.read_bytes()
    assert loaded.key == files.key.read_bytes()
    assert "PRIVATE" not in repr(loaded)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622])
def test_key_that_others_may_touch_is_refused(files: DevelopmentFiles, mode: int) -> None:
    files.key.chmod(mode)

    assert refusal(files) == f"the TLS key {files.key} is open to others: chmod 600 it"


def test_files_that_are_not_there_are_named(files: DevelopmentFiles) -> None:
    files.key.unlink()
    with pytest.raises(CertificateRefused, match=r"cannot read the TLS key .*server\.key: No such"):
        load_server_certificate(files.certificate, files.key, NOW)
    files.certificate.unlink()
    with pytest.raises(CertificateRefused, match=r"cannot read the certificate .*: No such"):
        load_server_certificate(files.certificate, files.key, NOW)


def test_key_of_another_certificate_is_refused(files: DevelopmentFiles, tmp_path: Path) -> None:
    other = make_development_certificate(tmp_path / "other", ["localhost"], NOW)
    shutil.copy(other.key, files.key)

    assert "does not belong to the certificate" in refusal(files)


def test_certificate_is_refused_before_and_after_its_time(files: DevelopmentFiles) -> None:
    assert "expired on 2027-02-14 08:00:00 UTC" in refusal(files, NOW + 30 * DAY)
    assert "is not valid before 2027-01-15 07:00:00 UTC" in refusal(
        files, NOW - BACKDATED_SECONDS - 1
    )


def test_what_is_no_certificate_or_key_is_refused(files: DevelopmentFiles) -> None:
    key, certificate = files.key.read_bytes(), files.certificate.read_bytes()

    loaded = load_pem_private_key(key, password=None)
    files.key.write_bytes(
        loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    )
    assert "is encrypted" in refusal(files)
    files.key.write_bytes(b"neither\nnor\n")
    assert "holds no private key in PEM" in refusal(files)
    files.key.write_bytes(key)
    files.certificate.write_bytes(certificate[:200])
    assert "holds no certificate in PEM" in refusal(files)
    files.certificate.write_bytes(b"")
    assert "holds no certificate in PEM" in refusal(files)


def opened(files: DevelopmentFiles, clock: Callable[[], float]) -> CertificateFiles:
    return CertificateFiles(files.certificate, files.key, clock)


def test_new_files_are_taken_and_broken_ones_are_said_once(
    files: DevelopmentFiles, caplog: pytest.LogCaptureFixture
) -> None:
    watched = opened(files, lambda: NOW)
    first = watched.current
    watched.refresh()
    assert watched.current is first, "nothing changed"

    certificate = files.certificate.read_bytes()
    files.certificate.write_bytes(b"half a certif")
    for _ in range(3):
        watched.refresh()
    assert watched.current is first
    assert [record.message for record in caplog.records] == [
        f'old_certificate_stays because="{files.certificate} holds no certificate in PEM"'
    ]

    files.certificate.unlink()
    watched.refresh()
    assert watched.current is first
    files.certificate.write_bytes(certificate)
    watched.refresh()
    assert watched.current is not first
    assert watched.current.chain == certificate


def test_pair_is_taken_when_its_second_half_has_come(files: DevelopmentFiles) -> None:
    """Two files are not changed at one instant."""
    watched = opened(files, lambda: NOW)
    old_key = files.key.read_bytes()
    make_development_certificate(files.key.parent, ["localhost"], NOW)
    new_key = files.key.read_bytes()

    files.key.write_bytes(old_key)
    watched.refresh()
    assert watched.current.key == old_key
    files.key.write_bytes(new_key)
    os.utime(files.key, ns=(0, 1))  # some file systems' clocks are coarse
    watched.refresh()
    assert watched.current.key == new_key


def test_end_of_the_certificate_is_announced_every_day(
    files: DevelopmentFiles, caplog: pytest.LogCaptureFixture
) -> None:
    now = NOW
    watched = opened(files, lambda: now)
    assert not caplog.records
    now = watched.current.expires - WARNING_SECONDS + 1
    for _ in range(3):
        watched.refresh()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert 'server.crt on="2027-02-14' in caplog.text
    now += WARNING_PAUSE_SECONDS
    watched.refresh()
    assert len(caplog.records) == 2


def test_authority_is_kept_and_its_key_is_its_owners_alone(tmp_path: Path) -> None:
    first = make_development_certificate(tmp_path, ["a.example"], NOW)
    authority, certificate = first.ca.read_bytes(), first.certificate.read_bytes()
    again = make_development_certificate(tmp_path, ["b.example"], NOW)

    assert again.ca.read_bytes() == authority
    assert again.certificate.read_bytes() != certificate
    for key in (first.key, tmp_path / "ca.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {
        *("ca.crt", "ca.key", "server.crt", "server.key")
    }


def test_authority_that_is_none_is_refused(tmp_path: Path) -> None:
    make_development_certificate(tmp_path / "other", ["localhost"], NOW)
    files = make_development_certificate(tmp_path, ["localhost"], NOW)
    shutil.copy(tmp_path / "other" / "ca.crt", files.ca)
    with pytest.raises(AuthorityRefused, match="were not made by this command"):
        make_development_certificate(tmp_path, ["localhost"], NOW)
    files.ca.write_text("none")
    with pytest.raises(AuthorityRefused, match="are not an authority's"):
        make_development_certificate(tmp_path, ["localhost"], NOW)


def test_host_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuthorityRefused, match="neither a host's name nor an address"):
        make_development_certificate(tmp_path, ["bücher.example"], NOW)
