"""In-memory twins of the two stores, on disks that keep exactly what was made durable.

A commit is one transaction, all or nothing, as LMDB's is: in flight at a crash it is lost or
kept, and it may be kept although nobody was told. A cut of the log is durable with the next
commit. What the twins do not have: bytes, and so no torn or damaged ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from node.storage import layout
from node.storage.errors import StorageFull
from node.storage.items import (
    InstallRecord,
    ReplicaCheckpoint,
    ReplicaState,
)
from node.storage.log import GroupWrite, RecoveredGroup
from raft.types import Compacted, Entry, HardState

ENTRY_OVERHEAD_BYTES = 64

PIECE_ITEMS = 3
"""Items in one piece of a snapshot: few, so that it has many pieces."""


class ReadFailed(Exception):
    """EIO from a read: the process ends."""


def _may_read() -> None:
    """Nothing fails."""


class GroupLog:
    """One group's log: what is durable of it, or what is published of it.

    Satisfies raft's LogReader. Entries never change, so both may share them.
    """

    __slots__ = ("check_read", "cut_index", "cut_term", "entries_held", "hard_state")

    def __init__(self, check_read: Callable[[], None] = _may_read) -> None:
        self.check_read = check_read
        self.cut_index = 0
        self.cut_term = 0
        self.entries_held: list[Entry] = []
        self.hard_state = HardState()

    def copy(self, check_read: Callable[[], None]) -> GroupLog:
        log = GroupLog(check_read)
        log.cut_index, log.cut_term = self.cut_index, self.cut_term
        log.entries_held = list(self.entries_held)
        log.hard_state = self.hard_state
        return log

    def first_index(self) -> int:
        return self.cut_index + 1

    def last_index(self) -> int:
        return self.cut_index + len(self.entries_held)

    def term(self, index: int) -> int:
        place = index - self.cut_index
        if place <= 0:
            if place == 0:
                return self.cut_term
            raise Compacted(index)
        return self.entries_held[place - 1].term

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        if low <= self.cut_index:
            raise Compacted(low)
        self.check_read()
        assert low < high <= self.last_index() + 1, "raft asks for entries that are not in the log"
        page: list[Entry] = []
        for entry in self.entries_held[low - self.cut_index - 1 : high - self.cut_index - 1]:
            bytes_max -= len(entry.payload)
            if page and bytes_max < 0:
                break
            page.append(entry)
        return page

    def holds(self, index: int, term: int) -> bool:
        """Whether this log has, or had and cut off, the entry of this index and term."""
        if index <= self.cut_index:
            return True
        return index <= self.last_index() and self.term(index) == term

    def write(self, change: GroupWrite) -> None:
        """Do what one write says, in the order of its fields."""
        if change.reset is not None:
            assert change.reset[0] >= self.cut_index
            self.cut_index, self.cut_term = change.reset
            self.entries_held = []
        if change.truncate_from is not None:
            assert self.cut_index < change.truncate_from <= self.last_index() + 1
            del self.entries_held[change.truncate_from - self.cut_index - 1 :]
        if change.entries:
            assert change.entries[0].index == self.last_index() + 1, "entries follow the log"
            self.entries_held += change.entries
        if change.hard_state is not None:
            state = change.hard_state
            self.hard_state = HardState(state.term, state.vote, state.commit)

    def cut(self, index: int) -> None:
        """Forget entries <= index."""
        if index > self.cut_index:
            assert index <= self.last_index()
            self.cut_term = self.term(index)
            del self.entries_held[: index - self.cut_index]
            self.cut_index = index


@dataclass(slots=True)
class LogDisk:
    """What a node's disk holds of its log. `on_write` sees every durable write."""

    on_write: Callable[[GroupWrite], None]
    groups: dict[int, GroupLog] = field(default_factory=dict)

    def group(self, group: int) -> GroupLog:
        log = self.groups.get(group)
        if log is None:
            log = self.groups[group] = GroupLog()
        return log


@dataclass(slots=True)
class MemoryRecord:
    """One prepared commit."""

    writes: Sequence[GroupWrite]
    cuts: list[tuple[int, int]]


class MemoryLogStore:
    """The twin of `node.storage.log.LogStore`. `check_read` raises ReadFailed if a read fails."""

    def __init__(self, disk: LogDisk, check_read: Callable[[], None] = _may_read) -> None:
        self._disk = disk
        self._check_read = check_read
        self._published = {group: log.copy(check_read) for group, log in disk.groups.items()}
        self._recovered = {
            group: RecoveredGroup(
                log.hard_state, log.cut_index, log.cut_term, log.first_index(), log.last_index()
            )
            for group, log in self._published.items()
        }
        self._cuts: list[tuple[int, int]] = []
        self._in_flight = False

    def recovered(self) -> dict[int, RecoveredGroup]:
        return self._recovered

    def prepare(self, writes: Sequence[GroupWrite]) -> MemoryRecord:
        assert not self._in_flight, "publish the last commit first"
        self._in_flight = True
        cuts, self._cuts = self._cuts, []
        return MemoryRecord(list(writes), cuts)

    def commit(self, record: MemoryRecord) -> None:
        """Make a record durable."""
        disk = self._disk
        for group, index in record.cuts:
            disk.group(group).cut(min(index, disk.group(group).last_index()))
        for write in record.writes:
            disk.group(write.group).write(write)
            disk.on_write(write)

    def publish(self, record: MemoryRecord) -> None:
        self._in_flight = False
        for write in record.writes:
            self._log(write.group).write(write)

    def reader(self, group: int) -> GroupLog:
        return self._log(group)

    def cut(self, group: int, index: int) -> None:
        log = self._log(group)
        assert log.cut_index <= index <= log.last_index()
        log.cut(index)
        self._cuts.append((group, index))

    def size_bytes(self) -> int:
        return sum(
            ENTRY_OVERHEAD_BYTES + len(entry.payload)
            for log in self._published.values()
            for entry in log.entries_held
        )

    def _log(self, group: int) -> GroupLog:
        log = self._published.get(group)
        if log is None:
            log = self._published[group] = GroupLog(self._check_read)
        return log


@dataclass(slots=True)
class ItemsDisk:
    """What a node's disk holds of its items. States and generations in their bytes."""

    items: dict[bytes, bytes] = field(default_factory=dict)
    states: dict[int, bytes] = field(default_factory=dict)
    generations: dict[int, dict[int, bytes]] = field(default_factory=dict)
    installs: dict[int, bytes] = field(default_factory=dict)
    files: dict[tuple[int, bytes], SnapshotFile] = field(default_factory=dict)

    def applied(self, group: int) -> int:
        """Return how far the items go, those of a snapshot included that is being installed."""
        install = self.installs.get(group)
        if install is not None:
            return layout.decode_install(layout.install_key(group), install).applied_index
        raw = self.states.get(group)
        return layout.decode_state(raw).applied_index if raw else 0


class MemoryItemStore:
    """The twin of `node.storage.items.ItemStore`. `is_full` says whether there is no room."""

    def __init__(
        self,
        disk: ItemsDisk,
        is_full: Callable[[], bool],
        check_read: Callable[[], None] = _may_read,
    ) -> None:
        self._disk = disk
        self._check_read = check_read
        self._is_full = is_full

    def replicas(self) -> dict[int, ReplicaState]:
        return {group: layout.decode_state(raw) for group, raw in self._disk.states.items()}

    def generations(self, group: int) -> list[tuple[int, bytes]]:
        return sorted(self._disk.generations.get(group, {}).items())

    def list_table_ids(self) -> list[int]:
        return sorted({layout.table_of(key) for key in self._disk.items})

    def get(self, key: bytes) -> bytes | None:
        self._check_read()
        return self._disk.items.get(key)

    def scan(
        self, low: bytes, high: bytes, *, backwards: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        self._check_read()
        items = self._disk.items
        for key in sorted((key for key in items if low <= key < high), reverse=backwards):
            yield key, items[key]

    def refresh(self) -> None:
        """Nothing is held."""

    def open_view(self, arc: tuple[int, int], group: int, view: bytes) -> MemoryView:
        self._check_read()
        raw = self._disk.states[group]
        state = layout.decode_state(raw)
        encoded = layout.encode_snapshot_state(state, self.generations(group))
        pairs = [(key, self._disk.items[key]) for key in self._keys_of(arc)]
        return MemoryView(group, view, state, encoded, pairs)

    def installs(self) -> list[InstallRecord]:
        return [
            layout.decode_install(layout.install_key(group), raw)
            for group, raw in sorted(self._disk.installs.items())
        ]

    def size_bytes(self) -> int:
        return sum(map(len, self._disk.items.values()))

    def checkpoint(self, batch: Sequence[ReplicaCheckpoint]) -> None:
        self._check_room()
        for replica in batch:
            for key, image in replica.items:
                if image:
                    self._disk.items[key] = image
                else:
                    self._disk.items.pop(key, None)
            self._disk.states[replica.group] = layout.encode_state(replica.state)
            generations = self._disk.generations.setdefault(replica.group, {})
            if replica.generation is not None:
                generations[replica.generation[0]] = replica.generation[1]
            for number in replica.generations_to_drop:
                generations.pop(number, None)

    def begin_install(self, record: InstallRecord) -> None:
        self._check_room()
        self._delete_state(record.group)
        self._disk.installs[record.group] = layout.encode_install(record)

    def clear_arc(self, arc: tuple[int, int], *, items_max: int) -> bool:
        self._check_room()
        keys = self._keys_of(arc)
        for key in keys[:items_max]:
            del self._disk.items[key]
        return len(keys) >= items_max

    def fill_arc(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        self._check_room()
        self._disk.items.update(items)

    def finish_install(self, record: InstallRecord, state: bytes) -> None:
        self._check_room()
        decoded, generations = layout.decode_snapshot_state(state)
        self._disk.states[record.group] = layout.encode_state(decoded)
        self._disk.generations[record.group] = dict(generations)
        del self._disk.installs[record.group]

    def purge(self, dropped: Iterable[int], *, items_max: int = 1000) -> bool:
        self._check_room()
        gone = set(dropped)
        held = self._disk.items
        for key in sorted(key for key in held if layout.table_of(key) in gone)[:items_max]:
            del held[key]
        return any(layout.table_of(key) in gone for key in held)

    def _keys_of(self, arc: tuple[int, int]) -> list[bytes]:
        return sorted(key for key in self._disk.items if arc[0] <= layout.token_of(key) < arc[1])

    def _delete_state(self, group: int) -> None:
        self._disk.states.pop(group, None)
        self._disk.generations.pop(group, None)
        self._disk.installs.pop(group, None)

    def _check_room(self) -> None:
        if self._is_full():
            raise StorageFull("no room")


@dataclass(slots=True)
class MemoryView:
    """The twin of SnapshotView: a replica as it was, its items in pieces."""

    group: int
    view: bytes
    state: ReplicaState
    state_bytes: bytes
    pairs: list[tuple[bytes, bytes]]

    def piece(self, number: int) -> list[tuple[bytes, bytes]] | None:
        """Return a piece of the items; None after the end."""
        low = number * PIECE_ITEMS
        return self.pairs[low : low + PIECE_ITEMS] if low < len(self.pairs) else None


@dataclass(slots=True)
class SnapshotFile:
    """What a receiver has got of a view. Until it is sealed, a crash may take its last pieces."""

    state: bytes
    pieces: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    is_sealed: bool = False
