"""Reading one group's entries back, as raft's LogReader wants it."""

from __future__ import annotations

import lmdb

from node.storage import layout
from node.storage.environment import Refuse
from node.storage.layout import Malformed
from node.storage.log_index import GroupIndex
from raft.types import Compacted, Entry


class LogReader:
    """One group's published log: satisfies raft's LogReader. Loop thread."""

    __slots__ = ("_environment", "_index", "_refuse")

    def __init__(self, environment: lmdb.Environment, refuse: Refuse, index: GroupIndex) -> None:
        """Use `LogStore.reader`."""
        self._environment = environment
        self._refuse = refuse
        self._index = index

    def first_index(self) -> int:
        """Return the index of the first entry, cut_index + 1 (also when there is none)."""
        return self._index.cut_index + 1

    def last_index(self) -> int:
        """Return the index of the last entry, or the cut index."""
        return self._index.last_index

    def term(self, index: int) -> int:
        """Return the term of an entry, or of the cut point first_index() - 1. Raises Compacted."""
        return self._index.term(index)

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Return entries of [low, high), at least one, at most `bytes_max` of payload.

        Raises Compacted, or CorruptLog if an entry fails its checksum.
        """
        index = self._index
        if low <= index.cut_index:
            raise Compacted(low)
        assert low < high <= index.last_index + 1, "raft asks for entries that are not in the log"
        entries: list[Entry] = []
        room_bytes = bytes_max
        sequence = 0
        try:
            with self._environment.begin(buffers=True) as transaction:
                raw = memoryview(b"")
                for position in range(low - index.first_index, high - index.first_index):
                    if index.sequences[position] != sequence:
                        sequence = index.sequences[position]
                        raw = _record(transaction, sequence)
                    entry = layout.read_entry(raw, index.offsets[position], index.group)
                    expected = (index.first_index + position, index.terms[position])
                    if entry[:2] != expected:
                        raise Malformed(f"entry {expected} became {entry[:2]}")
                    room_bytes -= len(entry[3])
                    if entries and room_bytes < 0:
                        break
                    entries.append(Entry(*entry[:3], bytes(entry[3])))
        except (Malformed, lmdb.Error) as error:
            raise self._refuse(f"record {sequence}: {error}") from error
        return entries


def _record(transaction: lmdb.Transaction[memoryview], sequence: int) -> memoryview:
    raw = transaction.get(layout.SEQUENCE.pack(sequence))
    if raw is None:
        raise Malformed("it is missing")
    return raw
