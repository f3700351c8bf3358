"""Who holds a data directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quorate.local.data_dir import DataDir, DataDirRefused
from quorate.local.topology import new_topology, write_stamp


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


def test_nothing_is_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        held = DataDir(tmp_path / "data")
        write_stamp(held.path, new_topology(1, 3, [1, 2, 3]))
        held.open_log("a1").close()
        held.write_pid("a1", 1)
    finally:
        os.umask(old)

    assert len(list(held.path.rglob("*"))) == 5
    assert [path for path in held.path.rglob("*") if path.stat().st_mode & 0o077] == []
    assert not held.path.stat().st_mode & 0o077
    assert not held.modes_changed
    held.close()


def test_what_an_earlier_umask_left_open_is_closed(tmp_path: Path) -> None:
    (tmp_path / "nodes" / "a1").mkdir(parents=True)
    (tmp_path / "nodes" / "a1").chmod(0o755)
    (tmp_path / "cluster.json").write_text("{}")
    (tmp_path / "cluster.json").chmod(0o644)
    tmp_path.chmod(0o755)

    held = DataDir(tmp_path)

    assert held.modes_changed >= 3
    for path in (tmp_path, tmp_path / "cluster.json", tmp_path / "nodes" / "a1"):
        assert not path.stat().st_mode & 0o077
    held.close()


def test_an_open_directory_that_cannot_be_closed_is_refused(tmp_path: Path) -> None:
    """Nobody, root included, may change the modes of what is in /proc."""
    (tmp_path / "nodes").symlink_to("/proc/self")

    with pytest.raises(DataDirRefused, match="is open to other users"):
        DataDir(tmp_path)
