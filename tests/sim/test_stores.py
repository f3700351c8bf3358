"""The simulated stores against the real ones: same operations, same answers, same recovery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from node.storage.items import InstallRecord, ItemStore, ReplicaCheckpoint, ReplicaState
from node.storage.log import GroupWrite, RecoveredGroup
from quorate.cluster.ring import RING_SIZE
from raft.types import Configuration, Entry, EntryKind, HardState
from tests.node.builders import image, key
from tests.sim.disk import ItemsDisk, LogDisk, MemoryItemStore, MemoryLogStore
from tests.storage.builders import open_log

GROUPS = (1, 2, 7)
MAP_SIZE_BYTES = 64 << 20
ARCS = {1: (0, RING_SIZE // 2), 2: (RING_SIZE // 2, RING_SIZE)}
NAMES = [f"item{number}" for number in range(12)]
NOTHING = RecoveredGroup(HardState(), 0, 0, 1, 0)
MEMBERS = Configuration((1, 2, 3)).encode()


class LogPair:
    """The same log twice; `cuts` are made again after a restart, which may forget them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = LogDisk(lambda write: None)
        self.cuts = dict.fromkeys(GROUPS, 0)
        self.real = open_log(path)
        self.twin = MemoryLogStore(self.disk)

    def write(self, rng: Random) -> None:
        changes = [self._change(group, rng) for group in rng.sample(GROUPS, rng.randrange(1, 4))]
        for store in (self.real, self.twin):
            record = store.prepare(changes)
            store.commit(record)  # type: ignore[arg-type]
            store.publish(record)  # type: ignore[arg-type]

    def _change(self, group: int, rng: Random) -> GroupWrite:
        log = self.twin.reader(group)
        change = GroupWrite(group)
        first, last = log.first_index(), log.last_index()
        term = log.term(last) + rng.randrange(2) or 1
        if rng.random() < 0.05:
            last += rng.randrange(4)
            change.reset = (last, term)
            self.cuts[group] = last
        elif last >= first and rng.random() < 0.2:
            change.truncate_from = rng.randrange(first, last + 1)
            last = change.truncate_from - 1
        change.entries = [
            Entry(index, term, EntryKind.COMMAND, rng.randbytes(rng.randrange(40)))
            for index in range(last + 1, last + 1 + rng.randrange(4))
        ]
        if rng.random() < 0.5:
            change.hard_state = HardState(term, rng.randrange(4), last)
        return change

    def cut(self, rng: Random) -> None:
        group = rng.choice(GROUPS)
        log = self.twin.reader(group)
        index = rng.randrange(log.first_index() - 1, log.last_index() + 1)
        self.cuts[group] = max(self.cuts[group], index)
        self.real.cut(group, index)
        self.twin.cut(group, index)

    def restart(self) -> None:
        """Open both again: only what a cut has removed may be there once more."""
        self.real.close()
        self.real = open_log(self.path, create=False)
        self.twin = MemoryLogStore(self.disk)
        recovered = self.real.recovered()
        for group, expected in self.twin.recovered().items():
            found = recovered.get(group, NOTHING)
            assert (found.hard_state, found.last_index) == (
                expected.hard_state,
                expected.last_index,
            )
            assert found.cut_index <= self.cuts[group]
            assert expected.cut_index <= self.cuts[group]
            for store in (self.real, self.twin):
                if store.reader(group).first_index() <= self.cuts[group]:
                    store.cut(group, self.cuts[group])

    def check(self, rng: Random) -> None:
        for group in GROUPS:
            real, twin = self.real.reader(group), self.twin.reader(group)
            first, last = twin.first_index(), twin.last_index()
            assert (real.first_index(), real.last_index()) == (first, last)
            for index in range(first - 1, last + 1):
                assert real.term(index) == twin.term(index)
            if first <= last:
                low = rng.randrange(first, last + 1)
                high = rng.randrange(low + 1, last + 2)
                bytes_max = rng.randrange(200)
                assert real.entries(low, high, bytes_max) == twin.entries(low, high, bytes_max)


@pytest.mark.parametrize("seed", range(4))
def test_simulated_log_is_the_real_one(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    pair = LogPair(tmp_path / "log")
    for _ in range(150):
        (act,) = rng.choices((pair.write, pair.cut, None), (10, 2, 1))
        if act is None:
            pair.restart()
        else:
            act(rng)
        pair.check(rng)
    pair.real.close()


class ItemsPair:
    """The same items twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = ItemsDisk()
        self.applied = 0
        self.installing: tuple[InstallRecord, bytes] | None = None
        self.real = ItemStore.open(path, map_size_bytes=MAP_SIZE_BYTES)
        self.twin = MemoryItemStore(self.disk, lambda: False)

    @property
    def stores(self) -> tuple[ItemStore, MemoryItemStore]:
        return self.real, self.twin

    def _state(self, rng: Random) -> ReplicaState:
        self.applied += 1
        return ReplicaState(self.applied, 1, MEMBERS, {1: (rng.randrange(9), rng.randrange(99))})

    def checkpoint(self, rng: Random) -> None:
        group = rng.choice(list(ARCS))
        if self.installing is not None and self.installing[0].group == group:
            return  # a replica that is being installed makes none
        part = ReplicaCheckpoint(
            group,
            self._state(rng),
            _items(rng, group),
            (rng.randrange(1, 5), rng.randbytes(8)) if rng.random() < 0.5 else None,
            [rng.randrange(1, 5)] if rng.random() < 0.3 else [],
        )
        for store in self.stores:
            store.checkpoint([part])

    def purge(self, rng: Random) -> None:
        more = [store.purge([2], items_max=3) for store in self.stores]
        assert more[1] <= more[0]  # "perhaps there is more" may be wrong

    def send(self, rng: Random) -> None:
        """Open a view of both, and begin to install what it has in the other group."""
        group = rng.choice(list(ARCS))
        if group not in self.twin.replicas():
            return
        real = self.real.open_view(ARCS[group], group, b"v" * 16)
        twin = self.twin.open_view(ARCS[group], group, b"v" * 16)
        assert real.state == twin.state
        assert list(real.items()) == twin.pairs
        real.close()
        if self.installing is None:
            record = InstallRecord(
                group, b"v" * 16, twin.state.applied_index, 1, ARCS[group], rng.randrange(9)
            )
            self.installing = record, twin.state_bytes
            for store in self.stores:
                store.begin_install(record)

    def install(self, rng: Random) -> None:
        """Take a step, some step: the order is the real installer's business."""
        if self.installing is None:
            return
        record, state = self.installing
        step = rng.randrange(3)
        if step == 0:
            more = [store.clear_arc(record.arc, items_max=2) for store in self.stores]
            assert more[0] == more[1]
        elif step == 1:
            items = [pair for pair in _items(rng, record.group) if pair[1]]
            for store in self.stores:
                store.fill_arc(items)
        else:
            for store in self.stores:
                store.finish_install(record, state)
            self.installing = None

    def restart(self) -> None:
        self.real.close()
        self.real = ItemStore.open(self.path, map_size_bytes=MAP_SIZE_BYTES, create=False)
        self.twin = MemoryItemStore(self.disk, lambda: False)

    def check(self, rng: Random) -> None:
        real, twin = self.stores
        assert real.replicas() == twin.replicas()
        assert real.installs() == twin.installs()
        assert real.list_table_ids() == twin.list_table_ids()
        for group in ARCS:
            assert real.generations(group) == twin.generations(group)
        name, table = rng.choice(NAMES), rng.choice((1, 2))
        assert real.get(key(name, table=table)) == twin.get(key(name, table=table))
        low, high = sorted(rng.choice((1, 2, 3)).to_bytes(4, "big") for _ in range(2))
        backwards = rng.random() < 0.5
        assert _all(real.scan(low, high, backwards=backwards)) == _all(
            twin.scan(low, high, backwards=backwards)
        )


def _items(rng: Random, group: int) -> Sequence[tuple[bytes, bytes]]:
    """Some items of a group's arc, by key; some are deleted."""
    low, high = ARCS[group]
    keys = sorted(key(name, table=table) for name in NAMES for table in (1, 2))
    mine = [each for each in keys if low <= int.from_bytes(each[4:12], "big") < high]
    return [
        (each, b"" if rng.random() < 0.2 else image("x", n=rng.randrange(99)))
        for each in mine
        if rng.random() < 0.4
    ]


def _all(found: Iterator[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return list(found)


@pytest.mark.parametrize("seed", range(4))
def test_simulated_items_are_the_real_ones(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    pair = ItemsPair(tmp_path / "items")
    acts = (pair.checkpoint, pair.purge, pair.send, pair.install, None)
    for _ in range(120):
        (act,) = rng.choices(acts, (8, 2, 3, 5, 1))
        if act is None:
            pair.restart()
        else:
            act(rng)
        pair.check(rng)
    pair.real.close()
