"""What gRPC takes from the environment alone. To be called before grpc is first imported."""

from __future__ import annotations

import os
import sys
from typing import Final

EXPERIMENTS: Final = "-event_engine_client,-event_engine_listener"
"""grpcio 1.85's older poller. Its event engine costs a stream round trip 200 us of CPU instead of
130, and a fifth of the throughput at one connection (measured; see docs/decisions/0006)."""

NO_CIPHERS_OF_TLS_1_2: Final = "ECDHE-PSK-AES128-CBC-SHA"
"""A cipher for keys shared before, of which there are none. TLS 1.3 has its own ciphers."""


def choose_poller() -> None:
    """Set gRPC's experiments, unless the user has set them or gRPC is already there."""
    if "grpc" not in sys.modules:
        os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)


def leave_forks_alone() -> None:
    """Turn off gRPC's handlers of forks, unless the user has set them or gRPC is already there.

    They start threads in the child, which end it with SIGSEGV at one fork in twelve if the parent
    was in a call. Source: gRPC's issue 13998, and grpcio 1.85 as seen.
    """
    if "grpc" not in sys.modules:
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")


def allow_only_tls_1_3() -> None:
    """Let no connection of this process agree on TLS 1.2: Python's gRPC has no option for it."""
    os.environ["GRPC_SSL_CIPHER_SUITES"] = NO_CIPHERS_OF_TLS_1_2
