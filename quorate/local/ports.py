"""Where local processes can listen: free ports outside the kernel's ephemeral range.

A port inside that range may be taken at any moment by some program's outgoing connection, so a
cluster that remembers such a port may find it busy at its next start.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

PORT_MIN: Final = 10_000
PORT_MAX: Final = 30_000
"""Bounds of the ports given to nodes: above the well-known ones. Ours."""

EPHEMERAL_RANGE_DEFAULT: Final = (32_768, 60_999)
"""What Linux uses unless it was changed. Source: kernel documentation, ip_local_port_range."""

EPHEMERAL_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


class PortUnusable(Exception):
    """A port that was asked for cannot be listened on; the text is one sentence."""


def ephemeral_range(file: Path = EPHEMERAL_RANGE_FILE) -> tuple[int, int]:
    """Return the kernel's ephemeral ports [low, high], the default where it does not say."""
    try:
        low, high = file.read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return EPHEMERAL_RANGE_DEFAULT


def try_listen(host: str, port: int) -> OSError | None:
    """Return why nobody could listen there now, or None if it would work."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections in TIME_WAIT do not matter, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error
    return None


def check_port(host: str, port: int, *, purpose: str, setting: str) -> None:
    """Raise PortUnusable, naming the setting to change, if `port` cannot be listened on."""
    error = try_listen(host, port)
    if error is None:
        return
    if error.errno == errno.EADDRINUSE:
        raise PortUnusable(
            f"port {port} ({purpose}) is in use by another program: stop it, or set {setting}"
        )
    raise PortUnusable(
        f"port {port} ({purpose}) cannot be used ({error.strerror}): set {setting} to another one"
    )


def choose_ports(
    count: int,
    *,
    start: int,
    is_free: Callable[[int], bool],
    ephemeral: tuple[int, int],
    taken: Iterable[int] = (),
) -> list[int]:
    """Return `count` usable ports, looking upwards from `start` and around.

    Raises PortUnusable if there are not enough. `taken` are ports already given away.
    """
    assert PORT_MIN <= start < PORT_MAX
    refused = set(taken)
    chosen: list[int] = []
    span = PORT_MAX - PORT_MIN
    for step in range(span):
        if len(chosen) == count:
            return chosen
        port = PORT_MIN + (start - PORT_MIN + step) % span
        if ephemeral[0] <= port <= ephemeral[1] or port in refused or not is_free(port):
            continue
        chosen.append(port)
    if len(chosen) == count:
        return chosen
    raise PortUnusable(
        f"there are not {count} free ports between {PORT_MIN} and {PORT_MAX} outside the ephemeral"
        f" range {ephemeral[0]}-{ephemeral[1]}"
    )
