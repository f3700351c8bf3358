"""Keeps a process's memory, which holds secrets, out of core files and other processes' sight."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

PR_SET_DUMPABLE: Final = 4
"""Source: prctl(2), linux/prctl.h."""


def hide_memory() -> None:
    """Ask the kernel for no core dumps, and for no ptrace by other processes of the same user."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
