"""What a router is started with. No grpc here, so that the command line stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REQUEST_TIMEOUT_MS_DEFAULT: Final = 4_000
"""Time a request may take before its caller is told so, milliseconds. Ours."""

CONNECTIONS_MAX_DEFAULT: Final = 8_192
"""Most open HTTP connections. Ours; bounded further by the process's limit of open files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterOptions:
    """One router process. Addresses are `host:port`; port 0 takes any free one.

    `az` is preferred for eventually consistent reads; `nodes` are the addresses to learn the
    catalog from. `insecure` allows listening elsewhere than on loopback although credentials are
    not verified. `cors_origins` are the web origins whose pages may call this router.
    """

    name: str
    az: str
    http: str
    grpc: str
    admin: str
    cluster_id: str
    nodes: tuple[str, ...]
    request_timeout_ms: int = REQUEST_TIMEOUT_MS_DEFAULT
    connections_max: int = CONNECTIONS_MAX_DEFAULT
    insecure: bool = False
    cors_origins: tuple[str, ...] = ()
    log_level: str = "info"
