"""The node's log: one line a fact, on stderr, for people and for `grep`."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

_logger = logging.getLogger("quorate.node")


def configure(node: str, level: str) -> None:
    """Send lines to stderr, each with the time and the node's name."""
    # Certificates are read by what routers read theirs with.
    certificates = logging.getLogger("quorate.security")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s.%(msecs)03d {node} %(message)s", "%Y-%m-%dT%H:%M:%S")
    )
    for logger in (_logger, certificates):
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())


def log(event: str, **facts: object) -> None:
    """Log one fact: a fixed event name and its fields."""
    _logger.info("%s", _line(event, facts))


def warn(event: str, **facts: object) -> None:
    """Log something that a person may want to look at."""
    _logger.warning("%s", _line(event, facts))


def die(code: int, event: str, **facts: object) -> NoReturn:
    """Log one line and end the process at once: nothing may be acknowledged after this."""
    _logger.critical("%s", _line(event, facts))
    sys.stderr.flush()
    os._exit(code)


def _line(event: str, facts: dict[str, object]) -> str:
    return " ".join([event, *(f"{name}={value}" for name, value in facts.items())])
