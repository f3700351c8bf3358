"""Which poller gRPC uses. Call `choose_poller` before grpc is first imported."""

from __future__ import annotations

import os
import sys
from typing import Final

EXPERIMENTS: Final = "-event_engine_client,-event_engine_listener"
"""grpcio 1.85's older poller. Its event engine costs a stream round trip 200 us of CPU instead of
130, and a fifth of the throughput at one connection (measured; see docs/decisions/0006)."""


def choose_poller() -> None:
    """Set gRPC's experiments, unless the user has set them or gRPC is already there."""
    if "grpc" not in sys.modules:
        os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
