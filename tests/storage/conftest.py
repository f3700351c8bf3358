"""Where the storage tests keep their files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: thousands of syncs say nothing more on a disk.

    What only a real disk can show (a power cut, a failing sync) is not tested here.
    """
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(prefix="quorate-", dir=MEMORY))
    yield directory
    shutil.rmtree(directory)
