"""Exit codes of the `quorate` command, and the one way to end it with a sentence."""

from __future__ import annotations

import json
import sys
from enum import IntEnum, unique
from typing import Final, NoReturn


@unique
class Exit(IntEnum):
    """What the exit code says; scripts may rely on it."""

    OK = 0
    FAILED = 1  # the cluster said no, or some of many records failed
    REFUSED = 2  # wrong usage, or something here is not as it must be; nothing was done
    UNREACHABLE = 3  # nobody answered; nothing was done
    NOT_FOUND = 4  # there is no such item, table, user or node
    UNKNOWN = 5  # a write was sent and not answered: it may or may not have been done
    INTERRUPTED = 130  # Ctrl-C


EPILOG: Final = (
    "Exit codes: 0 done; 1 the cluster said no, or some records failed; 2 wrong usage or refused"
    " (nothing was done); 3 nobody answered; 4 no such item, table, user or node; 5 a write was not"
    " answered,"
    " it may or may not have been done; 130 interrupted."
)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """Print one sentence on stderr and exit."""
    print(f"quorate: {message}", file=sys.stderr, flush=True)
    sys.exit(int(code))


def print_json(document: object) -> None:
    """Print one line of JSON, for scripts."""
    print(json.dumps(document, separators=(",", ":"), ensure_ascii=False), flush=True)
