"""`quorate check`, on the real stores of a node that has been stopped."""

from __future__ import annotations

import json
from pathlib import Path

from node.storage.identity import ITEMS_DIRECTORY, LOG_DIRECTORY, Identity, save_identity
from node.storage.items import ItemStore
from node.storage.log import GroupWrite, LogStore
from raft.types import Entry, HardState
from tests.cli.conftest import Command


def stopped_node(directory: Path) -> Path:
    """Leave behind what a node with three log entries leaves behind."""
    directory.mkdir()
    save_identity(directory, Identity("cluster", 1, "a1", "az-a", "f" * 32, joined=True))
    ItemStore.open(directory / ITEMS_DIRECTORY).close()
    log = LogStore.open(directory / LOG_DIRECTORY)
    entries = [Entry(index, 1, 0, b"payload") for index in (1, 2, 3)]
    record = log.prepare([GroupWrite(1, entries=entries, hard_state=HardState(1, 1, 0))])
    log.commit(record)
    log.publish(record)
    log.close()
    return directory


def test_sound_directory_is_said_to_be_sound(quorate: Command, tmp_path: Path) -> None:
    directory = stopped_node(tmp_path / "a1")

    ended = quorate("check", str(directory), "--json")

    assert ended.code == 0
    assert json.loads(ended.out) == {"groups": 1, "entries": 3, "items": 0, "findings": []}


def test_damaged_log_is_named_with_what_to_do(quorate: Command, tmp_path: Path) -> None:
    directory = stopped_node(tmp_path / "a1")
    data = directory / LOG_DIRECTORY / "data.mdb"
    raw = bytearray(data.read_bytes())
    at = raw.index(b"payload")
    raw[at] ^= 1
    data.write_bytes(raw)

    ended = quorate("check", str(directory))

    assert ended.code == 1
    assert str(directory / LOG_DIRECTORY) in ended.out
    assert "sound" not in ended.out


def test_directory_that_is_not_there_is_refused(quorate: Command, tmp_path: Path) -> None:
    ended = quorate("check", str(tmp_path / "nothing"))

    assert ended.code == 2
    assert not (tmp_path / "nothing").exists()
