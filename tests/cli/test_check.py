"""`quorate check`, on the real stores of a node that has been stopped."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node.storage.identity import (
    ITEMS_DIRECTORY,
    LOG_DIRECTORY,
    DirectoryLock,
    Identity,
    save_identity,
)
from node.storage.items import ItemStore
from node.storage.log import GroupWrite, LogStore
from raft.types import Entry, HardState
from tests.cli.conftest import Command


def stopped_node(directory: Path, incarnation: str = "f" * 32) -> Path:
    """Leave behind what a node with three log entries leaves behind."""
    directory.mkdir()
    save_identity(directory, Identity("cluster", 1, "a1", "az-a", incarnation, joined=True))
    ItemStore.open(directory / ITEMS_DIRECTORY, owner=incarnation).close()
    log = LogStore.open(directory / LOG_DIRECTORY, owner=incarnation)
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


def test_directory_of_no_node_is_refused_and_left_as_it_is(
    quorate: Command, tmp_path: Path
) -> None:
    """The likely mistake: DATA instead of DATA/nodes/NAME."""
    stopped_node(tmp_path / "a1")

    ended = quorate("check", str(tmp_path))

    assert ended.code == 2
    assert "DATA/nodes/NAME" in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["a1"]


def test_directory_in_use_is_refused(quorate: Command, tmp_path: Path) -> None:
    directory = stopped_node(tmp_path / "a1")
    lock = DirectoryLock.acquire(directory)

    ended = quorate("check", str(directory))
    lock.release()

    assert ended.code == 2
    assert f"in use by process {os.getpid()}" in ended.err


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_bytes(b"not a directory")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\0{[" * 4096)


def another_store(path: Path) -> None:
    """Whole, but of the other kind."""
    (other,) = {"log", "items"} - {path.parent.name}
    shutil.copy(path.parents[1] / other / path.name, path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("identity.json", Path.unlink),
        *(("identity.json", damage) for damage in (a_directory, empty, halved, garbage)),
        *((store, damage) for store in ("log", "items") for damage in (a_file, shutil.rmtree)),
        *(
            (f"{store}/data.mdb", damage)
            for store in ("log", "items")
            for damage in (Path.unlink, a_directory, empty, halved, garbage, another_store)
        ),
    ],
)
def test_whatever_is_wrong_is_said_with_what_to_do(
    quorate: Command, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    directory = stopped_node(tmp_path / "a1")
    damage(directory / name)

    ended = quorate("check", str(directory), "--json")

    assert ended.code == 1
    findings = json.loads(ended.out)["findings"]
    assert findings
    for finding in findings:
        assert name.partition("/")[0] in finding
        assert "Restore" in finding or "Keep the directory for analysis" in finding


@pytest.mark.parametrize("name", ["log", "items", "log/data.mdb", "items/data.mdb"])
def test_store_of_another_node_is_not_sound(quorate: Command, tmp_path: Path, name: str) -> None:
    """Whole, and of the same groups: but other votes, and other acknowledgements."""
    directory = stopped_node(tmp_path / "a1")
    other = stopped_node(tmp_path / "b1", incarnation="0123456789abcdef" * 2)
    (directory / name).rename(tmp_path / "aside")
    (other / name).rename(directory / name)

    ended = quorate("check", str(directory))

    assert ended.code == 1
    store = directory / name.partition("/")[0]
    assert f"{store} is of another data directory (incarnation 0123456789abcdef" in ended.out
    assert "Restore the directory whole" in ended.out
    assert "sound" not in ended.out


def test_stores_that_no_replica_left_behind_are_not_sound(quorate: Command, tmp_path: Path) -> None:
    """Each is whole, and of this node, but the items are older than the log was cut for."""
    directory = stopped_node(tmp_path / "a1")
    log = LogStore.open(directory / LOG_DIRECTORY)
    record = log.prepare([GroupWrite(1, reset=(40, 1), hard_state=HardState(1, 1, 40))])
    log.commit(record)
    log.publish(record)
    log.close()

    ended = quorate("check", str(directory))

    assert ended.code == 1
    assert "do not fit together: group 1: applied 0, but the log begins at 41" in ended.out
    assert "Restore the directory whole" in ended.out
    assert "sound" not in ended.out


def test_directory_that_is_not_there_is_refused(quorate: Command, tmp_path: Path) -> None:
    ended = quorate("check", str(tmp_path / "nothing"))

    assert ended.code == 2
    assert not (tmp_path / "nothing").exists()
