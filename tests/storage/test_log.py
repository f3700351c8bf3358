"""What every LogStore must do, seen through its door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.storage.errors import CorruptLog
from node.storage.log import GroupWrite, LogStore
from raft.types import Compacted, HardState
from tests.storage.builders import EVERYTHING, entries, entry, open_log, write


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogStore]:
    store = open_log(tmp_path / "log")
    yield store
    store.close()


def reopen(log: LogStore, tmp_path: Path) -> LogStore:
    log.close()
    return open_log(tmp_path / "log", create=False)


def test_new_log_knows_no_group_and_every_group_is_empty(log: LogStore) -> None:
    reader = log.reader(7)

    assert log.recovered() == {}
    assert (reader.first_index(), reader.last_index(), reader.term(0)) == (1, 0, 0)


def test_entries_come_back_as_written(log: LogStore) -> None:
    write(log, GroupWrite(1, entries=entries(1, 4)), GroupWrite(2, entries=entries(1, 3, term=9)))

    assert log.reader(1).entries(1, 4, EVERYTHING) == entries(1, 4)
    assert log.reader(2).entries(2, 3, EVERYTHING) == [entry(2, 9)]
    assert log.reader(2).term(2) == 9


def test_nothing_is_visible_before_publish(log: LogStore) -> None:
    record = log.prepare([GroupWrite(1, entries=entries(1, 4), hard_state=HardState(1, 1, 0))])
    log.commit(record)

    assert log.reader(1).last_index() == 0
    log.publish(record)
    assert log.reader(1).last_index() == 3


def test_reader_made_before_a_commit_sees_it(log: LogStore) -> None:
    reader = log.reader(1)
    write(log, GroupWrite(1, entries=entries(1, 4)))

    assert reader.last_index() == 3


def test_entries_stop_at_the_byte_limit_but_never_before_the_first(log: LogStore) -> None:
    write(log, GroupWrite(1, entries=entries(1, 11, payload=b"x" * 100)))
    reader = log.reader(1)

    assert len(reader.entries(1, 11, 0)) == 1
    assert len(reader.entries(1, 11, 99)) == 1
    assert len(reader.entries(1, 11, 299)) == 2
    assert len(reader.entries(1, 11, 300)) == 3
    assert len(reader.entries(9, 11, EVERYTHING)) == 2


def test_truncated_entries_are_replaced_by_the_new_ones(log: LogStore, tmp_path: Path) -> None:
    write(log, GroupWrite(1, entries=entries(1, 10)))
    write(log, GroupWrite(1, truncate_from=4, entries=entries(4, 6, term=2)))

    expected = entries(1, 4) + entries(4, 6, term=2)
    assert log.reader(1).entries(1, 6, EVERYTHING) == expected
    store = reopen(log, tmp_path)
    assert store.reader(1).last_index() == 5
    assert store.reader(1).entries(1, 6, EVERYTHING) == expected
    store.close()


def test_truncation_alone_shortens_the_log(log: LogStore, tmp_path: Path) -> None:
    write(log, GroupWrite(1, entries=entries(1, 10)))
    write(log, GroupWrite(1, truncate_from=1))

    store = reopen(log, tmp_path)
    assert store.reader(1).last_index() == 0
    store.close()


def test_reset_starts_the_log_after_the_snapshot(log: LogStore, tmp_path: Path) -> None:
    write(log, GroupWrite(1, entries=entries(1, 10), hard_state=HardState(1, 1, 5)))
    write(log, GroupWrite(1, reset=(50, 3), hard_state=HardState(3, 0, 50)))
    write(log, GroupWrite(1, entries=entries(51, 53, term=4)))

    before = log.reader(1)
    assert (before.first_index(), before.last_index(), before.term(50)) == (51, 52, 3)
    store = reopen(log, tmp_path)
    reader = store.reader(1)
    assert (reader.first_index(), reader.last_index(), reader.term(50)) == (51, 52, 3)
    with pytest.raises(Compacted):
        reader.term(49)
    with pytest.raises(Compacted):
        reader.entries(50, 52, EVERYTHING)
    assert store.recovered()[1].hard_state == HardState(3, 0, 50)
    store.close()


def test_cut_is_seen_at_once_and_keeps_the_term_at_the_cut(log: LogStore) -> None:
    write(log, GroupWrite(1, entries=entries(1, 5, term=2) + entries(5, 10, term=3)))
    log.cut(1, 4)
    reader = log.reader(1)

    assert (reader.first_index(), reader.last_index(), reader.term(4)) == (5, 9, 2)
    assert reader.entries(5, 6, EVERYTHING) == [entry(5, 3)]
    with pytest.raises(Compacted):
        reader.term(3)
    log.cut(1, 9)
    assert (reader.first_index(), reader.last_index(), reader.term(9)) == (10, 9, 3)


def test_log_that_was_cut_to_its_end_goes_on_after_it(log: LogStore, tmp_path: Path) -> None:
    write(log, GroupWrite(1, entries=entries(1, 5)))
    log.cut(1, 4)
    write(log, GroupWrite(1, entries=entries(5, 7)))

    store = reopen(log, tmp_path)
    assert store.reader(1).last_index() == 6
    store.close()


def test_hard_state_alone_is_kept(log: LogStore, tmp_path: Path) -> None:
    """Raft thesis, section 3.8: term and vote must survive a restart."""
    write(log, GroupWrite(1, hard_state=HardState(7, 2, 0)))
    write(log, GroupWrite(2, hard_state=HardState(8, 3, 0)))

    store = reopen(log, tmp_path)
    assert store.recovered()[1].hard_state == HardState(7, 2, 0)
    assert store.recovered()[2].hard_state == HardState(8, 3, 0)
    store.close()


def test_hard_state_is_copied_when_prepared(log: LogStore, tmp_path: Path) -> None:
    hard_state = HardState(7, 2, 0)
    record = log.prepare([GroupWrite(1, hard_state=hard_state)])
    hard_state.term = 99
    log.commit(record)
    log.publish(record)

    store = reopen(log, tmp_path)
    assert store.recovered()[1].hard_state.term == 7
    store.close()


def test_every_kind_and_size_of_payload_survives(log: LogStore, tmp_path: Path) -> None:
    several = [entry(1, payload=b""), entry(2, payload=b"\0" * 5000), entry(3, payload=b"z")]
    several[1].kind = 2
    write(log, GroupWrite(1, entries=several))
    write(log, GroupWrite(2, entries=[entry(1, payload=b"m" * (3 << 20))]))

    store = reopen(log, tmp_path)
    assert store.reader(1).entries(1, 4, EVERYTHING) == several
    assert len(store.reader(2).entries(1, 2, EVERYTHING)[0].payload) == 3 << 20
    store.close()


def test_thousand_groups_share_one_commit(log: LogStore, tmp_path: Path) -> None:
    write(log, *(GroupWrite(group, entries=entries(1, 3)) for group in range(1000)))

    assert log.commit_count() == 1
    store = reopen(log, tmp_path)
    assert len(store.recovered()) == 1000
    assert store.reader(999).entries(1, 3, EVERYTHING) == entries(1, 3)
    store.close()


def test_prepared_record_that_was_never_committed_leaves_no_trace(
    log: LogStore, tmp_path: Path
) -> None:
    write(log, GroupWrite(1, entries=entries(1, 3)))
    log.prepare([GroupWrite(1, entries=entries(3, 9))])
    write(log, GroupWrite(1, entries=entries(3, 4, term=5)))

    store = reopen(log, tmp_path)
    assert store.reader(1).entries(1, 4, EVERYTHING) == [*entries(1, 3), entry(3, 5)]
    store.close()


def test_write_that_does_not_follow_the_log_is_our_bug(log: LogStore) -> None:
    write(log, GroupWrite(1, entries=entries(1, 3)))

    with pytest.raises(AssertionError):
        log.prepare([GroupWrite(1, entries=entries(4, 5))])
    with pytest.raises(AssertionError):
        log.prepare([GroupWrite(1, entries=entries(2, 5))])
    with pytest.raises(AssertionError):
        log.prepare([GroupWrite(1, truncate_from=4)])


def test_missing_log_is_corruption_once_it_was_used(tmp_path: Path) -> None:
    """A node that voted and finds no log must not vote again under the same name."""
    with pytest.raises(CorruptLog, match=r"missing.*empty one"):
        open_log(tmp_path / "log", create=False)


def test_start_that_was_killed_while_creating_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "log.new").mkdir()
    (tmp_path / "log.new" / "data.mdb").write_bytes(b"half")

    log = open_log(tmp_path / "log")
    write(log, GroupWrite(1, entries=entries(1, 2)))
    log.close()
    assert not (tmp_path / "log.new").exists()
