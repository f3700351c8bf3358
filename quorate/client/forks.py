"""What a fork does to gRPC, and so to clients.

gRPC's threads do not live on in a child, but what they held does: used there, gRPC waits for ever.
So a process whose clients are all closed lets go of gRPC before it forks, and its children use it
as if for the first time. Where gRPC runs at the fork, the children are told so when they open a
client. gRPC's own handlers of forks are off (`grpc_settings.leave_forks_alone`).
"""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path
from typing import Final

from quorate.client.errors import Forked

THREADS: Final = ("default-executo", "event_engine", "grpc_", "lifeguard", "resolver-execut")
"""How the names of gRPC's threads begin, at most 15 characters. Source: grpcio 1.85, as seen."""

LET_GO_SECONDS: Final = 2.0
"""Longest wait at a fork until gRPC has ended its threads. Ours: it takes milliseconds."""

LOOK_SECONDS: Final = 0.001

POLLER: Final = "_poll_wrapper"
"""What gRPC's thread for asyncio runs, by which Python names it. Source: as above."""


class Forks:
    """This process's, for all clients: gRPC is one in a process, too."""

    def __init__(self) -> None:
        """Start as a process that was not forked."""
        self._generation = 0  # how many forks lie between the first process and this one
        self._open = 0  # clients
        self._is_used = False  # by us, since gRPC was last let go
        self._runs = False  # gRPC, at the newest fork
        self._is_cut_off = False  # gRPC ran when this process, or one before it, was forked

    def client_opens(self) -> int:
        """Return the generation that a client belongs to. Raises Forked if it could not work."""
        if self._is_cut_off:
            raise Forked(
                "this process was forked while its parent used gRPC, which cannot be used here any"
                " more: let the parent close its clients a moment before, open the first client"
                " after the fork, or start processes by spawn"
            )
        self._open += 1
        self._is_used = True
        return self._generation

    def client_closes(self, generation: int) -> None:
        """Forget a client; one of the parent's is the parent's."""
        if self.is_ours(generation):
            self._open -= 1

    def is_ours(self, generation: int) -> bool:
        """Whether what was opened in a generation was opened by this process, not by a parent."""
        return generation == self._generation

    def before(self) -> None:
        """Let go of gRPC, if nobody needs it. A hook of os.fork, in the parent."""
        if self._open == 0 and self._is_used:
            self._is_used = False
            gc.collect()  # gRPC ends its threads when the last of its objects goes
            until = time.monotonic() + LET_GO_SECONDS
            while _grpc_runs() and not _grpc_is_held() and time.monotonic() < until:
                time.sleep(LOOK_SECONDS)
        self._runs = self._open > 0 or _grpc_runs()

    def after_in_child(self) -> None:
        """Note what cannot be used here. A hook of os.fork."""
        self._generation += 1
        self._is_cut_off = self._is_cut_off or self._runs
        self._open = 0
        self._is_used = False


def _grpc_runs() -> bool:
    """Whether this process has threads of gRPC's."""
    for task in Path("/proc/self/task").glob("*/comm"):
        try:
            name = task.read_text()
        except OSError:  # it has ended meanwhile
            continue
        if name.startswith(THREADS):
            return True
    return False


def _grpc_is_held() -> bool:
    """Whether something still has objects of gRPC's: waiting would be no use."""
    return any(POLLER in thread.name for thread in threading.enumerate())


FORKS: Final = Forks()
os.register_at_fork(before=FORKS.before, after_in_child=FORKS.after_in_child)
