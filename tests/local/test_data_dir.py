"""Who holds a data directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quorate.local.data_dir import DataDir, DataDirRefused


def test_a_held_directory_is_refused_and_the_holder_named(tmp_path: Path) -> None:
    held = DataDir(tmp_path / "data")

    with pytest.raises(DataDirRefused, match=f"pid {os.getpid()}"):
        DataDir(tmp_path / "data")

    held.close()
    DataDir(tmp_path / "data").close()


def test_nothing_is_left_of_a_directory_that_was_never_used(tmp_path: Path) -> None:
    DataDir(tmp_path / "data").close()

    assert not (tmp_path / "data").exists()


def test_a_used_directory_stays(tmp_path: Path) -> None:
    held = DataDir(tmp_path / "data")
    (tmp_path / "data" / "cluster.json").write_text("{}")

    held.close()

    assert (tmp_path / "data" / "cluster.json").exists()


def test_a_directory_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DataDirRefused, match="cannot be written"):
        DataDir(tmp_path / "file" / "data")
