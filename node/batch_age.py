"""How old can a router's batch be? Not older than the router's last word of this node.

A batch may have lain in a router that slept for minutes, and request ids are remembered for little
more than one. So every reply has this node's clock, every batch has it back, and writes are
taken only from a router that has heard this node of late.
"""

from __future__ import annotations

from typing import Final

from node.host_shell import Shell

HEARD_MS_MAX: Final = 10_000
"""Writes are taken only from routers that have heard this node within so many milliseconds. Ours:
far below the window of request ids."""


class NodeClock:
    """This process's clock as routers are told it.

    It begins at the wall clock, so that routers can go on comparing when a node is restarted, and
    is never set while the process lives.
    """

    def __init__(self, shell: Shell) -> None:
        """Start from the shell's clocks."""
        self._shell = shell
        self._base = shell.wall_clock() - shell.monotonic()

    @property
    def now_ms(self) -> int:
        """The time in milliseconds."""
        return int((self._base + self._shell.monotonic()) * 1000)

    def is_too_long_ago(self, heard_ms: int) -> bool:
        """Return whether a router that heard `heard_ms` last may have slept since."""
        return not 0 <= self.now_ms - heard_ms <= HEARD_MS_MAX
