"""A disk that is full, nearly: a store says so, whatever of a write there was still room for.

LMDB says EIO, as of a broken disk, of pages of which only the first found room.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.image import encode_image
from node.storage.errors import StorageFull
from node.storage.items import ItemStore, ReplicaCheckpoint, ReplicaState
from node.storage.log import GroupWrite, LogStore
from raft.types import Configuration, Entry, EntryKind
from tests.processes.faults.loop_disk import LoopDisk

PAGE_BYTES = 4096
VALUE = b"v" * 10 * PAGE_BYTES
GROUP = 7

pytestmark = pytest.mark.parametrize("pages_left", [0, 1, 2, 5, 9])


@pytest.fixture
def disk(loop_disks: None, tmp_path: Path) -> Iterator[Path]:
    disk = LoopDisk(tmp_path / "image", tmp_path / "disk", size_mib=8)
    try:
        yield disk.mount_point
    finally:
        disk.close()


def fill(disk: Path, bytes_left: int) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):  # no room, as is wanted
            while True:
                file.write(bytes(PAGE_BYTES))
        file.truncate(file.tell() - bytes_left)
        os.fsync(file.fileno())
    return filler


def test_log_on_a_full_disk_commits_the_same_record_later(disk: Path, pages_left: int) -> None:
    log = LogStore.open(disk / "log", map_size_bytes=1 << 26)
    record = log.prepare([GroupWrite(GROUP, entries=[Entry(1, 1, EntryKind.COMMAND, VALUE)])])
    filler = fill(disk, pages_left * PAGE_BYTES)

    with pytest.raises(StorageFull, match="no space left"):
        log.commit(record)
    filler.unlink()
    log.commit(record)
    log.publish(record)
    log.close()

    again = LogStore.open(disk / "log", map_size_bytes=1 << 26, create=False)
    assert [entry.payload for entry in again.reader(GROUP).entries(1, 2, 1 << 30)] == [VALUE]
    again.close()


def test_items_on_a_full_disk_are_stored_later(disk: Path, pages_left: int) -> None:
    items = ItemStore.open(disk / "items", map_size_bytes=1 << 26)
    key = (1).to_bytes(4, "big") + bytes(16)
    image = encode_image({"text": {"S": VALUE.decode()}}, size_bytes=len(VALUE))
    state = ReplicaState(1, 1, Configuration((1, 2, 3)).encode())
    batch = [ReplicaCheckpoint(GROUP, state, [(key, image)])]
    filler = fill(disk, pages_left * PAGE_BYTES)

    with pytest.raises(StorageFull, match="no space left"):
        items.checkpoint(batch)
    assert items.get(key) is None
    filler.unlink()
    items.checkpoint(batch)
    items.close()

    again = ItemStore.open(disk / "items", map_size_bytes=1 << 26, create=False)
    assert again.get(key) == image
    again.close()
