"""A disk that has no room now and then: a store goes on, but for what nobody can know.

Any page of a transaction may be refused, once or for a while, whole or from some block on: the
next attempt writes all of them anew. A meta page may not, for it alone makes a transaction count.
"""

from __future__ import annotations

import errno
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes.faults.disk_shim import Act, DiskShim, Target, environment
from tests.processes.faults.store_writer import durable

REPOSITORY = Path(__file__).parents[3]
KINDS = ("log", "items")
PAGES_REFUSED = [(1, 1), (2, 1), (3, 1), (1, 3), (2, 5), (1, 40)]
"""(at which page from now, how many one after the other)."""

FIRST_BLOCK = 1024


class Writer:
    """A process that writes for ever, on a disk that obeys."""

    def __init__(self, process: subprocess.Popen[str], shim: DiskShim, directory: Path) -> None:
        self.process = process
        self.shim = shim
        self.directory = directory

    def next(self) -> int:
        """Return how many writes it says are durable, after one more."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it has ended"
        return int(line)

    def last_words(self) -> str:
        """Return how it ended, once it has."""
        _, words = self.process.communicate(timeout=30)
        return words

    def refuse(self, at: int, count: int, act: Act = Act.FAIL) -> None:
        """Refuse some pages for want of room, and wait until that is over and forgotten."""
        value = errno.ENOSPC if act is Act.FAIL else FIRST_BLOCK
        self.shim.arm(act, at=at, last=at + count - 1, target=Target.PAGES, value=value)
        while self.shim.pages < at + count:
            self.next()
        self.shim.disarm()
        self.next()


@contextmanager
def writing(kind: str, library: Path, tmp_path: Path) -> Iterator[Writer]:
    directory = tmp_path / "disk"
    directory.mkdir()
    shim = DiskShim(directory, tmp_path / "control")
    command = [sys.executable, "-m", "tests.processes.faults.store_writer", kind, str(directory)]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(library, {"": shim}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        writer = Writer(process, shim, directory)
        try:
            for _ in range(3):
                writer.next()
            yield writer
        finally:
            process.kill()
    shim.close()


@pytest.mark.parametrize(("at", "count"), PAGES_REFUSED)
@pytest.mark.parametrize("kind", KINDS)
def test_pages_that_find_no_room_are_written_later(
    shim_library: Path, tmp_path: Path, kind: str, at: int, count: int
) -> None:
    with writing(kind, shim_library, tmp_path) as writer:
        writer.refuse(at, count)
        told = writer.next()

    assert durable(kind, writer.directory) >= told


@pytest.mark.parametrize("kind", KINDS)
def test_pages_that_find_room_for_their_first_blocks_only_are_written_later(
    shim_library: Path, tmp_path: Path, kind: str
) -> None:
    """LMDB says EIO of these, as of a broken disk; that it was full a moment ago says the rest."""
    with writing(kind, shim_library, tmp_path) as writer:
        writer.refuse(1, 1)
        for at in (1, 2, 3):
            writer.refuse(at, 1, Act.STOP_SHORT)
        told = writer.next()

    assert durable(kind, writer.directory) >= told


@pytest.mark.parametrize("kind", KINDS)
def test_room_that_comes_and_goes_at_random_costs_nothing_but_time(
    shim_library: Path, tmp_path: Path, kind: str
) -> None:
    rng = random.Random(7)
    with writing(kind, shim_library, tmp_path) as writer:
        writer.refuse(1, 1)
        for _ in range(60):
            act = rng.choice((Act.FAIL, Act.FAIL, Act.STOP_SHORT))
            writer.refuse(rng.randrange(1, 6), rng.choice((1, 1, 2, 7)), act)
        told = writer.next()

    assert durable(kind, writer.directory) >= told


@pytest.mark.parametrize("kind", KINDS)
def test_meta_page_that_finds_no_room_ends_the_process_at_once_and_is_named(
    shim_library: Path, tmp_path: Path, kind: str
) -> None:
    with writing(kind, shim_library, tmp_path) as writer:
        writer.shim.arm(Act.FAIL, value=errno.ENOSPC, target=Target.METAS)
        words = writer.last_words()

    assert "StorageFailed" in words
    assert "its meta page was not written" in words
    assert "StorageFull" not in words
