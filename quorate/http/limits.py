"""What a client of an HTTP face may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Sizes in bytes, times in seconds. Source: reliability goals of the project.

    A network is an address; of IPv6, where a host has as many as it likes, the 64 bits before it.
    """

    header_bytes_max: int = 16 << 10
    headers_max: int = 100
    body_bytes_max: int = 16 << 20
    body_bytes_small: int = 16 << 10  # up to which a body has its place whatever the others do
    body_bytes_per_network_max: int = 128 << 20  # of bodies that are not small
    body_bytes_all_max: int = 256 << 20  # of these, of all connections together
    pipelined_max: int = 64
    connections_max: int = 8_192
    connections_per_network_max: int = 4_096
    handshake_seconds_max: float = 5.0  # TLS's
    header_seconds_max: float = 5.0
    body_seconds_max: float = 10.0
    body_bytes_per_second_min: int = 1 << 20  # beyond the seconds above
    idle_seconds_max: float = 60.0
    write_seconds_max: float = 10.0
    write_buffer_bytes: int = 256 << 10
    unsent_bytes_per_network_max: int = 256 << 20  # of answers larger than that
    unsent_bytes_all_max: int = 512 << 20  # of all connections together
