"""Channels to routers: plain, or TLS with the authorities that the caller trusts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

CA_VARIABLE: Final = "QUORATE_TLS_CA"
"""Environment variable that names the file of authorities, for who gives none."""

MESSAGE_BYTES_MAX: Final = 64 << 20
"""Largest message received. Ours: a router may answer many 1 MB pages in one message."""

CHANNEL_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),  # the cluster is not behind the machine's web proxy
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),  # the default of two minutes would outlast a failover
    ("grpc.dns_min_time_between_resolutions_ms", 500),  # by default a new address waits for 30 s
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)


class CertificateAuthorityRefused(ValueError):
    """The file that says whose certificates to trust cannot be used; the text says why."""


class Channels:
    """Opens channels, all in the same way."""

    def __init__(
        self,
        tls_ca: str | os.PathLike[str] | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Take a PEM file of authorities, else the environment's; without either, no TLS.

        Raises CertificateAuthorityRefused.
        """
        path = tls_ca or environment.get(CA_VARIABLE)
        self._tls: grpc.ChannelCredentials | None = None
        self._whom = "router"
        if path:
            try:
                pem = Path(path).read_bytes()
            except (OSError, TypeError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise CertificateAuthorityRefused(
                    f"cannot read the certificate authority {path!s:.200}: {reason}"
                ) from None
            if b"-----BEGIN CERTIFICATE-----" not in pem:
                raise CertificateAuthorityRefused(f"{path} holds no certificate in PEM")
            self._tls = grpc.ssl_channel_credentials(pem)
            self._whom = f"router with a certificate that {path} vouches for"

    def open(self, endpoint: str) -> grpc.aio.Channel:
        """Return a channel to host:port; the caller closes it."""
        if self._tls is None:
            return grpc.aio.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
        return grpc.aio.secure_channel(endpoint, self._tls, options=CHANNEL_OPTIONS)

    def nobody_at(self, endpoint: str) -> str:
        """Return the sentence for an endpoint that could not be connected to."""
        return f"no {self._whom} answers at {endpoint}"
