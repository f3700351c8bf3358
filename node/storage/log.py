"""The log store: every group's Raft log and hard state in one LMDB environment.

One append-only record a commit, for all groups of the node; see `layout` for its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from raft.types import Entry, HardState

GIB: Final = 1 << 30
LOG_MAP_SIZE_BYTES: Final = 64 * GIB


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


class LogRecord:
    """One prepared commit: opaque to the host."""


class LogStore:
    """Durable logs of all groups of one node.

    Threads: `commit` runs on the writer thread (always the same one); everything else on the
    loop thread. One record at a time: prepare -> commit -> publish, then the next prepare.
    """

    @classmethod
    def open(cls, path: Path, *, map_size_bytes: int = LOG_MAP_SIZE_BYTES) -> LogStore:
        """Open or create the log in directory `path`, verifying every checksum.

        Raises CorruptLog, StorageFailed, StorageFull.
        """
        raise NotImplementedError

    def recovered(self) -> dict[int, RecoveredGroup]:
        """Return what was found at open, by group."""
        raise NotImplementedError

    def prepare(self, writes: Sequence[GroupWrite]) -> LogRecord:
        """Encode one commit (at most one write a group). Loop thread; changes nothing yet."""
        raise NotImplementedError

    def commit(self, record: LogRecord) -> None:
        """Write and sync the record. Writer thread.

        Raises StorageFull (nothing has changed; the same record may be committed again later,
        or dropped) or StorageFailed (the process must exit; every later commit fails too).
        """
        raise NotImplementedError

    def publish(self, record: LogRecord) -> None:
        """Make a committed record visible to readers. Loop thread, after `commit` returned."""
        raise NotImplementedError

    def reader(self, group: int) -> LogReader:
        """Return the group's log as raft wants it; a group never seen is an empty log."""
        raise NotImplementedError

    def cut(self, group: int, index: int) -> None:
        """Forget entries <= index: at once for readers, on disk with later commits."""
        raise NotImplementedError

    def reclaim(self) -> LogRecord:
        """Prepare a commit that only frees space (after StorageFull). Commit and publish it."""
        raise NotImplementedError

    def pinning_groups(self) -> dict[int, int]:
        """Return group -> last index whose cut would let the oldest records go."""
        raise NotImplementedError

    def check_in_place(self) -> None:
        """Raise StorageFailed if the file was deleted or replaced under us. Every few seconds."""
        raise NotImplementedError

    def size_bytes(self) -> int:
        """Return the bytes of records that are still needed."""
        raise NotImplementedError

    def commit_count(self) -> int:
        """Return how many commits this process has made."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the environment. No commit may be running."""
        raise NotImplementedError


class LogReader:
    """One group's published log: satisfies raft's LogReader. Loop thread."""

    def first_index(self) -> int:
        """Return the index of the first entry, cut_index + 1 (also when there is none)."""
        raise NotImplementedError

    def last_index(self) -> int:
        """Return the index of the last entry, or the cut index."""
        raise NotImplementedError

    def term(self, index: int) -> int:
        """Return the term of an entry, or of the cut point first_index() - 1. Raises Compacted."""
        raise NotImplementedError

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Return entries of [low, high), at least one, about bytes_max of payload at most.

        Raises Compacted, or CorruptLog if an entry fails its checksum.
        """
        raise NotImplementedError
