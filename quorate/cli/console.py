"""Where tables are printed: as wide as they need to be when nobody's terminal is the limit."""

from __future__ import annotations

import sys

from rich.console import Console

WIDTH_PIPED = 240
"""Columns of output that goes into a file or a pipe: a cut address is no use there. Ours."""


def wide_console() -> Console:
    """Return a console on stdout."""
    width = None if sys.stdout.isatty() else WIDTH_PIPED
    return Console(width=width, soft_wrap=True, highlight=False)
