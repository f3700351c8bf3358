"""Old records go, and nothing that was only in them is lost."""

from __future__ import annotations

import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from node.storage.log import DELETE_SLICE, HEAD_INTERVAL_COMMITS, GroupWrite, LogStore
from raft.types import HardState
from tests.storage.builders import (
    EVERYTHING,
    ModelGroup,
    assert_recovered,
    assert_same,
    entries,
    entry,
    open_log,
    replay,
    write,
)

CARRY_ABOVE_BYTES = 100_000
"""Small, so that it happens often."""


def fill(log: LogStore, group: int, count: int, size_bytes: int = 200) -> None:
    """One entry a commit."""
    for _ in range(count):
        index = log.reader(group).last_index() + 1
        write(log, GroupWrite(group, entries=[entry(index, payload=b"x" * size_bytes)]))


def test_cut_records_are_deleted_a_slice_a_commit(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    fill(log, 1, 300)
    log.cut(1, 290)
    sizes = []
    for _ in range(HEAD_INTERVAL_COMMITS + 20):
        fill(log, 1, 1)
        sizes.append(log.size_bytes())

    one = sizes[1] - sizes[0]
    assert all(before - after < DELETE_SLICE * one for before, after in pairwise(sizes))
    assert sizes[-1] < 100 * one
    log.close()


def test_hard_state_of_a_quiet_group_outlives_its_record(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    write(log, GroupWrite(9, hard_state=HardState(77, 3, 12)))
    write(log, GroupWrite(8, entries=entries(1, 5, term=6), hard_state=HardState(6, 1, 4)))
    log.cut(8, 4)
    fill(log, 1, 120)
    log.cut(1, 110)
    fill(log, 1, 80)
    assert log.size_bytes() < 150 * 260, "the oldest records are gone"
    log.close()

    log = open_log(tmp_path / "log")
    assert log.recovered()[9].hard_state == HardState(77, 3, 12)
    assert log.recovered()[8].hard_state == HardState(6, 1, 4)
    assert (log.recovered()[8].cut_index, log.recovered()[8].cut_term) == (4, 6)
    log.close()


def test_newer_hard_state_in_a_later_record_beats_the_head(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    write(log, GroupWrite(9, hard_state=HardState(1, 0, 0)))
    fill(log, 1, 200)
    write(log, GroupWrite(9, hard_state=HardState(2, 0, 0)))
    log.cut(1, 200)
    fill(log, 1, 100)
    write(log, GroupWrite(9, hard_state=HardState(3, 0, 0)))
    log.close()

    log = open_log(tmp_path / "log")
    assert log.recovered()[9].hard_state.term == 3
    log.close()


def test_older_hard_state_in_a_kept_record_does_not_beat_the_head(tmp_path: Path) -> None:
    """The head knows more than the records that were kept only for their entries."""
    log = open_log(tmp_path / "log")
    fill(log, 1, 100)
    pinned = GroupWrite(5, entries=entries(1, 2))
    write(log, pinned, GroupWrite(9, hard_state=HardState(1, 1, 1)))
    write(log, GroupWrite(9, hard_state=HardState(8, 2, 2)))
    log.cut(1, 100)
    fill(log, 1, 100)
    log.close()

    log = open_log(tmp_path / "log")
    assert log.recovered()[9].hard_state == HardState(8, 2, 2)
    log.close()


def test_quiet_group_pins_the_log_until_it_is_cut(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    write(log, GroupWrite(5, entries=entries(1, 4)))
    fill(log, 1, 300)
    log.cut(1, 300)
    fill(log, 1, 70)
    pinned_bytes = log.size_bytes()
    log.cut(5, 3)
    fill(log, 1, 80)

    assert log.size_bytes() < pinned_bytes / 2
    log.close()


def test_entries_of_a_quiet_group_are_carried_along_when_the_log_grows_too_large(
    tmp_path: Path,
) -> None:
    """They cannot be cut: perhaps its quorum is gone. The others' records must go all the same."""
    bound_bytes = 50_000
    log = open_log(tmp_path / "log", carry_above_bytes=bound_bytes)
    kept = entries(1, 4, term=7)
    write(log, GroupWrite(5, entries=kept, hard_state=HardState(7, 2, 0)))
    sizes = []
    for _ in range(20):
        fill(log, 1, 100)
        log.cut(1, log.reader(1).last_index())
        sizes.append(log.size_bytes())

    assert max(sizes) < 2 * bound_bytes
    assert log.reader(5).entries(1, 4, EVERYTHING) == kept
    log.close()
    log = open_log(tmp_path / "log")
    assert log.reader(5).entries(1, 4, EVERYTHING) == kept
    assert log.recovered()[5].hard_state == HardState(7, 2, 0)
    log.close()


def test_replay_may_begin_between_a_branch_and_its_truncation(tmp_path: Path) -> None:
    """Records kept may hold entries of a dead branch whose beginning is gone."""
    log = open_log(tmp_path / "log")
    fill(log, 1, 100)
    for index in range(1, 60):
        write(log, GroupWrite(2, entries=[entry(index, term=1)]))
    write(log, GroupWrite(3, entries=[entry(1)]))  # pins from here
    for index in range(60, 70):
        write(log, GroupWrite(2, entries=[entry(index, term=1)]))
    write(log, GroupWrite(2, truncate_from=40, entries=entries(40, 90, term=2)))
    log.cut(1, 100)
    log.cut(2, 50)
    fill(log, 1, 80)
    assert log.size_bytes() < 180 * 270, "the records before the pin are gone"
    log.close()

    log = open_log(tmp_path / "log")
    reader = log.reader(2)
    assert (reader.first_index(), reader.last_index(), reader.term(50)) == (51, 89, 2)
    assert reader.entries(51, 90, EVERYTHING) == entries(51, 90, term=2)
    log.close()


def test_deletion_goes_on_after_a_restart(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    fill(log, 1, 400)
    log.cut(1, 400)
    left_bytes = log.size_bytes()
    while log.size_bytes() >= left_bytes:  # until the head and the first slice
        left_bytes = log.size_bytes()
        fill(log, 1, 1)
    left_bytes = log.size_bytes()
    log.close()

    log = open_log(tmp_path / "log")
    assert log.size_bytes() == left_bytes
    fill(log, 1, 10)
    assert log.size_bytes() < left_bytes / 2
    log.close()


def test_file_stays_bounded_when_the_log_is_cut(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", map_size_bytes=8 << 20)
    for _ in range(12):
        fill(log, 1, 25, size_bytes=80_000)  # 24 MB through a map of 8
        log.cut(1, log.reader(1).last_index() - 5)
    log.close()


@pytest.mark.parametrize("seed", range(6))
def test_random_operations_match_a_dumb_model(tmp_path: Path, seed: int) -> None:
    """Every operation in any order, reopened after each step or after some of them."""
    rng = random.Random(seed)
    model: dict[int, ModelGroup] = {}
    path = tmp_path / "log"
    log = open_log(path, carry_above_bytes=CARRY_ABOVE_BYTES)
    for _ in range(100 if seed < 3 else 400):
        act(rng, log, model)
        assert_same(log, model)
        if seed < 3 or rng.random() < 0.03:
            log.close()
            log = open_log(path, create=False, carry_above_bytes=CARRY_ABOVE_BYTES)
            assert_recovered(log, model)
            assert_same(log, model, cuts_kept=False)
            for group, expected in model.items():
                log.cut(group, expected.cut_index)
    log.close()


def act(rng: random.Random, log: LogStore, model: dict[int, ModelGroup]) -> None:
    """One random turn over up to six groups, or a burst of turns that makes old records die."""
    if rng.random() < 0.15:
        for _ in range(rng.randrange(70)):
            change = random_write(rng, rng.choice([1, 2]), model)
            write(log, change)
            replay([change], model)
    for group, expected in model.items():
        if rng.random() < 0.3:
            index = rng.randint(expected.cut_index, expected.last_index)
            log.cut(group, index)
            expected.cut(index)
    changes = [random_write(rng, group, model) for group in range(1, 7) if rng.random() < 1 / group]
    if rng.random() < 0.1:
        log.prepare(changes)  # and forget it
    write(log, *changes)
    replay(changes, model)


def random_write(rng: random.Random, group: int, model: dict[int, ModelGroup]) -> GroupWrite:
    known = model.get(group, ModelGroup())
    change = GroupWrite(group)
    first, last = known.cut_index + 1, known.last_index
    term = max(known.hard_state.term, 1)
    if rng.random() < 0.05:
        last = last + rng.randrange(20)
        change.reset = (last, term)
        first = last + 1
    if rng.random() < 0.15:
        change.truncate_from = rng.randint(first, last + 1)
        last = change.truncate_from - 1
    if rng.random() < 0.8:
        count = rng.choice([1, 1, 1, 2, 30])
        payload = rng.randbytes(rng.choice([0, 10, 300, 5000]))
        change.entries = entries(last + 1, last + 1 + count, term, payload)
    if rng.random() < 0.3:
        change.hard_state = HardState(term + rng.randrange(2), rng.randrange(4), first - 1)
    return change


def test_copy_taken_at_any_commit_recovers_to_that_commit(tmp_path: Path) -> None:
    """A crash between two commits: what the file then holds is a whole log."""
    rng = random.Random(11)
    model: dict[int, ModelGroup] = {}
    path = tmp_path / "log"
    log = open_log(path)
    for step in range(40):
        act(rng, log, model)
        copied = tmp_path / f"copy-{step}"
        shutil.copytree(path, copied)
        restored = LogStore.open(copied, map_size_bytes=1 << 28)
        assert_recovered(restored, model)
        assert_same(restored, model, cuts_kept=False)
        restored.close()
        shutil.rmtree(copied)
    log.close()
