"""The node's log, and how a node ends itself."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from node.exits import BUG_EXIT
from quorate.logs import configure, fatal, log, warn

__all__ = ["configure", "die", "log", "warn"]


def die(code: int, event: str, **facts: object) -> NoReturn:
    """Log one line and end the process at once: nothing may be acknowledged after this."""
    try:
        fatal(event, traceback=code == BUG_EXIT and sys.exception() is not None, facts=facts)
        sys.stderr.flush()
    finally:  # the log may be on a full disk, too
        os._exit(code)
