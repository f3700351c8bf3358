"""What a router is started with. No grpc here, so that the command line stays quick."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quorate.security.cluster_certificate import ClusterPaths

REQUEST_TIMEOUT_MS_DEFAULT: Final = 4_000
"""Time a request may take before its caller is told so, milliseconds. Ours."""

CONNECTIONS_MAX_DEFAULT: Final = 8_192
"""Most open HTTP connections. Ours; bounded further by the process's limit of open files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterOptions:
    """One router process. Addresses are `host:port`; port 0 takes any free one.

    `az` is preferred for eventually consistent reads; `nodes` are the addresses to learn the
    catalog from. `cors_origins` are the web origins whose pages may call this router, and
    `probe_status` is what `GET /` answers.

    `key_file` is the cluster's; with it signatures are verified once there are users, and with
    `require_auth` always. `region` is the one that they must be for, None takes any. Listening
    elsewhere than on loopback needs `require_auth`, or `insecure` to say that this is wanted.

    With `tls_cert` and `tls_key`, PEM files, the public faces speak nothing but TLS. With
    `cluster_paths`, this router shows that certificate to nodes, and knows them by theirs.
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
    connections_per_network_max: int = 0  # 0 is half of those in all
    connection_age_seconds: int = 0  # 0: they may stay
    key_file: Path | None = None
    require_auth: bool = False
    region: str | None = None
    insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    cluster_paths: ClusterPaths | None = None
    cors_origins: tuple[str, ...] = ()
    probe_status: int = 200  # or 400
    reflection: bool = False  # whether gRPC tells what services there are
    log_level: str = "info"
    log_format: str = "auto"
    slow_request_ms: int = 1_000  # 0: none is logged as slow
