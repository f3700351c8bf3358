"""A snapshot on its way from one store to another: frames, file, install. Nothing in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest

from node.storage import items_install, items_snapshot, snapshot_file
from node.storage.check import CheckReport, _check_items
from node.storage.errors import CorruptItems, StorageFailed, StorageFull
from node.storage.items import InstallRecord, ItemStore, SnapshotView
from node.storage.items_install import SnapshotInstall
from node.storage.layout import decode_snapshot_state
from node.storage.snapshot_file import (
    SNAPSHOTS_DIRECTORY,
    SnapshotFile,
    read_pairs,
    read_state,
    room_bytes,
)
from node.storage.snapshot_frames import (
    KIND_END,
    KIND_PAIRS,
    BrokenSnapshot,
    Position,
    decode_frame,
    encode_end,
    encode_frame,
    encode_pair,
    encode_pairs,
)
from tests.storage.test_items import HALF, Pair, image, key, open_items, share, state

VIEW = b"the view's id..."
OTHER_VIEW = b"another view's.."
ARC = (0, HALF)
OLD: list[Pair] = [(key(1, number), image("old")) for number in range(0, 60, 3)]
NEW: list[Pair] = [(key(1, number), image(f"new {number}")) for number in range(80)]
STATE_FRAMES = 3
"""The head and the state of NEW, in frames."""
ELSEWHERE: list[Pair] = [(key(1, HALF + 7), image("of another partition"))]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few items in each frame, and in each transaction of an install."""
    monkeypatch.setattr(items_snapshot, "PIECE_BYTES", 400)
    monkeypatch.setattr(items_install, "FILL_BYTES", 1_000)
    monkeypatch.setattr(items_install, "CLEAR_ITEMS", 7)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[ItemStore]:
    store = open_items(tmp_path / "source")
    mine = share(1, 50, *NEW)
    mine.generation = (8, b"new ids" * 100)
    store.checkpoint([mine])
    yield store
    store.close()


@pytest.fixture
def items(tmp_path: Path) -> Iterator[ItemStore]:
    """A store with an older state of the same replica, and items of another one."""
    store = open_old(tmp_path / "items")
    yield store
    store.close()


def open_old(path: Path) -> ItemStore:
    store = open_items(path)
    old = share(1, 10, *OLD)
    old.generation = (1, b"old ids")
    store.checkpoint([old, share(2, 99, *ELSEWHERE)])
    return store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def file(directory: Path) -> Iterator[SnapshotFile]:
    """A new file of the view."""
    file = SnapshotFile(directory, 1, VIEW, ARC)
    yield file
    file.close()


def append_all(file: SnapshotFile, frames: Iterable[bytes]) -> None:
    for frame in frames:
        file.append(frame)


def run(install: SnapshotInstall, items: ItemStore) -> None:
    while install.take_step(items):
        pass


def remaining(view: SnapshotView) -> Iterator[bytes]:
    while (frame := view.next_frame()) is not None:
        yield frame


def frames_of(source: ItemStore) -> list[bytes]:
    view = source.open_view(ARC, 1, VIEW)
    frames = list(remaining(view))
    view.close()
    return frames


def received(directory: Path, frames: list[bytes]) -> InstallRecord:
    file = SnapshotFile(directory, 1, VIEW, ARC)
    for frame in frames:
        file.append(frame)
    sealed = file.seal()
    return InstallRecord(
        1, VIEW, sealed.applied_index, sealed.applied_term, ARC, file.position.checksum
    )


def everything(items: ItemStore) -> dict[bytes, bytes]:
    return dict(items.scan(b"", b"\xff" * 64))


# Frames and files


def test_file_holds_what_the_store_had(source: ItemStore, directory: Path) -> None:
    frames = frames_of(source)
    record = received(directory, frames)
    path = snapshot_file.path_of(directory, 1, VIEW)

    assert len(frames) >= 10
    assert [pair for part in read_pairs(path, record.checksum) for pair in part] == NEW
    assert decode_snapshot_state(read_state(path)) == (state(50), [(8, b"new ids" * 100)])
    assert path.read_bytes() == b"".join(frames)


def test_transfer_broken_at_any_frame_goes_on_from_there(
    source: ItemStore, directory: Path
) -> None:
    """S65. The receiver remembers nothing but its file; the sender nothing but its view."""
    whole = frames_of(source)
    view = source.open_view(ARC, 1, VIEW)
    for place in range(len(whole) + 1):
        broken = SnapshotFile(directory, 1, VIEW, ARC)
        for frame in whole[:place]:
            broken.append(frame)
        broken.close()

        file = SnapshotFile(directory, 1, VIEW, ARC)
        view.go_on_from(file.position)
        rest = [] if file.complete else list(remaining(view))
        for frame in rest:
            file.append(frame)
        file.seal()

        assert file.path.read_bytes() == b"".join(whole)
        has_state = place >= STATE_FRAMES  # what comes before is short, and is sent anew
        assert len(rest) == (len(whole) - place if has_state else len(whole))
        file.path.unlink()
    view.close()


def test_what_a_crash_leaves_of_a_file_is_gone_on_with(source: ItemStore, directory: Path) -> None:
    """Cut anywhere, or with zeros where nothing was synced: what is whole is kept."""
    whole = frames_of(source)
    written = b"".join(whole)
    rng = Random(5)
    for _ in range(100):
        end = rng.randrange(len(written))
        left = written[:end] + bytes(rng.choice([0, 0, 50, 4096]))
        directory.mkdir(exist_ok=True)
        path = snapshot_file.path_of(directory, 1, VIEW)
        path.write_bytes(left)

        file = SnapshotFile(directory, 1, VIEW, ARC)
        kept = file.position.size_bytes
        assert kept <= end
        assert path.stat().st_size == kept
        assert file.position.frame_count == 0 or written[:kept] == b"".join(
            whole[: file.position.frame_count]
        )
        for frame in whole[file.position.frame_count :]:
            file.append(frame)
        file.seal()
        assert path.read_bytes() == written


def test_missing_doubled_or_exchanged_frame_is_refused(source: ItemStore, directory: Path) -> None:
    """S65. Each checksum goes on from the frame before."""
    whole = frames_of(source)
    for place in range(1, len(whole)):
        for then in (whole[place - 1], *whole[place + 1 : place + 2]):
            file = SnapshotFile(directory, 1, VIEW, ARC)
            for frame in whole[:place]:
                file.append(frame)
            with pytest.raises(BrokenSnapshot):
                file.append(then)
            file.close()
            file.path.unlink()


def test_flipped_bit_in_a_frame_is_refused(source: ItemStore, directory: Path) -> None:
    whole = frames_of(source)
    rng = Random(6)
    for place, frame in enumerate(whole):
        damaged = bytearray(frame)
        damaged[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
        file = SnapshotFile(directory, 1, VIEW, ARC)
        for before in whole[:place]:
            file.append(before)
        with pytest.raises(BrokenSnapshot):
            file.append(bytes(damaged))
        file.close()
        file.path.unlink()


def test_frames_of_another_view_do_not_fit(source: ItemStore, file: SnapshotFile) -> None:
    """Only one view's frames make one moment's state."""
    other = source.open_view(ARC, 1, OTHER_VIEW)
    head = next(remaining(other))
    other.close()

    with pytest.raises(BrokenSnapshot, match="another snapshot"):
        file.append(head)


def with_pairs(whole: list[bytes], pairs: list[Pair], *, before: int = 0) -> Iterator[bytes]:
    """A head and a state as sent, then pairs as given and an end that counts them."""
    position = Position()
    for frame in whole:
        if decode_frame(frame, position.checksum)[0] == KIND_PAIRS:
            break
        position.add(frame)
        yield frame
    encoded = [encode_pair(*pair) for pair in pairs]
    frame = encode_frame(KIND_PAIRS, encode_pairs(before, encoded), position.checksum)
    position.add(frame)
    position.pair_count = len(pairs)
    yield frame
    yield encode_frame(KIND_END, encode_end(position), position.checksum)


@pytest.mark.parametrize(
    "bad",
    [
        (key(2, 1), image("x")[:-1] + b"!"),
        (key(2, 1), b""),
        (key(2, HALF), image("outside the arc")),
        (key(0, 1), image("out of order")),
        (b"short", image("x")),
    ],
    ids=["damaged", "empty", "elsewhere", "out of order", "no key"],
)
def test_pair_that_must_not_be_stored_is_refused_when_it_arrives(
    source: ItemStore, file: SnapshotFile, bad: Pair
) -> None:
    """D7. Once an install has begun there is no way back: everything is checked before."""
    frames = with_pairs(frames_of(source), [(key(1, 1), image("good")), bad])

    with pytest.raises(BrokenSnapshot, match="item"):
        append_all(file, frames)
    assert not file.complete


def test_wrong_totals_are_refused(source: ItemStore, directory: Path) -> None:
    whole = frames_of(source)
    last = decode_checksum(whole[-2])
    for pair_count, size_bytes in ((79, len(b"".join(whole[:-1]))), (80, 1 << 40)):
        position = Position(0, size_bytes, last, pair_count)
        file = SnapshotFile(directory, 1, VIEW, ARC)
        for frame in whole[:-1]:
            file.append(frame)
        with pytest.raises(BrokenSnapshot, match="announced"):
            file.append(encode_frame(KIND_END, encode_end(position), last))
        file.close()
        file.path.unlink()


def decode_checksum(frame: bytes) -> int:
    return int.from_bytes(frame[:4], "big")


def test_pairs_that_do_not_follow_are_refused(source: ItemStore, file: SnapshotFile) -> None:
    frames = with_pairs(frames_of(source), NEW[:2], before=3)

    with pytest.raises(BrokenSnapshot, match="pairs from 3"):
        append_all(file, frames)


def test_view_stays_as_it_was_while_the_store_changes(
    source: ItemStore, file: SnapshotFile
) -> None:
    """A snapshot is of one moment, however long it takes and however often it breaks."""
    view = source.open_view(ARC, 1, VIEW)
    for round_ in range(3):
        for _ in range(5):
            frame = view.next_frame()
            assert frame is not None
            file.append(frame)
        source.checkpoint([share(1, 51 + round_, *((each, image("later")) for each, _ in NEW))])
        view.go_on_from(file.position)
    for frame in remaining(view):
        file.append(frame)
    view.close()
    file.seal()

    pairs = [pair for part in read_pairs(file.path, file.position.checksum) for pair in part]
    assert pairs == NEW
    assert decode_snapshot_state(read_state(file.path))[0] == state(50)


def failing(monkeypatch: pytest.MonkeyPatch, function: str, error: int) -> None:
    def fail(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, function, fail)


@pytest.mark.parametrize(
    ("error", "raised"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageFailed)]
)
def test_full_disk_is_told_from_a_broken_one(
    source: ItemStore,
    file: SnapshotFile,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
    raised: type[Exception],
) -> None:
    """D1, D2. The one refuses a snapshot, the other ends the process."""
    monkeypatch.setattr(snapshot_file, "SYNC_BYTES", 1)
    failing(monkeypatch, "fdatasync", error)

    with pytest.raises(raised):
        file.append(frames_of(source)[0])


def test_share_of_the_disk_is_left_to_the_log(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)

    assert room_bytes(tmp_path) < status.f_bavail * status.f_frsize


# Installs


def test_installed_snapshot_replaces_the_arc_and_nothing_else(
    source: ItemStore, items: ItemStore, directory: Path
) -> None:
    install = SnapshotInstall(received(directory, frames_of(source)), directory)

    run(install, items)
    install.discard()

    assert everything(items) == dict([*NEW, *ELSEWHERE])
    assert items.replicas() == {1: state(50), 2: state(99)}
    assert items.generations(1) == [(8, b"new ids" * 100)]
    assert items.installs() == []
    assert list(directory.iterdir()) == []


def test_replica_without_items_has_a_snapshot_too(items: ItemStore, directory: Path) -> None:
    """The catalog's replica has state and no arc."""
    catalog = share(0, 10)
    catalog.generation = (0, b"the catalog")
    items.checkpoint([catalog])
    before = everything(items)
    view = items.open_view((0, 0), 0, VIEW)
    file = SnapshotFile(directory, 0, VIEW, (0, 0))
    for frame in remaining(view):
        file.append(frame)
    view.close()
    file.seal()
    record = InstallRecord(0, VIEW, 10, catalog.state.applied_term, (0, 0), file.position.checksum)
    install = SnapshotInstall(record, directory)

    while install.take_step(items):
        assert items.installs() == [record]

    assert items.generations(0) == [(0, b"the catalog")]
    assert everything(items) == before


def crash_after(steps: int, tmp_path: Path, source: ItemStore) -> bool:
    """Install, crash after so many transactions, start again; return whether it was over."""
    directory = tmp_path / f"snapshots-{steps}"
    items = open_old(tmp_path / f"items-{steps}")
    record = received(directory, frames_of(source))
    install = SnapshotInstall(record, directory)
    more = True
    for _ in range(steps):
        more = more and install.take_step(items)
    items.close()

    items = open_items(tmp_path / f"items-{steps}")
    unfinished = items.installs()
    if steps == 0:
        assert items.replicas()[1] == state(10)
        assert everything(items) == dict([*OLD, *ELSEWHERE])
    elif more:
        assert unfinished == [record]
        assert items.replicas() == {2: state(99)}
        assert items.generations(1) == []
        again = SnapshotInstall(record, directory, begun=True)
        while again.take_step(items):
            items.checkpoint([share(2, 100)])  # others go on meanwhile
    if steps:
        assert everything(items) == dict([*NEW, *ELSEWHERE])
        assert items.replicas()[1] == state(50)
        assert items.generations(1) == [(8, b"new ids" * 100)]
        assert items.installs() == []
    items.close()
    return not more


def test_crash_after_any_transaction_of_an_install_leaves_old_or_new(
    source: ItemStore, tmp_path: Path
) -> None:
    """S61. Nothing mixed: between the two there is a record, and no state to serve by."""
    for steps in count():
        if crash_after(steps, tmp_path, source):
            break

    assert steps >= 8, "thin: too few transactions"


def test_full_disk_in_the_middle_of_an_install_is_waited_out(
    source: ItemStore, items: ItemStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step can be taken again, without anything left out."""

    def refuse(doing: str, **_: object) -> NoReturn:
        raise StorageFull(doing)

    install = SnapshotInstall(received(directory, frames_of(source)), directory)
    refused = 0
    more = True
    while more:
        with monkeypatch.context() as full:
            full.setattr(items, "_writing", refuse)
            try:
                install.take_step(items)
            except StorageFull:
                refused += 1
        more = install.take_step(items)

    assert refused >= 7, "thin: too few transactions"
    assert everything(items) == dict([*NEW, *ELSEWHERE])


def test_check_reads_the_file_of_an_install_under_way(
    source: ItemStore, items: ItemStore, tmp_path: Path
) -> None:
    """`quorate check`: what the next start will need."""
    directory = tmp_path / SNAPSHOTS_DIRECTORY
    record = received(directory, frames_of(source))
    items.begin_install(record)
    items.close()
    report = CheckReport()

    _check_items(tmp_path, report)
    SnapshotInstall(record, directory, begun=True).path.unlink()

    with pytest.raises(CorruptItems, match="it is missing"):
        _check_items(tmp_path, report)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "other"])
def test_damaged_file_stops_the_node_and_says_what_to_do(
    source: ItemStore, items: ItemStore, directory: Path, damage: str
) -> None:
    """D7, D8. The old items are gone, and the new ones cannot be trusted: stop, never guess."""
    frames = frames_of(source)
    record = received(directory, frames)
    items.begin_install(record)
    install = SnapshotInstall(record, directory, begun=True)
    raw = bytearray(install.path.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 1
    elif damage == "cut":
        del raw[-20:]
    elif damage == "other":
        raw = bytearray(b"".join(with_pairs(frames, NEW[:3])))
    install.path.write_bytes(raw)
    if damage == "gone":
        install.path.unlink()

    with pytest.raises(CorruptItems, match="let the cluster add it anew"):
        install.verify()
    with pytest.raises(CorruptItems, match="let the cluster add it anew"):
        run(install, items)
    assert items.installs() == [record]
    assert 1 not in items.replicas()
