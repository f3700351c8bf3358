"""Whose directory it is, and who holds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import orjson
import pytest

from node.storage.errors import (
    CorruptIdentity,
    DataLost,
    DirectoryInUse,
    DirectoryUnusable,
    ForeignDirectory,
    IdentityLost,
    StorageFailed,
)
from node.storage.identity import (
    DirectoryLock,
    Identity,
    Start,
    check_identity,
    load_identity,
    save_identity,
)
from node.storage.items import ItemStore
from node.storage.log import LogStore
from node.storage.snapshot_file import SnapshotFile
from quorate.security.private_directory import NotPrivate, tighten

REPOSITORY = Path(__file__).parents[2]


def identity() -> Identity:
    return Identity("c1", 2, "b1", "az-b", "f00d", joined=False, peers={1: "aaaa", 3: "cccc"})


def full_identity() -> Identity:
    return Identity(
        "c1",
        4,
        "b1",
        "az-b",
        "f00d",
        joined=True,
        peers={1: "aaaa"},
        addresses={1: "h:1", 3: "h:3"},
        epoch=12,
        initial=True,
        removed=True,
        start=Start(7, "t0k3n"),
        starts_seen={3: Start(2, "x")},
    )


def test_identity_comes_back_as_saved(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "items").mkdir()
    save_identity(tmp_path, full_identity())

    assert load_identity(tmp_path) == full_identity()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["identity.json", "items", "log"]


def test_unused_directory_has_no_identity(tmp_path: Path) -> None:
    assert load_identity(tmp_path) is None


def test_saving_again_replaces_the_old_identity(tmp_path: Path) -> None:
    save_identity(tmp_path, identity())
    changed = identity()
    changed.peers[1] = "bbbb"
    save_identity(tmp_path, changed)

    assert load_identity(tmp_path) == changed


def test_half_written_identity_leaves_the_old_one(tmp_path: Path) -> None:
    save_identity(tmp_path, identity())
    (tmp_path / "identity.json.new").write_bytes(b"{")

    assert load_identity(tmp_path) == identity()


def test_any_flipped_byte_is_found(tmp_path: Path) -> None:
    save_identity(tmp_path, identity())
    path = tmp_path / "identity.json"
    whole = path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        with pytest.raises(CorruptIdentity, match=r"Restore identity\.json"):
            load_identity(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"crc32": 1}', b"\xff"])
def test_file_that_is_no_identity_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(content)

    with pytest.raises(CorruptIdentity):
        load_identity(tmp_path)


@pytest.mark.parametrize("name", ["log", "items"])
def test_data_without_identity_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(IdentityLost, match=r"Restore identity\.json"):
        load_identity(tmp_path)


def test_joined_identity_without_its_data_is_refused(tmp_path: Path) -> None:
    """D10: a wiped log must not vote under the old name."""
    joined = identity()
    joined.joined = True
    save_identity(tmp_path, joined)
    (tmp_path / "items").mkdir()

    with pytest.raises(DataLost, match=r"log/ is missing.*must not vote"):
        load_identity(tmp_path)
    (tmp_path / "log").mkdir()
    assert load_identity(tmp_path) == joined


def test_directory_of_another_cluster_or_node_is_refused(tmp_path: Path) -> None:
    check_identity(tmp_path, identity(), cluster_id="c1", name="b1", az="az-b")

    with pytest.raises(ForeignDirectory, match=r"of cluster 'c1', not to .* 'c2'"):
        check_identity(tmp_path, identity(), cluster_id="c2", name="b1", az="az-b")
    with pytest.raises(ForeignDirectory):
        check_identity(tmp_path, identity(), cluster_id="c1", name="b2", az="az-b")
    with pytest.raises(ForeignDirectory):
        check_identity(tmp_path, identity(), cluster_id="c1", name="b1", az="az-c")


def test_identity_of_version_one_is_an_initial_nodes_without_starts(tmp_path: Path) -> None:
    document = {
        "version": 1,
        "cluster_id": "c1",
        "node_id": 2,
        "name": "b1",
        "az": "az-b",
        "incarnation": "f00d",
        "joined": False,
        "peers": {"1": "aaaa", "3": "cccc"},
    }
    checksum = crc32(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    (tmp_path / "identity.json").write_bytes(orjson.dumps({**document, "crc32": checksum}))

    assert load_identity(tmp_path) == identity()


def test_members_that_a_newer_release_has_added_are_passed_over(tmp_path: Path) -> None:
    """Else an upgrade could not be taken back, and a sound directory would pass for damaged."""
    save_identity(tmp_path, identity())
    document = orjson.loads((tmp_path / "identity.json").read_bytes()) | {"added": {"1": "x"}}
    del document["crc32"]
    checksum = crc32(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    (tmp_path / "identity.json").write_bytes(orjson.dumps({**document, "crc32": checksum}))

    assert load_identity(tmp_path) == identity()


def test_identity_of_a_later_version_is_refused(tmp_path: Path) -> None:
    document = {"version": 3, "cluster_id": "c1"}
    checksum = crc32(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    (tmp_path / "identity.json").write_bytes(orjson.dumps({**document, "crc32": checksum}))

    with pytest.raises(CorruptIdentity, match="version 3; this release reads 2"):
        load_identity(tmp_path)


@pytest.mark.parametrize(
    ("start", "outdated"),
    [
        (Start(4, "d"), False),  # the next one
        (Start(9, "x"), False),  # some were missed
        (Start(3, "c"), False),  # the same process again
        (Start(3, "x"), True),  # a copy of the directory as it was at start 2, started again
        (Start(2, "b"), True),
    ],
)
def test_start_of_an_old_copy_is_told_from_the_next_start(start: Start, *, outdated: bool) -> None:
    assert start.is_outdated(Start(3, "c")) is outdated


HOLD = """
import sys
from collections.abc import Iterator
from pathlib import Path
from node.storage.identity import DirectoryLock
lock = DirectoryLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_second_process_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    """S56: two processes on the same data directory: the second refuses to start."""
    directory = tmp_path / "new" / "data"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    with pytest.raises(DirectoryInUse) as caught:
        DirectoryLock.acquire(directory)
    assert caught.value.pid == holder.pid
    assert f"process {holder.pid}" in str(caught.value)

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    DirectoryLock.acquire(directory).release()


def test_same_process_cannot_take_the_lock_twice(tmp_path: Path) -> None:
    lock = DirectoryLock.acquire(tmp_path)

    with pytest.raises(DirectoryInUse) as caught:
        DirectoryLock.acquire(tmp_path)
    assert caught.value.pid == os.getpid()
    lock.release()
    lock.release()


def test_directory_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(DirectoryUnusable, match=r"file.* cannot be used as a data directory"):
        DirectoryLock.acquire(tmp_path / "file")
    with pytest.raises(DirectoryUnusable, match="cannot be used"):
        DirectoryLock.acquire(Path("/proc/nowhere"))


def test_deleted_directory_is_noticed(tmp_path: Path) -> None:
    lock = DirectoryLock.acquire(tmp_path)
    lock.check_in_place()
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").write_bytes(b"")

    with pytest.raises(StorageFailed):
        lock.check_in_place()
    lock.release()


def wide_modes(directory: Path) -> list[Path]:
    """Return what in a directory, itself included, others than the owner may touch."""
    return [path for path in (directory, *directory.rglob("*")) if path.stat().st_mode & 0o077]


@pytest.fixture
def no_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.usefixtures("no_umask")
def test_nothing_is_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "node"
    lock = DirectoryLock.acquire(directory)
    save_identity(directory, identity())
    log = LogStore.open(directory / "log", map_size_bytes=1 << 24, create=True)
    items = ItemStore.open(directory / "items", create=True)
    snapshot = SnapshotFile(directory / "snapshots", 1, bytes(16), (0, 1))
    snapshot.close()
    items.close()
    log.close()

    assert len(list(directory.rglob("*"))) >= 9
    assert wide_modes(directory) == []
    assert lock.tighten() == 0
    lock.release()


def test_what_an_earlier_umask_left_open_is_closed(tmp_path: Path) -> None:
    lock = DirectoryLock.acquire(tmp_path)
    save_identity(tmp_path, identity())
    LogStore.open(tmp_path / "log", map_size_bytes=1 << 24, create=True).close()
    wide = [tmp_path, tmp_path / "identity.json", tmp_path / "log", tmp_path / "log" / "data.mdb"]
    for path in wide:
        path.chmod(0o2775 if path.is_dir() else 0o664)  # as Kubernetes opens volumes to a group

    assert lock.tighten() == len(wide)

    assert wide_modes(tmp_path) == []
    lock.release()


def test_an_open_directory_that_cannot_be_closed_is_refused() -> None:
    """As one of another user; nobody, root included, may change the modes of /proc."""
    with pytest.raises(NotPrivate, match="/proc/self is open to other users"):
        tighten(Path("/proc/self"), ())
