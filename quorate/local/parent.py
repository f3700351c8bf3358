"""Ties a process to the one that started it: when the parent dies, however, so does this one.

Without this, a supervisor killed with SIGKILL would leave its nodes behind, holding ports and
data directories.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
"""Source: prctl(2), linux/prctl.h."""


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when `parent_pid`, its parent, ends.

    Exits at once if the parent has ended already. Only the parent's thread that started this
    process counts: the supervisor starts processes from its main thread.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        sys.exit(f"the parent process {parent_pid} is gone")
