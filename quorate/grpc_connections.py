"""How many connections each network may have to a gRPC server of this process.

gRPC bounds their number, and takes whoever comes first. So its sockets are looked at, and what is
more than a network's share is closed, the newest first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections import defaultdict
from pathlib import Path
from typing import Final

from quorate.http.addresses import network_of

SWEEP_SECONDS: Final = 0.5
"""Between two looks. Ours."""

CLOSED_AT_ONCE_MAX: Final = 64
CLOSING_SECONDS: Final = 0.05
"""Most connections that one look closes, and how soon the next one follows. Ours: whoever is closed
comes again, and thousands at a time would take both processors from everybody."""

_OPEN_FILES: Final = Path("/proc/self/fd")


class GrpcConnections:
    """The connections to one port. `sweep` is for a thread: it makes system calls for each file."""

    def __init__(self, per_network_max: int) -> None:
        self._per_network_max = per_network_max
        self._known: dict[int, tuple[int, str, int]] = {}  # by inode: when seen, network, file
        self._sweeps = 0
        self.closed = 0  # for being too many

    async def sweep_forever(self, port: int) -> None:
        """Look some times a second, until cancelled."""
        pause_seconds = SWEEP_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            closed = self.closed
            await asyncio.to_thread(self.sweep, port)
            pause_seconds = SWEEP_SECONDS if self.closed == closed else CLOSING_SECONDS

    def sweep(self, port: int) -> None:
        """Close connections that are more than a network's share, some at a time."""
        self._sweeps += 1
        room = CLOSED_AT_ONCE_MAX
        by_network: dict[str, list[tuple[int, int]]] = defaultdict(list)
        known = self._known
        self._known = {}
        for entry in os.listdir(_OPEN_FILES):
            file = int(entry)
            try:
                status = os.fstat(file)
            except OSError:
                continue  # closed meanwhile
            if not stat.S_ISSOCK(status.st_mode):
                continue
            seen = known.get(status.st_ino)
            if seen is None or seen[2] != file:
                seen = self._sweeps, _network_at(file, port), file
            self._known[status.st_ino] = seen
            if seen[1]:
                by_network[seen[1]].append((seen[0], file))
        for network, connections in by_network.items():
            connections.sort()
            too_many = connections[self._per_network_max :][-room:] if room else []
            for _, file in too_many:
                self._close(file, port, network)
            room -= len(too_many)

    def _close(self, file: int, port: int, network: str) -> None:
        """Shut a connection; gRPC reads its end, and closes it."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(file)) as connection:
            # The file may be another one by now: it is looked at once more, as a copy of ours.
            if _network_of(connection, port) == network:
                connection.shutdown(socket.SHUT_RDWR)
                self.closed += 1


def _network_at(file: int, port: int) -> str:
    """Return from where a socket is connected to a port of this process, empty if it is not."""
    try:
        with socket.socket(fileno=os.dup(file)) as connection:
            return _network_of(connection, port)
    except OSError:
        return ""


def _network_of(connection: socket.socket, port: int) -> str:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    if connection.getsockname()[1] != port:
        return ""
    return network_of(str(connection.getpeername()[0]))
