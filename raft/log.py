"""One replica's log as the core sees it: a tail in memory over the durable part behind a reader.

Entries up to `durable` are on disk; up to `taken` they have been given to the host for writing;
the rest wait for the next ticket. Invariant: durable <= taken <= last_index.
"""

from collections.abc import Sequence
from typing import Final

from raft.types import Entry, LogReader

ENTRY_OVERHEAD_BYTES: Final = 128
"""What an entry in memory costs beside its payload, roughly. Ours: measured with getsizeof."""


class RaftLog:
    """The log of one replica. The unwritten tail is released by tickets only, never by index."""

    __slots__ = (
        "_before_term",
        "_cache_bytes_max",
        "_offset",
        "_reader",
        "_tail",
        "_tail_bytes",
        "_writing_last",
        "durable",
        "last_index",
        "last_term",
        "taken",
        "truncate_from",
    )

    def __init__(self, reader: LogReader, *, cache_bytes_max: int) -> None:
        self._reader = reader
        self._cache_bytes_max = cache_bytes_max
        self.last_index = reader.last_index()
        self.last_term = reader.term(self.last_index) if self.last_index else 0
        self._tail: list[Entry] = []  # entries [_offset, last_index]
        self._tail_bytes = 0
        self._offset = self.last_index + 1
        self._before_term = self.last_term  # of the entry before the tail
        self.durable = self.last_index
        self.taken = self.last_index
        self._writing_last = self.last_index  # what the ticket in flight makes durable
        self.truncate_from: int | None = None  # what the next write must remove first

    def first_index(self) -> int:
        """Return the lowest index whose entry can still be read."""
        return min(self._reader.first_index(), self._offset)

    def term(self, index: int) -> int:
        """Return the term at an index up to last_index; 0 at index 0. Raises Compacted."""
        place = index - self._offset
        if place >= 0:
            return self._tail[place].term
        if place == -1:
            return self._before_term
        return self._reader.term(index) if index else 0

    def matches(self, index: int, term: int) -> bool:
        """Whether the entry at `index`, which is not below the cut, is there and of that term."""
        return index <= self.last_index and self.term(index) == term

    def is_covered_by(self, index: int, term: int) -> bool:
        """Whether a log ending at (term, index) is at least as complete as this one.

        Source: Raft thesis, section 3.6.1.
        """
        return (term, index) >= (self.last_term, self.last_index)

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Return entries of [low, high), at least one, about `bytes_max` at most.

        Raises Compacted. May return fewer, at the border between disk and memory.
        """
        assert low < high <= self.last_index + 1
        place = low - self._offset
        if place < 0:
            return self._reader.entries(low, min(high, self._offset), bytes_max)
        page = self._tail[place : high - self._offset]
        if self._tail_bytes <= bytes_max:
            return page
        size_bytes = 0
        for count, entry in enumerate(page):
            size_bytes += len(entry.payload)
            if size_bytes > bytes_max and count:
                return page[:count]
        return page

    def find_conflict(self, index: int, term: int) -> tuple[int, int]:
        """Return the highest (index, term) that may agree with an entry of `term` at `index`.

        That is the highest index, at most `index`, whose term is at most `term`. If the log was
        cut above it, the cut point is returned with term 0: unknown.
        """
        high = min(index, self.last_index)
        low = self.first_index() - 1
        if high < low:
            return high, 0
        if self.term(high) <= term:
            return high, self.term(high)
        if self.term(low) > term:
            return low, 0
        while high - low > 1:  # term(low) <= term < term(high): terms only rise along a log
            middle = (low + high) // 2
            if self.term(middle) <= term:
                low = middle
            else:
                high = middle
        return low, self.term(low)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries right after the last one."""
        assert entries[0].index == self.last_index + 1
        assert entries[0].term >= self.last_term
        self._tail.extend(entries)
        last = entries[-1]
        self.last_index = last.index
        self.last_term = last.term
        size_bytes = ENTRY_OVERHEAD_BYTES * len(entries)
        for entry in entries:
            size_bytes += len(entry.payload)
        self._tail_bytes += size_bytes

    def truncate(self, index: int) -> None:
        """Remove the entries at and above `index`; what was written is removed by the next write.

        A ticket in flight that holds removed entries no longer makes those durable.
        """
        assert 1 <= index <= self.last_index
        term = self.term(index - 1)
        place = index - self._offset
        if place <= 0:
            self._tail = []
            self._tail_bytes = 0
            self._offset = index
            self._before_term = term
        else:
            for entry in self._tail[place:]:
                self._tail_bytes -= len(entry.payload) + ENTRY_OVERHEAD_BYTES
            del self._tail[place:]
        self.last_index = index - 1
        self.last_term = term
        if index <= self.taken:
            assert self.truncate_from is None or index < self.truncate_from
            self.truncate_from = index
            self.taken = index - 1
            self.durable = min(self.durable, self.taken)
            self._writing_last = min(self._writing_last, self.taken)

    def needs_write(self) -> bool:
        """Whether there is anything to hand to the host for writing."""
        return self.taken < self.last_index or self.truncate_from is not None

    def take(self) -> tuple[int | None, list[Entry]]:
        """Hand over (truncate_from, entries) for one write; `persisted` will follow."""
        entries = self._tail[self.taken + 1 - self._offset :]
        assert len(entries) == self.last_index - self.taken
        truncate_from, self.truncate_from = self.truncate_from, None
        self.taken = self.last_index
        self._writing_last = self.last_index
        return truncate_from, entries

    def persisted(self) -> None:
        """Count what was taken, and not truncated since, as durable."""
        self.durable = max(self.durable, self._writing_last)
        assert self.durable <= self.taken

    def restore(self, index: int, term: int) -> None:
        """Start anew after a snapshot: the log is empty and begins after `index`."""
        self._tail = []
        self._tail_bytes = 0
        self._offset = index + 1
        self._before_term = term
        self.last_index = self.durable = self.taken = self._writing_last = index
        self.last_term = term
        self.truncate_from = None

    def shrink(self, index: int) -> None:
        """Drop the oldest part of the tail if it is too large; only what is at most `index`."""
        if self._tail_bytes <= self._cache_bytes_max:
            return
        limit = min(index, self.durable) + 1 - self._offset
        count = 0
        while count < limit and self._tail_bytes > self._cache_bytes_max // 2:
            self._tail_bytes -= len(self._tail[count].payload) + ENTRY_OVERHEAD_BYTES
            count += 1
        if count:  # halving at once makes the cost of moving the list small per entry
            self._before_term = self._tail[count - 1].term
            self._offset += count
            del self._tail[:count]
