"""The certificate that a router shows to clients, and the context that serves it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from quorate.security.certificate_pair import CertificateRefused, load_certificate_pair
from quorate.security.watched_files import WatchedFiles


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
    """Read a pair of files, `seconds` after 1970. Raises CertificateRefused."""
    pair = load_certificate_pair(certificate_path, key_path, seconds)
    return ServerCertificate(
        chain=pair.chain,
        key=pair.key,
        context=_context(certificate_path, key_path),
        expires=pair.expires,
    )


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


class CertificateFiles(WatchedFiles[ServerCertificate]):
    """A certificate and its key, read again when they change."""

    def __init__(
        self, certificate_path: Path, key_path: Path, wall_clock: Callable[[], float]
    ) -> None:
        """Read the files. `wall_clock` gives seconds after 1970. Raises CertificateRefused."""
        load = partial(load_server_certificate, certificate_path, key_path)
        super().__init__(certificate_path, key_path, load=load, wall_clock=wall_clock)
