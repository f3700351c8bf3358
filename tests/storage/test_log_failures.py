"""Damage, full disks and sudden death: what the log does about each."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from node.storage.errors import CorruptLog, StorageFailed, StorageFull
from node.storage.log import GroupWrite, LogStore
from raft.types import HardState
from tests.storage.builders import EVERYTHING, entries, entry, open_log, write

PAGE_BYTES = 4096
REPOSITORY = Path(__file__).parents[2]


def filled(path: Path) -> Path:
    """A closed log with inline and overflow records; returns its data file."""
    log = open_log(path)
    for index in range(1, 60):
        payload = b"%d" % index * (3000 if index % 7 == 0 else 20)
        state = HardState(index, 1, index - 1)
        write(log, GroupWrite(1, entries=[entry(index, payload=payload)], hard_state=state))
    log.close()
    return path / "data.mdb"


def rewrite(path: Path, key: bytes, value: bytes | None) -> None:
    """Change one LMDB record behind the store's back."""
    with (
        lmdb.open(str(path), map_size=1 << 28, lib_version=0) as environment,
        environment.begin(write=True) as transaction,
    ):
        if value is None:
            assert transaction.delete(key)
        else:
            transaction.put(key, value)


def values(path: Path) -> dict[bytes, bytes]:
    with (
        lmdb.open(str(path), map_size=1 << 28, lib_version=0) as environment,
        environment.begin() as transaction,
    ):
        return dict(transaction.cursor())


def key_of(sequence: int) -> bytes:
    return sequence.to_bytes(8, "big")


# -- Damage --


def test_flipped_bit_anywhere_in_a_record_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    found = values(tmp_path / "log")
    for sequence in (0, 1, 7, 59):
        raw = found[key_of(sequence)]
        for position in {*range(min(len(raw), 120)), *range(0, len(raw), 977), len(raw) - 1}:
            damaged = bytearray(raw)
            damaged[position] ^= 1 << (position % 8)
            copy = tmp_path / "copy"
            shutil.copytree(tmp_path / "log", copy)
            rewrite(copy, key_of(sequence), bytes(damaged))
            with pytest.raises(CorruptLog, match=r"must not take part.*empty one"):
                open_log(copy)
            shutil.rmtree(copy)


@pytest.mark.parametrize("sequence", [0, 1, 30, 58])
def test_missing_record_is_found(tmp_path: Path, sequence: int) -> None:
    filled(tmp_path / "log")
    rewrite(tmp_path / "log", key_of(sequence), None)

    with pytest.raises(CorruptLog, match="missing"):
        open_log(tmp_path / "log")


def test_missing_last_records_are_found_if_the_head_knows_them(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    record = write(log, GroupWrite(1, entries=entries(1, 200)))
    while record.head is None:
        last = log.reader(1).last_index()
        log.cut(1, last - 5)
        record = write(log, GroupWrite(1, entries=[entry(last + 1, payload=b"x" * 3000)]))
    known = record.head.as_of
    log.close()
    for sequence in (known, known + 1):
        rewrite(tmp_path / "log", key_of(sequence), None)

    with pytest.raises(CorruptLog, match=f"records {known} to {known} are missing"):
        open_log(tmp_path / "log")


def test_record_in_the_place_of_another_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    rewrite(tmp_path / "log", key_of(30), values(tmp_path / "log")[key_of(29)])

    with pytest.raises(CorruptLog, match="record 30: it says it is record 29"):
        open_log(tmp_path / "log")


def test_foreign_key_is_found(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    rewrite(tmp_path / "log", b"strange", b"x")

    with pytest.raises(CorruptLog):
        open_log(tmp_path / "log")


def test_record_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "log")
    raw = bytearray(values(tmp_path / "log")[key_of(1)])
    raw[4] = 2
    rewrite(tmp_path / "log", key_of(1), bytes(raw))

    with pytest.raises(CorruptLog):
        open_log(tmp_path / "log")


def test_flipped_byte_in_any_page_never_gives_wrong_entries(tmp_path: Path) -> None:
    """Flips in LMDB's own structures too: either nothing is different, or the log is refused."""
    data = filled(tmp_path / "log")
    expected = values(tmp_path / "log")
    whole = data.read_bytes()
    rng = random.Random(5)
    refused = 0
    positions = [*range(0, 160, 5), *range(PAGE_BYTES, PAGE_BYTES + 160, 5)]
    positions += [rng.randrange(len(whole)) for _ in range(150)]
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        data.write_bytes(damaged)
        try:
            open_log(tmp_path / "log").close()
        except CorruptLog:
            refused += 1
        else:
            assert values(tmp_path / "log") == expected
    assert refused > len(positions) / 4


@pytest.mark.parametrize("kept", [0, 100, PAGE_BYTES, 2 * PAGE_BYTES, 0.3, 0.9])
def test_truncated_file_is_refused_before_it_is_mapped(tmp_path: Path, kept: float) -> None:
    """LMDB maps it without a word and dies of SIGBUS at the first read."""
    data = filled(tmp_path / "log")
    size_bytes = data.stat().st_size
    os.truncate(data, kept if isinstance(kept, int) else int(size_bytes * kept))

    with pytest.raises(CorruptLog, match="cut short"):
        open_log(tmp_path / "log")


def test_missing_data_file_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "log").unlink()

    with pytest.raises(CorruptLog, match="missing"):
        open_log(tmp_path / "log")


def test_meta_page_that_went_back_in_time_is_refused(tmp_path: Path) -> None:
    """Else LMDB would quietly go on from an older commit, and votes be forgotten."""
    data = filled(tmp_path / "log")
    with data.open("r+b") as file:
        first, second = os.pread(file.fileno(), 4096, 0), os.pread(file.fileno(), 4096, 4096)
        newer = max((first, second), key=lambda page: page[144:152][::-1])
        at = 0 if newer is first else 4096
        os.pwrite(file.fileno(), bytes([newer[144] ^ 0x10]), at + 144)

    with pytest.raises(CorruptLog, match="disagree"):
        open_log(tmp_path / "log")


def test_damage_while_running_is_found_by_the_reader(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    write(log, GroupWrite(1, entries=[entry(1, payload=b"needle" * 1000)]))
    data = tmp_path / "log" / "data.mdb"
    position = data.read_bytes().index(b"needle" * 100)
    with data.open("r+b") as file:
        os.pwrite(file.fileno(), b"N", position + 60)

    with pytest.raises(CorruptLog, match="checksum of entry 1"):
        log.reader(1).entries(1, 2, EVERYTHING)
    log.close()


def test_deleted_directory_is_noticed_while_running(tmp_path: Path) -> None:
    """LMDB itself goes on committing into the deleted file."""
    log = open_log(tmp_path / "log")
    log.check_in_place()
    shutil.rmtree(tmp_path / "log")

    with pytest.raises(StorageFailed, match="deleted or replaced"):
        log.check_in_place()
    log.close()


# -- Full --


def fill_up(log: LogStore, size_bytes: int = 30_000) -> int:
    """Write entries until the log is full; return the last index that was taken."""
    for index in range(1, 10_000):
        record = log.prepare([GroupWrite(1, entries=[entry(index, payload=b"x" * size_bytes)])])
        try:
            log.commit(record)
        except StorageFull:
            return index - 1
        log.publish(record)
    raise AssertionError("it never filled up")


def test_full_map_refuses_the_write_and_changes_nothing(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", map_size_bytes=1 << 20)
    last = fill_up(log)

    assert log.reader(1).last_index() == last
    assert len(log.reader(1).entries(1, last + 1, EVERYTHING)) == last
    log.close()
    log = open_log(tmp_path / "log", map_size_bytes=1 << 20)
    assert log.recovered()[1].last_index == last
    log.close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs root")
    path = tmp_path / "tiny"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let us mount a tiny file system")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_full_disk_refuses_the_write_and_goes_on_when_there_is_space(tiny_disk: Path) -> None:
    (tiny_disk / "ballast").write_bytes(b"b" * 200_000)
    log = open_log(tiny_disk / "log")
    last = fill_up(log, size_bytes=20_000)
    assert last >= 2
    assert log.reader(1).last_index() == last

    (tiny_disk / "ballast").unlink()
    write(log, GroupWrite(1, entries=[entry(last + 1, payload=b"x" * 20_000)]))
    log.close()
    log = open_log(tiny_disk / "log")
    assert len(log.reader(1).entries(1, last + 2, EVERYTHING)) == last + 1
    log.close()


# -- Death --


def test_unexpected_error_is_latched(tmp_path: Path) -> None:
    """LMDB does not latch it: after a failed sync its next commit succeeds."""
    log = open_log(tmp_path / "log")
    write(log, GroupWrite(1, entries=entries(1, 3)))
    record = log.prepare([GroupWrite(1, entries=entries(3, 5))])
    record.sequence = 1  # LMDB refuses: the key is not the greatest
    log._committed = 0

    with pytest.raises(StorageFailed):
        log.commit(record)
    record.sequence = 2
    with pytest.raises(StorageFailed, match="an earlier commit failed"):
        log.commit(record)
    log.close()


COMMIT_FOR_EVER = """
import sys
from pathlib import Path
from node.storage.log import GroupWrite, LogStore
from raft.types import Entry, HardState
log = LogStore.open(Path(sys.argv[1]), map_size_bytes=1 << 28)
index = log.reader(1).last_index()
while True:
    index += 1
    entry = Entry(index, 1, 0, b"%d" % index * (index % 900))
    writes = [GroupWrite(1, entries=[entry], hard_state=HardState(index, 1, index - 1))]
    record = log.prepare(writes)
    log.commit(record)
    log.publish(record)
    if index % 100 == 0:
        log.cut(1, index - 50)
    print(index, flush=True)
"""


def test_every_acknowledged_commit_survives_kill_9(tmp_path: Path) -> None:
    """S41: an ack leaves only after the entries are durable, wherever the kill falls."""
    rng = random.Random(3)
    last = 0
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", COMMIT_FOR_EVER, str(tmp_path / "log")],
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
        )
        assert child.stdout is not None
        wanted = rng.randrange(20, 400)
        acknowledged = last
        for line in child.stdout:
            if line.endswith("\n"):
                acknowledged = int(line)
            if acknowledged == last + wanted:
                child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()

        log = open_log(tmp_path / "log", create=False)
        group = log.recovered()[1]
        assert group.last_index in (acknowledged, acknowledged + 1)
        assert group.hard_state == HardState(group.last_index, 1, group.last_index - 1)
        found = log.reader(1).entries(group.first_index, group.last_index + 1, EVERYTHING)
        assert [one.index for one in found] == [*range(group.first_index, group.last_index + 1)]
        assert all(one.payload == b"%d" % one.index * (one.index % 900) for one in found)
        last = group.last_index
        log.close()
