"""gRPC servers whose certificate may change: each new connection gets the newest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc

from quorate.security.watched_files import Expiring, WatchedFiles

T = TypeVar("T", bound=Expiring)


def renewed_credentials(
    files: WatchedFiles[T],
    configuration: Callable[[T], grpc.ServerCertificateConfiguration],
    *,
    clients_show_certificates: bool,
) -> grpc.ServerCredentials:
    """Return credentials that are always the newest; gRPC takes nothing older than TLS 1.2."""
    shown = files.current

    def newer() -> grpc.ServerCertificateConfiguration | None:
        # Called by gRPC's threads at each connection; None leaves things as they are.
        nonlocal shown
        if files.current is shown:
            return None
        shown = files.current
        return configuration(shown)

    return grpc.dynamic_ssl_server_credentials(
        configuration(shown),
        newer,  # type: ignore[arg-type]  # the stubs do not know that it may return None
        require_client_authentication=clients_show_certificates,
    )
