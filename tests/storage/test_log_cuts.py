"""Cutting a large log stalls nobody: what goes, goes a slice a commit, and each commit stays small.

Source: raft.md, 5.5: a deletion of 24,000 entries in one transaction took 68 ms.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from node.storage.errors import ForeignStore
from node.storage.log import DELETE_SLICE, GroupWrite
from tests.storage.builders import entry, open_log, write

RECORDS = 6000
PAYLOAD = b"x" * 900
PAGE_BYTES = 4096


def bytes_written() -> int:
    """Return what this process has handed to write calls so far."""
    (line,) = [
        each for each in Path("/proc/self/io").read_text().splitlines() if each.startswith("wchar")
    ]
    return int(line.split()[1])


def test_commits_stay_small_while_a_large_log_is_cut(tmp_path: Path) -> None:
    """Counted in bytes: what a commit costs on any disk, however quick this one is."""
    log = open_log(tmp_path / "log")
    commits: list[int] = []

    def commit() -> None:
        index = log.reader(1).last_index() + 1
        before = bytes_written()
        write(log, GroupWrite(1, entries=[entry(index, payload=PAYLOAD)]))
        commits.append(bytes_written() - before)

    for _ in range(RECORDS):
        commit()
    usual = max(commits[-1000:])
    full_bytes = log.size_bytes()
    log.cut(1, RECORDS - 10)
    commits.clear()
    while log.size_bytes() > full_bytes / 20:
        commit()
        assert len(commits) < 3 * RECORDS / DELETE_SLICE, "it does not shrink"
    log.close()

    # A slice touches the leaves that it empties, their parents and LMDB's list of free pages.
    assert max(commits) < usual + DELETE_SLICE * PAGE_BYTES // 4


def test_log_knows_whose_it_is_after_its_first_head_is_gone(tmp_path: Path) -> None:
    owner = "0123456789abcdef" * 2
    log = open_log(tmp_path / "log", owner=owner)
    for index in range(1, 4 * DELETE_SLICE):
        write(log, GroupWrite(1, entries=[entry(index, payload=PAYLOAD)]))
    log.cut(1, 3 * DELETE_SLICE)
    full_bytes = log.size_bytes()
    index = 4 * DELETE_SLICE
    while log.size_bytes() >= full_bytes:  # until a new head has let records go
        write(log, GroupWrite(1, entries=[entry(index, payload=PAYLOAD)]))
        index += 1
    log.close()

    log = open_log(tmp_path / "log", owner=owner, create=False)
    assert list(log.recovered()) == [1]
    log.close()
    with pytest.raises(ForeignStore):
        open_log(tmp_path / "log", owner="f" * 32, create=False)
