"""Prometheus' own programs, that judge our rules: those that `make` has unpacked, or the PATH's."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

UNPACKED: Final = Path(__file__).resolve().parents[1] / ".prometheus" / "usr" / "bin"
"""Where the Makefile has them from Debian's package."""


def program(name: str) -> str:
    """Return the path of promtool or prometheus. Fails the test if there is none."""
    found = shutil.which(name, path=str(UNPACKED)) or shutil.which(name)
    if found is None:
        pytest.fail(
            f"no {name} here: `make .prometheus/.stamp` gets it where there is apt; elsewhere put"
            " Prometheus' programs, 2.42 or newer, into the PATH"
        )
    return found


def run(*command: object, text: str | None = None) -> None:
    """Run a program; fails with what it said unless it succeeds."""
    ended = subprocess.run(
        [str(part) for part in command],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
