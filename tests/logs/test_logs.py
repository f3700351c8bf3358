"""The shape of log lines: one a line, for people and for programs, whatever is in them."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from quorate.logs import JsonFormatter, LineLimit, TextFormatter, log, warn

HOSTILE = 'a b="c"\n2026-01-01T00:00:00.000Z r1 critical bug \x1b[31m'


def record_of(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = caplog.records
    return record


def test_json_line_has_the_event_and_its_facts_by_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        log("leader_elected", group=3, term=7, node=None, what=HOSTILE, error=ValueError("x"))

    line = JsonFormatter("a1").format(record_of(caplog))

    document = json.loads(line)
    assert document.pop("ts").endswith("Z")
    assert document == {
        "level": "info",
        "process": "a1",
        "event": "leader_elected",
        "group": 3,
        "term": 7,
        "node": None,
        "what": HOSTILE,
        "error": "x",
    }
    assert line.isprintable()


def test_text_line_is_one_line_whatever_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        warn("refused", who="ada", what=HOSTILE)

    line = TextFormatter("r1").format(record_of(caplog))

    assert " r1 warning refused who=ada what=" in line
    assert line.isprintable()
    assert json.loads(line.partition("what=")[2]) == HOSTILE


def test_a_library_s_line_is_a_message_with_its_logger(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("somebody.else").warning("it took %d s", 5)
    record = record_of(caplog)

    document = json.loads(JsonFormatter("a1").format(record))
    assert (document["logger"], document["message"]) == ("somebody.else", "it took 5 s")
    assert TextFormatter("a1").format(record).endswith(" a1 warning it took 5 s")


def test_traceback_is_a_field_of_its_event(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("x").exception("broken")

    document = json.loads(JsonFormatter("a1").format(record_of(caplog)))
    assert document["traceback"].endswith("RuntimeError: boom")


@pytest.mark.parametrize(("form", "is_json"), [("auto", True), ("json", True), ("text", False)])
def test_without_a_terminal_lines_are_json_unless_text_is_asked_for(
    form: str, is_json: object
) -> None:
    script = f"from quorate.logs import *; configure('a1', level='info', form={form!r}); log('up')"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    (line,) = ended.stderr.splitlines()
    assert line.startswith("{") is is_json


def test_limit_lets_so_many_lines_a_second_through_and_counts_the_rest() -> None:
    now = [100.0]
    limit = LineLimit(2, lambda: now[0])

    assert [limit.admit() for _ in range(4)] == [(True, 0), (True, 0), (False, 0), (False, 0)]
    now[0] = 101.0
    assert [limit.admit() for _ in range(2)] == [(True, 2), (True, 0)]
