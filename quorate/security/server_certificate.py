"""The certificate that a server shows to clients: read, judged, and read again when it changes."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from quorate.security.private_file import PrivateFileRefused, read_private_file

log = logging.getLogger(__name__)

PEM_BYTES_MAX: Final = 1 << 20
"""Longest file that is read. Ours: a chain has some ten kilobytes."""

WARNING_SECONDS: Final = 14 * 86_400
"""A certificate that ends so soon is warned about. Ours: time for a person to act."""

WARNING_PAUSE_SECONDS: Final = 86_400
"""Between two warnings about one certificate. Ours."""

Stamp = tuple[tuple[int, int], ...]


class CertificateRefused(Exception):
    """The pair of files cannot be served; the text is one sentence, without anything of the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """A certificate with its chain and its key, both PEM, and the context that serves them.

    `expires` is in seconds after 1970.
    """

    chain: bytes
    key: bytes = field(repr=False)
    context: ssl.SSLContext
    expires: float


def load_server_certificate(
    certificate_path: Path, key_path: Path, seconds: float
) -> ServerCertificate:
    """Read a pair of files, `seconds` after 1970. Raises CertificateRefused.

    The key must be its owner's alone and belong to the first certificate of the chain, and that
    must be valid now: no client that verifies would take it otherwise.
    """
    try:
        with certificate_path.open("rb") as file:
            chain = file.read(PEM_BYTES_MAX)
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except OSError as error:
        raise CertificateRefused(
            f"cannot read the certificate {certificate_path}: {error.strerror}"
        ) from None
    except ValueError:
        raise CertificateRefused(f"{certificate_path} holds no certificate in PEM") from None
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
    return ServerCertificate(
        chain=chain,
        key=key_pem,
        context=_context(certificate_path, key_path),
        expires=ends.timestamp(),
    )


def _private_key(path: Path, pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateRefused(f"the TLS key {path} is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateRefused(f"{path} holds no private key in PEM") from None


def _context(certificate_path: Path, key_path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # TLS 1.2's, which costs a client less than us
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A password would be asked for on the terminal; that the key has none was seen above, but
        # the files may have changed since.
        context.load_cert_chain(certificate_path, key_path, password="")
    except (OSError, ValueError) as error:
        raise CertificateRefused(f"{certificate_path} cannot be served: {error}") from None
    return context


class CertificateFiles:
    """A pair of files whose newest good content is `current`."""

    def __init__(
        self, certificate_path: Path, key_path: Path, wall_clock: Callable[[], float]
    ) -> None:
        """Read the files. `wall_clock` gives seconds after 1970. Raises CertificateRefused."""
        self._paths = (certificate_path, key_path)
        self._wall_clock = wall_clock
        self._stamp = self._read_stamp()  # before the files: what changes meanwhile is seen later
        self._next_warning = 0.0
        self.current = load_server_certificate(*self._paths, wall_clock())
        self._warn_of_end()

    def refresh(self) -> None:
        """Take what the files hold now, if they have changed; what is broken is logged, not taken.

        To be called every few seconds: changes are seen by the files' times and inodes.
        """
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self.current = load_server_certificate(*self._paths, self._wall_clock())
            except CertificateRefused as refusal:
                log.error("the old certificate stays in use: %s", refusal)  # noqa: TRY400  (the sentence says it)
            else:
                self._next_warning = 0.0
                log.info("new certificate, valid until %s", _date(self.current.expires))
        self._warn_of_end()

    def _warn_of_end(self) -> None:
        now = self._wall_clock()
        if now > self.current.expires - WARNING_SECONDS and now >= self._next_warning:
            self._next_warning = now + WARNING_PAUSE_SECONDS
            log.warning(
                "the certificate %s ends on %s", self._paths[0], _date(self.current.expires)
            )

    def _read_stamp(self) -> Stamp:
        """Return what changes when a file does; a file that is not there has a stamp, too."""
        stamps = []
        for path in self._paths:
            try:
                status = path.stat()
            except OSError:
                stamps.append((0, 0))
            else:
                stamps.append((status.st_mtime_ns, status.st_ino))
        return tuple(stamps)


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%F %T} UTC"
