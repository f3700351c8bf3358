"""What a machine must have for these stories; where it has not, they are skipped by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.faults import disk_shim, loop_disk


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = disk_shim.compile_shim(tmp_path_factory.mktemp("shim"))
    if library is None:
        pytest.skip("there is no C compiler to make the disk shim with")
    return library


@pytest.fixture(scope="session")
def loop_disks(tmp_path_factory: pytest.TempPathFactory) -> None:
    reason = loop_disk.why_unavailable(tmp_path_factory.mktemp("probe"))
    if reason is not None:
        pytest.skip(f"no disk whose power can be cut: {reason}")
