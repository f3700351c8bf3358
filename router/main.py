"""The router process: `run` is what the `quorate router` command calls.

Nothing here imports grpc before the environment is set: grpc reads it once, at import.
"""

from __future__ import annotations

import sys
from typing import Final

from quorate.grpc_settings import choose_poller
from router.options import RouterOptions

__all__ = ["RouterOptions", "run"]

EXIT_REFUSED: Final = 2
"""Exit code: the options cannot be served; one sentence on stderr says why."""

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""How soon a waiting thread gets the interpreter. Ours: with 5 ms, grpc's poller waits too long."""


def run(options: RouterOptions) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code: 0 stopped, 2 refused."""
    if not __debug__:
        return _refuse("asserts are off (-O or PYTHONOPTIMIZE): refusing to serve")
    choose_poller()
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    from router.process import Refused, serve  # noqa: PLC0415  (imports grpc; see above)

    try:
        serve(options)
    except Refused as refusal:
        return _refuse(str(refusal))
    return 0


def _refuse(why: str) -> int:
    sys.stderr.write(f"quorate router: {why}\n")
    return EXIT_REFUSED
