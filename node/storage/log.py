"""The log store: every group's Raft log and hard state in one LMDB environment.

One append-only record a commit, for all groups of the node; see `layout` for its bytes. The index
in memory (`log_index`) finds a group's entries. Records nobody needs any more are deleted in
slices, with later commits; the head keeps what they alone still said.

No retries here: an unexpected error of a commit is final for the process.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import lmdb

from node.storage import layout
from node.storage.environment import (
    DATA_FILE,
    EnvironmentOptions,
    FileWatch,
    Refuse,
    open_environment,
    write_error,
)
from node.storage.errors import CorruptLog, StorageFailed
from node.storage.layout import Head, HeadGroup, Malformed
from node.storage.log_index import GroupIndex
from node.storage.log_reader import LogReader
from node.storage.log_recovery import Replay
from node.storage.owner import OWNER_GROUP, check_owner, owner_group, owner_of
from raft.types import Entry, HardState

GIB: Final = 1 << 30

LOG_MAP_SIZE_BYTES: Final = 64 * GIB
"""Address space for the log; the file is sparse and grows as needed. Ours."""

DELETE_SLICE: Final = 64
"""Most records deleted by one commit. Ours: some 0.1 ms."""

HEAD_INTERVAL_COMMITS: Final = 64
"""Commits between two looks at whether a new head pays. Ours: a look costs O(groups)."""

HEAD_INTERVAL_BYTES: Final = 1 << 20
"""Record bytes after which the look comes earlier. Ours."""

HEAD_GAIN_RATIO: Final = 8
"""A head is written when it frees at least so many times its own bytes. Ours."""

CARRY_ABOVE_BYTES: Final = 256 << 20
"""Log size above which quiet groups' old entries are moved to the newest record. Ours: twice what a
log that can be cut grows to."""

CARRY_BYTES_MAX: Final = 24 << 20
"""Most bytes of one group's entries that are moved. Ours: above what raft lets a group have
uncommitted, 16 MiB; applied entries do not last, for they get into a checkpoint."""

WHAT_TO_DO: Final = (
    "This node must not take part with this log. Keep the directory for analysis, start the node "
    "with an empty one, and let the cluster add it anew and refill it from the other replicas"
)


@dataclass(slots=True)
class GroupWrite:
    """What one commit changes in one group. Done in the order of the fields."""

    group: int
    reset: tuple[int, int] | None = None  # (index, term): forget all entries, start after index
    truncate_from: int | None = None  # forget entries >= this index
    entries: Sequence[Entry] = ()  # contiguous, after the last entry that remains
    hard_state: HardState | None = None


@dataclass(slots=True)
class RecoveredGroup:
    """What the log knew about one group when it was opened. Empty log: last == cut."""

    hard_state: HardState
    cut_index: int
    cut_term: int
    first_index: int  # == cut_index + 1
    last_index: int


@dataclass(slots=True)
class _GroupChange:
    """One section of a record, as `publish` needs it."""

    group: int
    reset: tuple[int, int] | None
    truncate_from: int | None
    terms: list[int]
    descriptor_offset: int
    hard_state: tuple[int, int, int] | None


@dataclass(slots=True)
class LogRecord:
    """One prepared commit: opaque to the host, but for its size."""

    sequence: int
    blob: bytes
    changes: list[_GroupChange]
    head: Head | None
    delete_low: int  # records [delete_low, delete_high) go
    delete_high: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the record."""
        return len(self.blob)

    @property
    def entry_count(self) -> int:
        """Entries in the record, of all groups."""
        return sum(len(change.terms) for change in self.changes)


@dataclass(slots=True)
class _Found:
    """What `open` found on disk."""

    head: Head
    first_sequence: int  # of the oldest record that is still there, dead or not
    sizes: array[int]  # of all records from there on
    groups: dict[int, GroupIndex]


class LogStore:
    """Durable logs of all groups of one node.

    Threads: `commit` runs on the writer thread; everything else on the loop thread. One record at
    a time: prepare -> commit -> publish, then the next prepare.
    """

    def __init__(
        self,
        environment: lmdb.Environment,
        path: Path,
        refuse: Refuse,
        found: _Found,
        carry_above_bytes: int,
    ) -> None:
        """Use `open`."""
        self._environment = environment
        self._carry_above_bytes = carry_above_bytes
        self._watch = FileWatch(path / DATA_FILE)
        self._refuse = refuse
        self._groups = found.groups
        self._recovered = {
            group: _recovered(index)
            for group, index in found.groups.items()
            if _is_used(index) and group != OWNER_GROUP
        }
        # Records [deleted_below, published] exist; those below head_first may be deleted.
        # Invariant: deleted_below <= head_first <= published + 1; sizes has one for each.
        self._deleted_below = found.first_sequence
        self._head_first = found.head.first_sequence
        self._published = found.first_sequence + len(found.sizes) - 1
        self._sizes = found.sizes
        self._size_bytes = sum(found.sizes)
        self._looked_for_head_at = 0
        self._unlooked_bytes = 0  # written since
        # The writer's:
        self._committed = self._published
        self._commit_count = 0
        self._failure: str | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        map_size_bytes: int = LOG_MAP_SIZE_BYTES,
        carry_above_bytes: int = CARRY_ABOVE_BYTES,
        create: bool = True,
        owner: str = "",
    ) -> LogStore:
        """Open or create the log in directory `path`, verifying every checksum.

        With `create` off, a missing log is corruption: set it so once this node has ever voted.
        `owner` is the directory's incarnation; "" means unknown, and then it is not checked.
        Raises CorruptLog, ForeignStore, StorageFailed, StorageFull.
        """
        refuse = Refuse(CorruptLog, path, WHAT_TO_DO)
        options = EnvironmentOptions(
            map_size_bytes=map_size_bytes,
            metasync=True,
            readahead=True,
            verify_bytes_max=sys.maxsize,
        )
        environment = open_environment(
            path, options, refuse, create=create, fill=partial(_put_first_head, owner)
        )
        try:
            found = _recover(environment, refuse)
            known = found.groups.get(OWNER_GROUP)
            if known is not None:
                check_owner(path, owner_of(known.hard_state), owner)
        except BaseException:
            environment.close()
            raise
        return cls(environment, path, refuse, found, carry_above_bytes)

    def recovered(self) -> dict[int, RecoveredGroup]:
        """Return what was found at open, by group."""
        return self._recovered

    # -- The loop thread --

    def prepare(self, writes: Sequence[GroupWrite]) -> LogRecord:
        """Encode one commit (at most one write a group). Loop thread; changes nothing yet."""
        assert self._committed == self._published, "publish the last commit first"
        sequence = self._published + 1
        look = self._look_is_due()
        if look and self._size_bytes > self._carry_above_bytes:
            writes = [*writes, *self._carried({write.group for write in writes})]
        sections: list[bytes] = []
        payloads: list[bytes] = []
        changes: list[_GroupChange] = []
        position = layout.RECORD_HEADER.size
        payload_offset = 0
        for write in writes:
            change = self._check_write(write)
            parts = _encode_changes(write.group, change, len(write.entries))
            position += len(parts)
            sections.append(parts)
            if write.entries:
                change.descriptor_offset = position
                group = write.group
                for entry in write.entries:
                    payload = entry.payload
                    index, term, kind, length = entry.index, entry.term, entry.kind, len(payload)
                    sections.append(
                        layout.DESCRIPTOR.pack(
                            index,
                            term,
                            kind,
                            payload_offset,
                            length,
                            layout.entry_checksum(group, index, term, kind, payload),
                        )
                    )
                    payloads.append(payload)
                    payload_offset += length
                position += layout.DESCRIPTOR.size * len(write.entries)
            changes.append(change)
        assert len({change.group for change in changes}) == len(changes), "one write a group"
        blob = layout.encode_record(sequence, sections, payloads)
        head = self._next_head() if look and self._head_pays() else None
        may_go_below = self._head_first if head is None else head.first_sequence
        delete_high = min(may_go_below, self._deleted_below + DELETE_SLICE)
        return LogRecord(sequence, blob, changes, head, self._deleted_below, delete_high)

    def publish(self, record: LogRecord) -> None:
        """Make a committed record visible to readers. Loop thread, after `commit` returned."""
        assert record.sequence == self._published + 1 == self._committed
        for change in record.changes:
            self._publish_change(record.sequence, change)
        self._published = record.sequence
        self._sizes.append(len(record.blob))
        self._size_bytes += len(record.blob)
        self._unlooked_bytes += len(record.blob)
        if record.head is not None:
            self._head_first = max(self._head_first, record.head.first_sequence)
        gone = max(record.delete_high - self._deleted_below, 0)
        self._size_bytes -= sum(self._sizes[:gone])
        del self._sizes[:gone]
        self._deleted_below += gone
        assert self._deleted_below <= self._head_first <= self._published + 1
        assert len(self._sizes) == self._published + 1 - self._deleted_below

    def reader(self, group: int) -> LogReader:
        """Return the group's log as raft wants it; a group never seen is an empty log."""
        return LogReader(self._environment, self._refuse, self._index(group))

    def cut(self, group: int, index: int) -> None:
        """Forget entries <= index: at once for readers, on disk with later commits."""
        self._index(group).cut(index)

    def check_in_place(self) -> None:
        """Raise StorageFailed if the file was deleted or replaced under us. Every few seconds."""
        self._watch.check()

    def size_bytes(self) -> int:
        """Return the bytes of the records on disk, dead ones not yet deleted included."""
        return self._size_bytes

    def map_size_bytes(self) -> int:
        """Return the size up to which the file may grow."""
        size_bytes: int = self._environment.info()["map_size"]
        return size_bytes

    def commit_count(self) -> int:
        """Return how many commits this process has made."""
        return self._commit_count

    def close(self) -> None:
        """Close the environment. No commit may be running."""
        self._watch.close()
        self._environment.close()

    # -- The writer thread --

    def commit(self, record: LogRecord) -> None:
        """Write and sync the record. Writer thread.

        Raises StorageFull (nothing has changed; the same record may be committed again later,
        or dropped) or StorageFailed (the process must exit; every later commit fails too).
        """
        if self._failure is not None:
            raise StorageFailed(f"an earlier commit failed: {self._failure}")
        assert record.sequence == self._committed + 1
        # Latched until proven otherwise, so that no way out of here can leave it open.
        self._failure = "it did not end"
        try:
            self._write(record)
        except (lmdb.Error, OSError, MemoryError) as error:
            doing = f"log commit {record.sequence}"
            failure = write_error(error, doing, self._watch, self._environment)
            self._failure = str(failure) if isinstance(failure, StorageFailed) else None
            raise failure from error
        self._failure = None
        self._commit_count += 1
        self._committed = record.sequence

    def _write(self, record: LogRecord) -> None:
        transaction = self._environment.begin(write=True)
        try:
            if record.head is not None:
                transaction.put(layout.HEAD_KEY, layout.encode_head(record.head))
            key = layout.SEQUENCE.pack(record.sequence)
            # LMDB answers "not the greatest key" with False, not with an error.
            if not transaction.put(key, record.blob, append=True):
                raise lmdb.KeyExistsError(f"there is a record after {record.sequence}")
            for sequence in range(record.delete_low, record.delete_high):
                transaction.delete(layout.SEQUENCE.pack(sequence))
            transaction.commit()
        except BaseException:
            transaction.abort()
            raise

    # -- Inside --

    def _index(self, group: int) -> GroupIndex:
        index = self._groups.get(group)
        if index is None:
            index = self._groups[group] = GroupIndex(group)
        return index

    def _check_write(self, write: GroupWrite) -> _GroupChange:
        """Check a write against the group's log and return what `publish` will do."""
        index = self._index(write.group)
        first, after = index.first_index, index.last_index + 1
        if write.reset is not None:
            assert write.reset[0] >= index.cut_index
            first = after = write.reset[0] + 1
        if write.truncate_from is not None:
            assert first <= write.truncate_from <= after
            after = write.truncate_from
        terms: list[int] = []
        for expected, entry in enumerate(write.entries, after):
            assert entry.index == expected, "entries follow the log"
            assert entry.term >= 1
            terms.append(entry.term)
        hard_state = write.hard_state
        return _GroupChange(
            write.group,
            write.reset,
            write.truncate_from,
            terms,
            0,
            None if hard_state is None else (hard_state.term, hard_state.vote, hard_state.commit),
        )

    def _publish_change(self, sequence: int, change: _GroupChange) -> None:
        index = self._index(change.group)
        if change.reset is not None:
            index.reset(*change.reset)
        if change.truncate_from is not None:
            index.truncate_from(change.truncate_from)
        if change.terms:
            index.append(sequence, change.terms, change.descriptor_offset, layout.DESCRIPTOR.size)
        if change.hard_state is not None:
            index.hard_state = change.hard_state

    def _look_is_due(self) -> bool:
        """Whether it is time to look what of the log can go; only once in a while."""
        commits = self._published - self._looked_for_head_at
        if commits < HEAD_INTERVAL_COMMITS and self._unlooked_bytes < HEAD_INTERVAL_BYTES:
            return False
        self._looked_for_head_at = self._published
        self._unlooked_bytes = 0
        return True

    def _head_pays(self) -> bool:
        """Whether a new head would free records worth its bytes."""
        low = self._head_first - self._deleted_below
        high = self._oldest_needed() - self._deleted_below
        freed_bytes = sum(self._sizes[low:high])
        cost_bytes = layout.head_size_bytes(len(self._groups))
        enough = high - low >= DELETE_SLICE or freed_bytes >= HEAD_INTERVAL_BYTES
        return enough and freed_bytes >= HEAD_GAIN_RATIO * cost_bytes

    def _carried(self, writing: set[int]) -> list[GroupWrite]:
        """Return what moves a quiet group's entries, all of them in the oldest half, to the front.

        They may be few, and not committed for want of a quorum, and would hold up every later
        record of all other groups for as long. One group at a time: the one that has the oldest.
        """
        oldest = min(
            (index for index in self._groups.values() if index.sequences),
            key=lambda index: index.sequences[0],
            default=None,
        )
        if oldest is None or oldest.group in writing:
            return []
        if oldest.sequences[-1] > (self._head_first + self._published) // 2:
            return []
        low, high = oldest.first_index, oldest.last_index + 1
        entries = self.reader(oldest.group).entries(low, high, CARRY_BYTES_MAX)
        if len(entries) < high - low:
            return []
        return [GroupWrite(oldest.group, truncate_from=low, entries=entries)]

    def _oldest_needed(self) -> int:
        """Return the sequence of the oldest record that holds an entry of any log."""
        return min(
            (index.sequences[0] for index in self._groups.values() if index.sequences),
            default=self._published + 1,
        )

    def _next_head(self) -> Head:
        groups = [
            HeadGroup(group, index.hard_state, index.cut_index, index.cut_term)
            for group, index in sorted(self._groups.items())
        ]
        return Head(self._published, self._oldest_needed(), groups)


def _encode_changes(group: int, change: _GroupChange, entry_count: int) -> bytes:
    """Encode a section but for its descriptors."""
    flags = 0
    parts = [b""]
    if change.reset is not None:
        flags |= layout.FLAG_RESET
        parts.append(layout.RESET.pack(*change.reset))
    if change.truncate_from is not None:
        flags |= layout.FLAG_TRUNCATE
        parts.append(layout.TRUNCATE.pack(change.truncate_from))
    if change.hard_state is not None:
        flags |= layout.FLAG_HARD_STATE
        parts.append(layout.HARD_STATE.pack(*change.hard_state))
    parts[0] = layout.SECTION.pack(group, flags, entry_count)
    return b"".join(parts)


def _is_used(index: GroupIndex) -> bool:
    """Whether anything was ever written for the group."""
    return index.hard_state != (0, 0, 0) or index.last_index > 0


def _recovered(index: GroupIndex) -> RecoveredGroup:
    return RecoveredGroup(
        HardState(*index.hard_state),
        index.cut_index,
        index.cut_term,
        index.first_index,
        index.last_index,
    )


def _put_first_head(owner: str, environment: lmdb.Environment) -> None:
    groups = [owner_group(owner)] if owner else []
    with environment.begin(write=True) as transaction:
        transaction.put(layout.HEAD_KEY, layout.encode_head(Head(0, 1, groups)))


def _recover(environment: lmdb.Environment, refuse: Refuse) -> _Found:
    """Read head and records, and rebuild the index."""
    where = "the head"
    try:
        with environment.begin(buffers=True) as transaction:
            raw = transaction.get(layout.HEAD_KEY)
            if raw is None:
                raise Malformed("it is missing")
            head = layout.decode_head(raw)
            replay = Replay(head)
            found = _Found(head, head.first_sequence, array("I"), replay.groups)
            cursor = transaction.cursor()
            there = cursor.set_range(layout.SEQUENCE.pack(1))
            if there:
                # Below the head's first sequence are records that were about to be deleted.
                found.first_sequence = min(_sequence(cursor.key()), head.first_sequence)
            while there:
                key, value = cursor.item()
                sequence = _sequence(key)
                where = f"record {sequence}"
                if sequence >= head.first_sequence:
                    replay.record(sequence, value)
                elif sequence != found.first_sequence + len(found.sizes):
                    raise Malformed("the records before it are missing")
                found.sizes.append(len(value))
                there = cursor.next()
            where = "the end"
            replay.finish()
    except Malformed as error:
        raise refuse(f"{where}: {error}") from error
    except lmdb.Error as error:
        raise refuse(f"{where}: LMDB cannot read it ({error})") from error
    return found


def _sequence(key: memoryview) -> int:
    if len(key) != layout.SEQUENCE.size:
        raise Malformed(f"there is a key of {len(key)} bytes")
    sequence: int = layout.SEQUENCE.unpack(key)[0]
    return sequence
