"""Every input that a fuzzer or a person thought of, again: no surprise, and quickly."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
SECONDS_MAX = 0.05

INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())


def test_every_target_has_a_corpus() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_input_is_served_or_refused_in_time(path: Path) -> None:
    target, data = TARGETS[path.parent.name], path.read_bytes()
    seconds = []
    for _ in range(3):
        started = time.thread_time()
        target(data)
        seconds.append(time.thread_time() - started)
    assert min(seconds) <= SECONDS_MAX
