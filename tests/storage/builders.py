"""Test values, and the dumb model that the log store is compared with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.storage.log import GroupWrite, LogRecord, LogStore
from raft.types import Compacted, Entry, EntryKind, HardState

MAP_SIZE_BYTES = 256 << 20
"""Small, so that a test that grows without bound fails."""

EVERYTHING = 1 << 40


def entry(index: int, term: int = 1, payload: bytes | None = None) -> Entry:
    text = b"%d@%d" % (index, term) if payload is None else payload
    return Entry(index, term, EntryKind.COMMAND, text)


def entries(low: int, high: int, term: int = 1, payload: bytes | None = None) -> list[Entry]:
    """Entries of [low, high)."""
    return [entry(index, term, payload) for index in range(low, high)]


def open_log(path: Path, **options: Any) -> LogStore:
    return LogStore.open(path, **{"map_size_bytes": MAP_SIZE_BYTES, **options})


def write(log: LogStore, *writes: GroupWrite) -> LogRecord:
    """One whole turn: prepare, commit, publish."""
    record = log.prepare(writes)
    log.commit(record)
    log.publish(record)
    return record


@dataclass(slots=True)
class ModelGroup:
    """One group's log as a dumb list."""

    hard_state: HardState = field(default_factory=HardState)
    cut_index: int = 0
    cut_term: int = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def last_index(self) -> int:
        return self.cut_index + len(self.entries)

    def term(self, index: int) -> int:
        if index < self.cut_index:
            raise Compacted(index)
        return self.cut_term if index == self.cut_index else self.at(index).term

    def at(self, index: int) -> Entry:
        return self.entries[index - self.cut_index - 1]

    def apply(self, change: GroupWrite) -> None:
        if change.reset is not None:
            self.cut_index, self.cut_term = change.reset
            self.entries = []
        if change.truncate_from is not None:
            del self.entries[change.truncate_from - self.cut_index - 1 :]
        self.entries += change.entries
        if change.hard_state is not None:
            self.hard_state = copy.copy(change.hard_state)

    def cut(self, index: int) -> None:
        self.cut_term = self.term(index)
        del self.entries[: index - self.cut_index]
        self.cut_index = index


def assert_same(log: LogStore, model: dict[int, ModelGroup], *, cuts_kept: bool = True) -> None:
    """Compare everything a reader can see. A cut may be forgotten by a restart, nothing else."""
    for group, expected in model.items():
        reader = log.reader(group)
        first, last = reader.first_index(), reader.last_index()
        assert last == expected.last_index
        assert first <= expected.cut_index + 1
        if cuts_kept:
            assert first == expected.cut_index + 1
        assert reader.term(expected.cut_index) == expected.cut_term
        if expected.entries:
            low = expected.cut_index + 1
            assert reader.entries(low, last + 1, EVERYTHING) == expected.entries


def assert_recovered(log: LogStore, model: dict[int, ModelGroup]) -> None:
    recovered = log.recovered()
    for group, expected in model.items():
        if group in recovered:
            assert recovered[group].hard_state == expected.hard_state
            assert recovered[group].last_index == expected.last_index
            assert recovered[group].first_index == recovered[group].cut_index + 1
        else:
            assert expected.hard_state == HardState()
            assert expected.last_index == 0
    assert recovered.keys() <= model.keys()


def replay(changes: Sequence[GroupWrite], model: dict[int, ModelGroup]) -> None:
    for change in changes:
        model.setdefault(change.group, ModelGroup()).apply(change)
