"""A bit flips, or the end is missing, anywhere in a stopped node's directory.

Either the start refuses and `quorate check` says why, or everything that is read is what was
written: the bit was in no use. Never a wrong answer, and never a signal: LMDB trusts what it maps.
Source: reliability.md, D7, D9; every structure of FORMAT.md is in the directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from node.storage import check
from node.storage.errors import StorageError
from node.storage.identity import Identity, load_identity, save_identity
from node.storage.items import InstallRecord, ItemStore, ReplicaCheckpoint, ReplicaState
from node.storage.items_install import SnapshotInstall
from node.storage.log import GroupWrite, LogStore
from node.storage.snapshot_file import SNAPSHOTS_DIRECTORY, path_of, read_pairs, read_state
from node.storage.snapshot_frames import Position
from raft.types import Configuration, HardState
from tests.storage.builders import EVERYTHING, entries
from tests.storage.test_items import image, key

MAP_SIZE_BYTES: Final = 64 << 20
PAGE_BYTES: Final = 4096
VIEW: Final = b"\7" * 16
SNAPSHOT: Final = str(path_of(Path(SNAPSHOTS_DIRECTORY), 9, VIEW))
GROUPS: Final = (1, 2, 7)
CONFIGURATION: Final = Configuration((1, 2, 3)).encode()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with something of everything; in memory where there is room."""
    directory = tmp_path_factory.mktemp("sound")
    save_identity(
        directory, Identity("cluster", 1, "a1", "az-a", "f" * 32, peers={2: "e" * 32}, joined=True)
    )
    log = LogStore.open(directory / "log", map_size_bytes=MAP_SIZE_BYTES)
    for turn in range(140):
        low = turn + 1
        payload = b"%d" % turn * (3000 if turn % 19 == 0 else 30)
        writes = [
            GroupWrite(
                group,
                entries=entries(low, low + 1, term=2, payload=payload),
                hard_state=HardState(2, 1, turn),
            )
            for group in GROUPS
        ]
        if turn == 100:
            writes.append(GroupWrite(9, reset=(77, 2), hard_state=HardState(2, 0, 77)))
        record = log.prepare(writes)
        log.commit(record)
        log.publish(record)
        if turn == 90:
            for group in GROUPS:
                log.cut(group, 80)
    log.close()
    items = ItemStore.open(directory / "items", map_size_bytes=MAP_SIZE_BYTES)
    for group in GROUPS:
        pairs = sorted(
            (key(group, n * 0x9E3779B97F4A7C15 % (1 << 64), b"%d" % n), image(f"{n}" * (n % 40)))
            for n in range(120)
        )
        pairs.append((key(group, (1 << 64) - 1), image("large" * 2000)))  # overflow pages
        state = ReplicaState(90, 2, CONFIGURATION, {group: (121, 5000)})
        generation = (1, b"ids" * 200)
        items.checkpoint([ReplicaCheckpoint(group, state, pairs, generation)])
    items.begin_install(InstallRecord(9, VIEW, 90, 2, (0, 5), received_snapshot(directory, items)))
    items.checkpoint(
        [ReplicaCheckpoint(7, ReplicaState(91, 2, CONFIGURATION), [(key(7, 0, b"0"), b"")])]
    )
    items.close()
    yield directory
    shutil.rmtree(directory)


def received_snapshot(directory: Path, items: ItemStore) -> int:
    """Put a whole snapshot of group 1 there, as if of group 9; return the checksum of its end."""
    view = items.open_view((0, 1 << 64), 1, VIEW)
    position = Position()
    path = path_of(directory / SNAPSHOTS_DIRECTORY, 9, VIEW)
    path.parent.mkdir()
    with path.open("wb") as file:
        while (frame := view.next_frame()) is not None:
            file.write(frame)
            position.add(frame)
    view.close()
    return position.checksum


def log_contents(directory: Path) -> object:
    log = LogStore.open(directory / "log", map_size_bytes=MAP_SIZE_BYTES, create=False)
    try:
        groups = log.recovered()
        return [
            (found, log.reader(group).entries(found.first_index, found.last_index + 1, EVERYTHING))
            if found.last_index >= found.first_index
            else found
            for group, found in sorted(groups.items())
        ]
    finally:
        log.close()


def items_contents(directory: Path) -> object:
    items = ItemStore.open(directory / "items", map_size_bytes=MAP_SIZE_BYTES, create=False)
    try:
        states = items.replicas()
        pairs = list(items.scan(b"", b"\xff" * 30))
        assert [items.get(key) for key, _ in pairs] == [image for _, image in pairs]
        generations = [items.generations(group) for group in states]
        return states, items.installs(), generations, pairs, items.item_count()
    finally:
        items.close()


def snapshot_contents(directory: Path) -> object:
    """What the start installs, if it finds the file to be whole."""
    items = ItemStore.open(directory / "items", map_size_bytes=MAP_SIZE_BYTES, create=False)
    (record,) = items.installs()
    items.close()
    install = SnapshotInstall(record, directory / SNAPSHOTS_DIRECTORY, begun=True)
    install.verify()
    return read_state(install.path), list(read_pairs(install.path, record.checksum))


def check_identity(directory: Path, _: check.CheckReport) -> None:
    load_identity(directory)


PARTS: Final[dict[str, tuple[Callable[[Path], object], Callable[..., object]]]] = {
    "identity.json": (load_identity, check_identity),
    "log/data.mdb": (log_contents, check._check_log),
    "items/data.mdb": (items_contents, check._check_items),
    SNAPSHOT: (snapshot_contents, check._check_items),
}
"""By file: what a start reads of it, and the part of `quorate check` that looks at it."""


def verdict(directory: Path, name: str, expected: object) -> str:
    """Return "refused", "unused", or what went wrong."""
    contents, check_part = PARTS[name]
    report = check.CheckReport()
    try:
        check_part(directory, report)
        is_sound = not report.findings
    except StorageError:
        is_sound = False
    try:
        found = contents(directory)
    except StorageError:
        return "the start refuses and the check finds nothing" if is_sound else "refused"
    if found == expected:
        return "unused"
    return "the start serves wrong contents" + (", the check finds nothing" if is_sound else "")


def try_all(
    sound: Path, tmp_path: Path, name: str, damages: Sequence[tuple[str, Callable[[bytes], bytes]]]
) -> dict[str, int]:
    """Return how often each verdict came; one that is not allowed fails the test.

    In a process of its own, which LMDB may take down.
    """
    expected = PARTS[name][0](sound)
    assert check.check_data_directory(sound).findings == []  # or the check's part proves nothing
    whole = (sound / name).read_bytes()
    copy = tmp_path / "copy"
    shutil.copytree(sound, copy)
    said = tmp_path / "said"
    child = os.fork()
    if child == 0:
        try:
            with said.open("w") as file:
                for what, damage in damages:
                    file.write(f"{what}: ")
                    file.flush()
                    (copy / name).write_bytes(damage(whole))
                    file.write(f"{verdict(copy, name, expected)}\n")
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    lines = said.read_text().splitlines()
    assert status == 0, f"{lines[-1]} signal {status}"
    counts: dict[str, int] = {}
    for line in lines:
        found = line.rpartition(": ")[2]
        counts[found] = counts.get(found, 0) + 1
    bad = [line for line in lines if not line.endswith((": refused", ": unused"))]
    assert bad == []
    assert len(lines) == len(damages)
    return counts


def flip(position: int, bit: int) -> tuple[str, Callable[[bytes], bytes]]:
    def damage(whole: bytes) -> bytes:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << bit
        return bytes(damaged)

    return f"bit {bit} of byte {position}", damage


def cut(length: int) -> tuple[str, Callable[[bytes], bytes]]:
    return f"cut to {length} bytes", lambda whole: whole[:length]


def positions(size_bytes: int) -> list[int]:
    """Every byte that matters most (meta pages, page headers, first pointers), and a spread."""
    heads = [
        page + offset
        for page in range(0, size_bytes, PAGE_BYTES)
        for offset in (range(152) if page < 2 * PAGE_BYTES else range(0, 24, 3))
    ]
    return sorted({*heads, *range(0, size_bytes, 509)})


@pytest.mark.parametrize("store", ["log", "items"])
def test_flipped_bit_of_a_store_is_found_or_in_no_use(
    sound: Path, tmp_path: Path, store: str
) -> None:
    name = f"{store}/data.mdb"
    places = positions((sound / name).stat().st_size)

    counts = try_all(sound, tmp_path, name, [flip(place, place * 5 % 8) for place in places])

    assert counts["refused"] > len(places) / 4


@pytest.mark.parametrize("store", ["log", "items"])
def test_truncated_store_is_found_before_it_is_mapped(
    sound: Path, tmp_path: Path, store: str
) -> None:
    """Reading a mapped page that is not in the file is a SIGBUS."""
    name = f"{store}/data.mdb"
    size_bytes = (sound / name).stat().st_size
    lengths = {*range(0, size_bytes, PAGE_BYTES), *range(1, size_bytes, 9973), size_bytes - 1}

    counts = try_all(sound, tmp_path, name, [cut(length) for length in sorted(lengths)])

    assert counts["refused"] > len(lengths) / 2


def test_damaged_identity_is_found(sound: Path, tmp_path: Path) -> None:
    size_bytes = (sound / "identity.json").stat().st_size
    damages = [flip(place, place % 8) for place in range(size_bytes)]
    damages += [cut(length) for length in range(size_bytes)]

    try_all(sound, tmp_path, "identity.json", damages)


def test_damaged_snapshot_that_was_being_installed_is_found(sound: Path, tmp_path: Path) -> None:
    size_bytes = (sound / SNAPSHOT).stat().st_size
    damages = [flip(place, place % 8) for place in range(0, size_bytes, 499)]
    damages += [cut(length) for length in range(0, size_bytes, 2003)]

    counts = try_all(sound, tmp_path, SNAPSHOT, damages)

    assert counts == {"refused": len(damages)}
