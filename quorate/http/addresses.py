"""`host:port` as people type it."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

PORT_MAX: Final = 65_535


class BadAddress(Exception):
    """The text is no `host:port`; the message says why."""


def split_address(text: str) -> tuple[str, int]:
    """Return host and port. An IPv6 address stands in brackets. Raises BadAddress."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise BadAddress(f"{text!r} is not of the form host:port")
    if not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise BadAddress(f"{text!r}: the port must be a number from 0 to {PORT_MAX}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a listener on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


NETWORK_BITS: Final = 64
"""Of an IPv6 address, what all addresses of one host share at least. Source: RFC 4291, 2.5.1."""


def network_of(address: str) -> str:
    """Return what an address is counted under: itself, or the /64 that an IPv6 one is from."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, NETWORK_BITS), strict=False))


def check_free(host: str, port: int) -> None:
    """Raise OSError with the system's reason if the address cannot be listened on now."""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
