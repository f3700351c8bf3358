"""A process that holds secrets leaves no core files behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

DUMPABLE = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_hidden_process_cannot_be_dumped() -> None:
    hidden = f"from quorate.security.memory import hide_memory; hide_memory(); {DUMPABLE}"

    shown = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for code in (DUMPABLE, hidden)
    ]

    assert shown[1] == "0"
    assert shown[0] != "0"
