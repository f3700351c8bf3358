"""The log of a process: one event a line on stderr, for people at a terminal, as JSON for programs.

An event has a fixed name and facts. No keys or values of items are in it, and nothing secret.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FORMATS: Final = ("auto", "text", "json")
"""`auto`: text if stderr is a terminal, else JSON."""

_PLAIN: Final = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""A value that needs no quotes: without them nobody can begin a line, or a fact, of their own."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a record of ours has as its message; as text it is a line without time and process."""

    name: str
    facts: dict[str, object]

    def __str__(self) -> str:
        return " ".join(
            [self.name, *(f"{name}={_quoted(str(value))}" for name, value in self.facts.items())]
        )


_logger = logging.getLogger("quorate.events")


def configure(process: str, *, level: str, form: str = "auto") -> None:
    """Send all lines of this process, libraries' too, to stderr. `form` is one of FORMATS."""
    assert form in FORMATS
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter(process) if text else JsonFormatter(process))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())


def log(event: str, **facts: object) -> None:
    """Log one event."""
    _emit(logging.INFO, event, facts)


def warn(event: str, **facts: object) -> None:
    """Log something that a person may want to look at."""
    _emit(logging.WARNING, event, facts)


def error(event: str, **facts: object) -> None:
    """Log something that a person has to look at."""
    _emit(logging.ERROR, event, facts)


def bug(event: str, error: Exception | None = None, **facts: object) -> None:
    """Log an exception that should not be, by default the one handled; the process goes on."""
    _logger.error(Event(event, facts), exc_info=error or True)


def fatal(event: str, *, traceback: bool, facts: dict[str, object]) -> None:
    """Log why this process ends."""
    _logger.critical(Event(event, facts), exc_info=traceback)


def _emit(level: int, event: str, facts: dict[str, object]) -> None:
    if _logger.isEnabledFor(level):
        _logger.log(level, Event(event, facts))


def _stamp(seconds: float) -> str:
    whole, part = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{part:03d}Z"


class TextFormatter(logging.Formatter):
    """Time, process, level, event, then name=value for each fact."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a traceback adds more."""
        # What is no event of ours is somebody's sentence; it may quote what a stranger has sent.
        said = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        line = f"{_stamp(record.created)} {self._process} {record.levelname.lower()} {said}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """An object a line: ts, level, process, event (or logger and message), then the facts."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        document: dict[str, object] = {
            "ts": _stamp(record.created),
            "level": record.levelname.lower(),
            "process": self._process,
        }
        event = record.msg
        if isinstance(event, Event):
            document["event"] = event.name
            document |= {
                name: value if isinstance(value, int | float | str | None) else str(value)
                for name, value in event.facts.items()
            }
        else:
            document |= {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            document["traceback"] = self.formatException(record.exc_info)
        return json.dumps(document, separators=(",", ":"))


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value)


class LineLimit:
    """Lets so many lines a second through, and counts the others."""

    def __init__(self, per_second: int, wall_clock: Callable[[], float]) -> None:
        """`wall_clock` tells seconds."""
        self._per_second = per_second
        self._wall_clock = wall_clock
        self._second = 0
        self._written = self._left_out = 0

    def admit(self) -> tuple[bool, int]:
        """Return whether a line may be written, and how many were not since the last that was."""
        second = int(self._wall_clock())
        if second != self._second:
            self._second, self._written = second, 0
        if self._written >= self._per_second:
            self._left_out += 1
            return False, 0
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return True, left_out
