"""The log by itself: the tail in memory over what is on disk."""

from random import Random

import pytest

from raft.log import ENTRY_OVERHEAD_BYTES, RaftLog
from raft.types import Compacted, Entry
from tests.raft.cluster import MemoryLog
from tests.raft.stories import entries_of


def test_conflict_is_sought_by_term_down_to_the_cut() -> None:
    """The highest index that may agree; the cut point, of unknown term, if it is below."""
    disk = MemoryLog(entries_of(5, 5, 7, 7, 9, low=11), cut_index=10, cut_term=5)
    log = RaftLog(disk, cache_bytes_max=0)

    assert log.find_conflict(99, 9) == (15, 9)
    assert log.find_conflict(15, 8) == (14, 7)
    assert log.find_conflict(13, 8) == (13, 7)
    assert log.find_conflict(15, 6) == (12, 5)
    assert log.find_conflict(15, 4) == (10, 0)
    assert log.find_conflict(3, 9) == (3, 0)


def test_what_was_cut_cannot_be_read() -> None:
    """But the term at the cut point can."""
    log = RaftLog(MemoryLog(entries_of(1, low=4), cut_index=3, cut_term=1), cache_bytes_max=0)

    assert log.term(3) == 1
    with pytest.raises(Compacted) as compacted:
        log.entries(3, 5, 100)
    assert compacted.value.index == 3
    with pytest.raises(Compacted):
        log.term(2)


def test_only_what_is_durable_and_applied_leaves_memory() -> None:
    """The rest has no other place."""
    disk = MemoryLog()
    log = RaftLog(disk, cache_bytes_max=2 * ENTRY_OVERHEAD_BYTES)
    log.append([Entry(index, 1, 0, b"x" * 100) for index in range(1, 11)])
    log.shrink(0)
    log.shrink(5)
    before_sync = log.entries(1, 11, 10_000)
    _, entries = log.take()
    disk.write(None, entries)
    log.persisted()

    log.shrink(5)

    assert len(before_sync) == 10
    assert [entry.index for entry in log.entries(1, 11, 10_000)] == [1, 2, 3, 4, 5]
    assert [entry.index for entry in log.entries(6, 11, 10_000)] == [6, 7, 8, 9, 10]
    assert disk.reads == 1


@pytest.mark.parametrize("seed", range(50))
def test_log_answers_like_a_plain_list(seed: int) -> None:
    """A dumb model checks the clever code: appends, truncations, writes, cuts, evictions."""
    rng = Random(seed)
    disk = MemoryLog()
    log = RaftLog(disk, cache_bytes_max=rng.choice((0, 500, 5000)))
    model: list[Entry] = []
    term, commit = 1, 0
    writing: tuple[int | None, list[Entry]] | None = None
    for _ in range(200):
        what = rng.randrange(6)
        if what == 0:
            term += rng.randrange(2)
            new = entries_of(*[term] * rng.randrange(1, 4), low=len(model) + 1)
            log.append(new)
            model += new
        elif what == 1 and len(model) > commit:
            index = rng.randrange(commit + 1, len(model) + 1)
            log.truncate(index)
            del model[index - 1 :]
            term += 1
        elif what == 2 and writing is None:
            writing = log.take()
        elif what == 3 and writing is not None:
            disk.write(*writing)
            log.persisted()
            writing = None
        elif what == 4:
            commit = max(commit, min(log.durable, rng.randrange(len(model) + 1)))
            log.shrink(commit)
        elif commit and writing is None and not log.needs_write():
            disk.cut(rng.randrange(disk.cut_index, commit + 1))

        assert log.last_index == len(model)
        assert log.last_term == (model[-1].term if model else 0)
        low = log.first_index()
        assert [log.term(e.index) for e in model[low - 1 :]] == [e.term for e in model[low - 1 :]]
        seen: list[Entry] = []
        while low + len(seen) <= len(model):
            page = log.entries(low + len(seen), len(model) + 1, rng.choice((1, 10, 1000)))
            assert page
            seen += page
        assert seen == model[low - 1 :]
