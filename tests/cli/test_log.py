"""`quorate log find`, on the real log of a node that has been stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.codec import WriteColumns, encode_write_entry
from node.storage.identity import LOG_DIRECTORY, DirectoryLock, Identity, save_identity
from node.storage.log import GroupWrite, LogStore
from quorate.cluster.outcome import Outcome
from quorate.cluster.write_id import write_id
from raft.types import Entry, EntryKind, HardState
from tests.cli.conftest import Command

REQUEST = bytes(range(16))
HEADER = REQUEST.hex().upper() + "QUORATE0QUORATE0Q012"  # as x-amzn-RequestId has it
KEYS = [bytes([0, 0, 0, 1]) + bytes([number]) * 16 for number in range(3)]
OTHER = bytes(range(16, 32))
REFUSED_ID = write_id(OTHER, b"a key that only the router knows", b"", b"")


def payload(keys: list[bytes], *more_ids: bytes) -> bytes:
    ids = [*(write_id(REQUEST, key, b"image", b"") for key in keys), *more_ids]
    units = [3] * len(keys) + [1] * len(more_ids)
    refusals: dict[bytes, int] = dict.fromkeys(more_ids, Outcome.CONDITION_FAILED)
    return encode_write_entry(WriteColumns(keys, [b"image"] * len(keys), ids, units, refusals))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A node whose log has a batch of two writes, one by itself with a refused one, others'."""
    directory = tmp_path / "a1"
    directory.mkdir()
    save_identity(directory, Identity("cluster", 1, "a1", "az-a", "f" * 32, joined=True))
    other = WriteColumns([b"other" * 4], [b""], [b"o" * 16], [1])
    entries = [
        Entry(1, 1, EntryKind.NOOP, b""),
        Entry(2, 1, EntryKind.COMMAND, payload(KEYS[:2])),
        Entry(3, 1, EntryKind.COMMAND, encode_write_entry(other)),
        Entry(4, 1, EntryKind.COMMAND, payload(KEYS[2:], REFUSED_ID)),
    ]
    log = LogStore.open(directory / LOG_DIRECTORY)
    record = log.prepare([GroupWrite(5, entries=entries, hard_state=HardState(1, 1, 3))])
    log.commit(record)
    log.publish(record)
    log.close()
    return directory


@pytest.mark.parametrize("text", [HEADER, REQUEST.hex()])
def test_all_writes_of_a_call_are_found_by_the_id_that_its_client_got(
    quorate: Command, directory: Path, text: str
) -> None:
    ended = quorate("log", "find", text, str(directory), "--json")

    assert ended.code == 0
    found = json.loads(ended.out)
    assert [(one["group"], one["index"], one["committed"]) for one in found] == [
        (5, 2, True),
        (5, 2, True),
        (5, 4, False),
    ]
    assert [one["write"] for one in found] == [
        write_id(REQUEST, key, b"image", b"").hex() for key in KEYS
    ]
    assert {one["units"] for one in found} == {3}


@pytest.mark.parametrize("text", [REFUSED_ID.hex(), OTHER.hex()])
def test_refused_write_is_found_by_its_own_id_and_its_call_s(
    quorate: Command, directory: Path, text: str
) -> None:
    ended = quorate("log", "find", text, str(directory))

    assert ended.code == 0
    assert f"group 5, index 4, term 1: write {REFUSED_ID.hex()} refused, 1 units" in ended.out
    assert "not known here to be committed" in ended.out


def test_id_that_is_not_there_and_one_that_is_none(quorate: Command, directory: Path) -> None:
    assert quorate("log", "find", "f" * 32, str(directory)).code == 4
    refused = quorate("log", "find", "12 ab", str(directory))
    assert refused.code == 2
    assert "32 hexadecimal digits" in refused.err


def test_node_that_runs_is_left_alone(quorate: Command, directory: Path) -> None:
    lock = DirectoryLock.acquire(directory)
    try:
        assert quorate("log", "find", HEADER, str(directory)).code == 2
    finally:
        lock.release()
