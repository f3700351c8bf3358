"""The items store: checkpoints, reads, snapshots, purges, damage."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from model.image import encode_image
from node.storage import items_checkpoint
from node.storage.check import check_data_directory
from node.storage.errors import CorruptItems, StorageFull
from node.storage.identity import Identity, save_identity
from node.storage.items import ItemStore, ReplicaCheckpoint, ReplicaState
from node.storage.log import LogStore

MAP_SIZE_BYTES = 256 << 20
RING = 1 << 64
HALF = 1 << 63
VIEW = b"the view's id..."
REPOSITORY = Path(__file__).parents[2]

Pair = tuple[bytes, bytes]


def key(table: int, token: int, sort: bytes = b"") -> bytes:
    return table.to_bytes(4, "big") + token.to_bytes(8, "big") + b"\xcc" * 8 + sort


def image(text: str) -> bytes:
    return encode_image({"v": {"S": text}}, 1 + len(text))


def state(applied: int, **tables: int) -> ReplicaState:
    sizes = {int(name[1:]): (count, count * 100) for name, count in tables.items()}
    return ReplicaState(applied, applied // 10 + 1, b"configuration", sizes)


def share(group: int, applied: int, *items: Pair) -> ReplicaCheckpoint:
    return ReplicaCheckpoint(group, state(applied), sorted(items))


def open_items(path: Path, **options: int) -> ItemStore:
    return ItemStore.open(path, map_size_bytes=options.get("map_size_bytes", MAP_SIZE_BYTES))


@pytest.fixture
def items(tmp_path: Path) -> Iterator[ItemStore]:
    store = open_items(tmp_path / "items")
    yield store
    store.close()


def everything(items: ItemStore) -> dict[bytes, bytes]:
    return dict(items.scan(b"", b"\xff" * 20))


# -- Checkpoints and reads --


def test_checkpoint_stores_items_and_state_together(items: ItemStore, tmp_path: Path) -> None:
    """S47: the applied index is in the transaction of the data."""
    checkpoint = share(3, 42, (key(1, 5), image("a")), (key(1, 9), image("b")))
    checkpoint.state.table_sizes = {1: (2, 77), 9: (0, 0)}
    items.checkpoint([checkpoint])
    items.close()

    store = open_items(tmp_path / "items")
    assert store.replicas() == {3: checkpoint.state}
    assert store.get(key(1, 5)) == image("a")
    assert store.get(key(1, 6)) is None
    store.close()


def test_empty_image_deletes(items: ItemStore) -> None:
    items.checkpoint([share(3, 1, (key(1, 5), image("a")), (key(1, 6), image("b")))])
    items.checkpoint([share(3, 2, (key(1, 5), b""), (key(1, 7), b""))])

    assert everything(items) == {key(1, 6): image("b")}


def test_get_sees_a_checkpoint_as_soon_as_it_returned(items: ItemStore) -> None:
    for number in range(20):
        assert items.get(key(1, number)) is None
        items.checkpoint([share(3, number + 1, (key(1, number), image("x")))])
        assert items.get(key(1, number)) == image("x")


def test_reads_go_on_while_another_thread_checkpoints(items: ItemStore) -> None:
    """A read sees a checkpoint whole or not at all."""
    keys = [key(1, number) for number in range(50)]

    stop = threading.Event()

    def checkpoints() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            one = image(str(number))
            items.checkpoint([share(3, number, *((each, one) for each in keys))])

    writer = threading.Thread(target=checkpoints)
    writer.start()
    try:
        for _ in range(200):
            images = {found for _, found in items.scan(key(1, 0), key(2, 0))}
            assert len(images) <= 1
            items.get(keys[0])
    finally:
        stop.set()
        writer.join()
    assert items.get(keys[0]) == image(str(items.replicas()[3].applied_index))


def test_scan_is_half_open_and_goes_both_ways(items: ItemStore) -> None:
    pairs = [(key(1, number), image(str(number))) for number in range(10)]
    items.checkpoint([share(3, 1, *pairs)])

    assert list(items.scan(key(1, 2), key(1, 5))) == pairs[2:5]
    assert list(items.scan(key(1, 2), key(1, 5), backwards=True)) == pairs[2:5][::-1]
    assert list(items.scan(b"", b"\xff", backwards=True)) == pairs[::-1]
    assert list(items.scan(key(1, 7), b"\xff")) == pairs[7:]
    assert list(items.scan(key(1, 5), key(1, 5))) == []
    assert list(items.scan(key(2, 0), key(3, 0))) == []
    assert list(items.scan(key(0, 0), key(1, 0), backwards=True)) == []


def test_abandoned_scan_leaves_no_reader_behind(items: ItemStore) -> None:
    items.checkpoint([share(3, 1, *((key(1, n), image("x")) for n in range(10)))])
    for _ in range(500):  # more than there are reader slots
        assert next(items.scan(b"", b"\xff"))


def test_generations_are_kept_replaced_and_dropped(items: ItemStore, tmp_path: Path) -> None:
    first = share(3, 1)
    first.generation = (1, b"ids 1")
    other = share(4, 1)
    other.generation = (1, b"other group")
    items.checkpoint([first, other])
    second = share(3, 2)
    second.generation = (300, b"ids 300")
    items.checkpoint([second])
    assert items.generations(3) == [(1, b"ids 1"), (300, b"ids 300")]

    third = share(3, 3)
    third.generation = (300, b"")
    third.generations_to_drop = [1, 7]
    items.checkpoint([third])
    items.close()
    store = open_items(tmp_path / "items")
    assert store.generations(3) == [(300, b"")]
    assert store.generations(4) == [(1, b"other group")]
    assert store.generations(5) == []
    store.close()


@pytest.mark.parametrize("seed", range(4))
def test_random_checkpoints_match_a_dict(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    model: dict[bytes, bytes] = {}
    items = open_items(tmp_path / "items")
    for step in range(60):
        changes = {
            key(rng.randrange(3), rng.randrange(40)): rng.choice(
                [b"", image("x" * rng.randrange(3000))]
            )
            for _ in range(rng.choice([0, 1, 50]))
        }
        items.checkpoint([share(1, step + 1, *changes.items())])
        model.update(changes)
        model = {each: found for each, found in model.items() if found}
        assert everything(items) == model
        if rng.random() < 0.2:
            items.close()
            items = open_items(tmp_path / "items")
            assert items.replicas()[1].applied_index == step + 1
            assert everything(items) == model
    items.close()


# -- Snapshots --


def two_arcs() -> list[Pair]:
    """Items of three tables at both sides of the middle of the ring, and at its ends."""
    tokens = [0, 1, HALF - 1, HALF, HALF + 1, RING - 1]
    return [
        (key(table, token, b"s"), image(f"{table}/{token}"))
        for table in (1, 2, 70)
        for token in tokens
    ]


def in_arc(pairs: list[Pair], low: int, high: int) -> list[Pair]:
    return [pair for pair in pairs if low <= int.from_bytes(pair[0][4:12], "big") < high]


@pytest.mark.parametrize(("low", "high"), [(0, HALF), (HALF, RING), (0, RING), (5, 6)])
def test_snapshot_has_exactly_the_arc_in_key_order(items: ItemStore, low: int, high: int) -> None:
    items.checkpoint([share(1, 10, *two_arcs())])

    view = items.open_view((low, high), 1, VIEW)
    assert list(view.items()) == in_arc(two_arcs(), low, high)
    view.close()
    view.close()


def test_snapshot_does_not_see_later_checkpoints(items: ItemStore) -> None:
    first = share(1, 10, *two_arcs())
    first.generation = (4, b"ids")
    items.checkpoint([first])
    view = items.open_view((0, HALF), 1, VIEW)
    items.checkpoint([share(1, 11, *((each, b"") for each, _ in two_arcs()))])

    assert view.state.applied_index == 10
    assert view.state == first.state
    assert list(view.items()) == in_arc(two_arcs(), 0, HALF)
    view.close()


def broken_image() -> bytes:
    return image("x")[:-1] + b"!"


def test_damaged_image_is_not_sent_in_a_snapshot(items: ItemStore) -> None:
    items.checkpoint([share(1, 10, (key(1, 1), image("ok")), (key(1, 2), broken_image()))])
    view = items.open_view((0, RING), 1, VIEW)

    with pytest.raises(CorruptItems, match=key(1, 2).hex()):
        list(view.items())
    view.close()


def test_snapshot_of_an_unknown_group_is_refused(items: ItemStore) -> None:
    with pytest.raises(CorruptItems, match="group 9"):
        items.open_view((0, RING), 9, VIEW)


# -- Dropped tables --


def test_purge_deletes_dropped_tables_in_slices(items: ItemStore) -> None:
    items.checkpoint([share(1, 10, *two_arcs())])

    assert items.list_table_ids() == [1, 2, 70]
    assert items.purge([1, 70], items_max=7)
    assert items.item_count() == 11
    assert not items.purge([1, 70], items_max=7)
    assert items.list_table_ids() == [2]
    assert not items.purge([1, 70])


def test_table_with_the_greatest_id_can_be_purged(items: ItemStore) -> None:
    last = (1 << 32) - 1
    items.checkpoint([share(1, 10, (key(last, RING - 1), image("x")))])

    assert items.list_table_ids() == [last]
    assert not items.purge([last])
    assert items.item_count() == 0


# -- Full, damaged, dead --


def test_full_map_refuses_the_checkpoint_and_changes_nothing(tmp_path: Path) -> None:
    items = open_items(tmp_path / "items", map_size_bytes=1 << 20)
    items.checkpoint([share(1, 1, (key(1, 1), image("kept")))])
    large = [(key(1, number + 2), image("x" * 1000)) for number in range(2000)]

    with pytest.raises(StorageFull):
        items.checkpoint([share(1, 2, *large)])
    assert items.replicas() == {1: state(1)}
    assert everything(items) == {key(1, 1): image("kept")}
    items.checkpoint([share(1, 2, (key(1, 2), image("fits")))])
    assert items.get(key(1, 2)) == image("fits")
    items.close()


KILOBYTE = image("x" * 1000)


def random_parts(rng: random.Random, count: int) -> list[ReplicaCheckpoint]:
    """Images of 1 KB under random keys, for 16 replicas."""
    parts: dict[int, list[tuple[bytes, bytes]]] = {}
    for item_key in sorted(b"\0\0\0\1" + rng.randbytes(16) for _ in range(count)):
        parts.setdefault(item_key[4] >> 4, []).append((item_key, KILOBYTE))
    return [
        ReplicaCheckpoint(group, ReplicaState(1, 1, b"", {1: (len(part), 0)}), part)
        for group, part in parts.items()
    ]


def test_a_file_that_is_written_again_and_again_is_little_larger_than_its_items(
    items: ItemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one transaction LMDB has every page that changes twice: the file was twice the items."""
    monkeypatch.setattr(items_checkpoint, "TRANSACTION_BYTES", 1 << 20)
    parts = random_parts(random.Random(1), 8000)

    for _ in range(4):
        items.checkpoint(parts)

    assert items.size_bytes() < 1.25 * items.live_bytes()


def test_a_checkpoint_that_finds_no_room_halfway_leaves_each_replica_whole_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(items_checkpoint, "TRANSACTION_BYTES", 1 << 20)
    parts = random_parts(random.Random(1), 4000)
    items = open_items(tmp_path / "items", map_size_bytes=6 << 20)

    with pytest.raises(StorageFull):
        items.checkpoint(parts)

    stored = items.replicas()
    assert 0 < len(stored) < len(parts)
    for part in parts:
        found = [items.get(item_key) for item_key, _ in part.items]
        assert set(found) == {KILOBYTE if part.group in stored else None}
    items.close()
    with closing(open_items(tmp_path / "items")) as items:
        items.checkpoint(parts)
        assert items.replicas() == {part.group: part.state for part in parts}
        assert items.item_count() == 4000


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    items = open_items(tmp_path / "items")
    items.checkpoint([share(1, 1, *((key(1, n), image("x" * 900)) for n in range(500)))])
    items.close()
    data = tmp_path / "items" / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)

    with pytest.raises(CorruptItems, match="cut short"):
        open_items(tmp_path / "items")


def test_damaged_replica_state_is_refused(tmp_path: Path) -> None:
    items = open_items(tmp_path / "items")
    items.checkpoint([share(1, 1)])
    items.close()
    with lmdb.open(str(tmp_path / "items"), lib_version=0, max_dbs=2) as environment:
        replicas = environment.open_db(b"replicas")
        with environment.begin(write=True, db=replicas) as transaction:
            raw = transaction.get(b"s\0\0\0\1")
            assert raw is not None
            transaction.put(b"s\0\0\0\1", raw[:20] + b"\xff" + raw[21:])

    with pytest.raises(CorruptItems, match=r"checksum.*must not be served"):
        open_items(tmp_path / "items")


def test_scrub_walks_all_items_and_finds_the_damaged_one(items: ItemStore) -> None:
    items.checkpoint([share(1, 10, *two_arcs())])
    position: bytes | None = b""
    calls = 0
    while position is not None:
        position = items.scrub(position, items_max=4)
        calls += 1
    assert calls == 5
    items.checkpoint([share(1, 11, (key(70, 5), broken_image()))])

    with pytest.raises(CorruptItems, match="checksum"):
        items.scrub(b"")


CHECKPOINT_FOR_EVER = """
import sys
from pathlib import Path
from model.image import encode_image
from node.storage.items import ItemStore, ReplicaCheckpoint, ReplicaState
items = ItemStore.open(Path(sys.argv[1]), map_size_bytes=1 << 28)
replicas = items.replicas()
applied = replicas[1].applied_index if replicas else 0
while True:
    applied += 1
    image = encode_image({"v": {"N": str(applied)}}, 5)
    pairs = [(b"%020d" % number, image) for number in range(200)]
    state = ReplicaState(applied, 1, b"c", {})
    items.checkpoint([ReplicaCheckpoint(1, state, pairs)])
    print(applied, flush=True)
"""


def test_checkpoint_survives_kill_9_whole(tmp_path: Path) -> None:
    rng = random.Random(8)
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHECKPOINT_FOR_EVER, str(tmp_path / "items")],
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
        )
        assert child.stdout is not None
        wanted = rng.randrange(3, 30)
        acknowledged = 0
        for count, line in enumerate(child.stdout):
            if line.endswith("\n"):
                acknowledged = int(line)
            if count == wanted:
                child.send_signal(signal.SIGKILL)
        child.stdout.close()
        child.wait()

        items = open_items(tmp_path / "items")
        applied = items.replicas()[1].applied_index
        assert applied in (acknowledged, acknowledged + 1)
        expected = encode_image({"v": {"N": str(applied)}}, 5)
        assert set(everything(items).values()) == {expected}
        items.close()


def directory_of_a_node(directory: Path) -> None:
    save_identity(directory, Identity("c", 1, "a1", "az-a", "f00d"))
    LogStore.open(directory / "log", map_size_bytes=MAP_SIZE_BYTES).close()
    items = open_items(directory / "items")
    items.checkpoint([share(1, 10, *two_arcs())])
    items.close()


def test_check_of_a_sound_directory_finds_nothing(tmp_path: Path) -> None:
    directory_of_a_node(tmp_path)

    report = check_data_directory(tmp_path)

    assert report.findings == []
    assert report.items == len(two_arcs())


def remove_log(directory: Path) -> None:
    shutil.rmtree(directory / "log")


def flip_identity(directory: Path) -> None:
    path = directory / "identity.json"
    path.write_bytes(path.read_bytes().replace(b"az-a", b"az-b"))


def flip_image(directory: Path) -> None:
    items = open_items(directory / "items")
    items.checkpoint([share(1, 11, (key(1, 5), broken_image()))])
    items.close()


@pytest.mark.parametrize("damage", [remove_log, flip_identity, flip_image])
def test_check_reports_damage(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    directory_of_a_node(tmp_path)
    damage(tmp_path)

    assert len(check_data_directory(tmp_path).findings) == 1
