"""Checkpoints: applied images move from the memtables into the tree, then the log may be cut.

Rarely and in large sorted batches, on the items store's thread. The log keeps a tail for
followers that were away for a while; one that was away longer gets a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from node.replica import PartitionReplica, PendingCheckpoint, Replica
from node.storage.items import ItemStore
from node.storage.log import LogStore
from quorate.cluster.catalog import Catalog
from quorate.troubles import Troubles

MIB: Final = 1 << 20

INTERVAL_SECONDS: Final = 5.0
"""Between checkpoints. Ours: each second costs an eighth of the write throughput (measured)."""

MEMTABLES_BYTES_MAX: Final = 64 * MIB
"""Memtable bytes of a node at which a checkpoint starts early. Ours."""

MEMTABLES_BYTES_REFUSED: Final = 512 * MIB
"""Memtable bytes of a node at which it takes no more entries: its items cannot be stored as fast as
they come, or not at all. Ours."""

LOOK_SECONDS: Final = 0.5
"""Between two looks at the size of all memtables: with many groups each look costs. Ours."""

LOG_BYTES_MAX: Final = 128 * MIB
"""Log size at which the older half is cut off. Ours: what remains lets a follower that was away for
some ten seconds of full load catch up without a snapshot; LMDB maps the file, so that a larger log
shows as resident memory."""


LOG_HELD_BYTES_MAX: Final = 8 * LOG_BYTES_MAX
"""Log size above which it is cut even if a snapshot is on its way that the rest would have followed
on. Ours: the follower then needs another one, but the disk is safe."""


class Shell(Protocol):
    """The part of the host's shell that checkpoints need."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    def write_items(self, job: Callable[[], None], done: Callable[[bool], None]) -> None:
        """Run a job on the items store's thread, in order; then `done(whether there was room)`."""
        ...

    def log(self, event: str, **facts: object) -> None:
        """Log one fact."""
        ...


class Checkpointer:
    """One checkpoint at a time; also purges dropped tables, in slices between checkpoints."""

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        log: LogStore,
        items: ItemStore,
        shell: Shell,
    ) -> None:
        """Start with nothing under way; `replicas` is the host's, by group."""
        self._replicas = replicas
        self._log = log
        self._items = items
        self._shell = shell
        self.count = 0  # checkpoints of anything, in this process's life
        self.seconds = 0.0  # that they took, in all
        self.stored_at = shell.monotonic()  # all that was applied before then is in the tree
        self._refused = Troubles(
            "checkpoint_refused_disk_full",
            "checkpoint_stored_at_last",
            clock=shell.monotonic,
            say=shell.log,
        )
        self._parts: list[PendingCheckpoint] = []
        self._set_aside_at = self.stored_at
        self._running = False
        self._due_at = 0.0
        self._look_at = 0.0
        self._memtables_bytes = 0  # at the last look
        self._hurried = False
        self._catalog = Catalog()
        self._cut_mark: dict[int, int] | None = None
        self._shrunk_to_bytes = 0
        self._purge_more = False
        self._held_from: dict[tuple[int, int], int] = {}

    def hold_log(self, receiver: tuple[int, int], index: int) -> None:
        """Keep a group's log above an index: a snapshot of it is sent to `receiver`, (group, node).

        Else the log might be cut above the snapshot before that has arrived, time after time.
        """
        self._held_from[receiver] = index

    def release_log(self, receiver: tuple[int, int]) -> None:
        """Cut the log as ever. Harmless if nothing was held."""
        self._held_from.pop(receiver, None)

    def hurry(self) -> None:
        """Make a checkpoint at the next tick: a follower needs a snapshot."""
        self._hurried = True

    def catalog_changed(self, catalog: Catalog) -> None:
        """Know which tables are live, and checkpoint soon: new replicas must not be forgotten."""
        self._catalog = catalog
        self._hurried = True

    @property
    def is_overfull(self) -> bool:
        """Whether memory holds so much that is not stored that this node must take no more."""
        return self._memtables_bytes > MEMTABLES_BYTES_REFUSED

    def maybe_start(self, now: float) -> None:
        """Start a checkpoint if one is due."""
        self._look_at_memtables(now)
        if self._running:
            return
        is_large = self._memtables_bytes > MEMTABLES_BYTES_MAX
        if not (self._hurried or now >= self._due_at or is_large):
            if self._purge_more:
                self._run([])
            return
        self._due_at = now + INTERVAL_SECONDS
        self._hurried = False
        self.start(now)

    def _look_at_memtables(self, now: float) -> None:
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        self._memtables_bytes = sum(
            replica.machine.memtable_bytes
            for replica in self._replicas.values()
            if isinstance(replica, PartitionReplica)
        )

    def start(self, now: float) -> bool:
        """Start a checkpoint of all that was applied; False if one is under way."""
        if self._running or not self._may_write_again():
            return False
        if not self._parts:
            self._set_aside_at = now
            shares = [replica.checkpoint(now) for replica in self._replicas.values()]
            self._parts = [share for share in shares if share is not None]
        self._run(self._parts)
        return True

    def _run(self, parts: Sequence[PendingCheckpoint]) -> None:
        """Write the parts on the items store's thread, then purge a slice of dropped tables."""
        self._running = True
        began_at = self._shell.monotonic()
        more = [False]

        def job() -> None:
            if parts:
                self._items.checkpoint([part.build() for part in parts])
            more[0] = self._purge()

        def done(stored: bool) -> None:  # noqa: FBT001 - a callback of WriterThread
            self._running = False
            if not stored:
                # What is frozen stays readable and is written once there is room.
                self._refused.met()
                return
            self._refused.over()
            self._purge_more = more[0]
            if parts:
                self.count += 1
                self.seconds += self._shell.monotonic() - began_at
            self._finish(parts)

        self._shell.write_items(job, done)

    def _may_write_again(self) -> bool:
        """Whether what was refused before may be tried now, without what a snapshot replaced."""
        if any(part.replica.installing for part in self._parts):
            return False
        self._parts = [
            part for part in self._parts if part.meta.index > part.replica.durable_applied
        ]
        return True

    @property
    def running(self) -> bool:
        """Whether a checkpoint is under way."""
        return self._running

    def _finish(self, parts: Sequence[PendingCheckpoint]) -> None:
        self._items.refresh()
        if parts or not self._parts:  # else what was refused before is still to be written
            self.stored_at = self._set_aside_at
        if not parts:
            return
        for part in parts:
            part.drop()
            part.replica.checkpointed(part.meta)
        self._parts = []
        self._cut_log()

    def _cut_log(self) -> None:
        """Cut off the log's older half when it is too large.

        The mark is taken when the log is half full, so that a cut leaves half as the tail. While
        the log shrinks after a cut there is no other one.
        """
        size_bytes = self._log.size_bytes()
        if LOG_BYTES_MAX * 3 // 4 < size_bytes <= self._shrunk_to_bytes:
            self._shrunk_to_bytes = size_bytes
            return  # the last cut is still being carried out, in slices
        self._shrunk_to_bytes = 0
        if self._cut_mark is None:
            if size_bytes > LOG_BYTES_MAX // 2:
                self._cut_mark = {
                    group: replica.durable_applied for group, replica in self._replicas.items()
                }
        elif size_bytes > LOG_BYTES_MAX:
            for group, mark in self._cut_mark.items():
                index = mark if size_bytes > LOG_HELD_BYTES_MAX else self._held(group, mark)
                reader = self._log.reader(group)
                # Else a snapshot came since, or the log is about to be reset to one.
                if reader.first_index() <= index <= reader.last_index():
                    self._log.cut(group, index)
            self._cut_mark = None
            self._shrunk_to_bytes = size_bytes

    def _held(self, group: int, index: int) -> int:
        """Return how far a group's log may be cut that would be cut at `index`."""
        return min([index, *(low for (each, _), low in self._held_from.items() if each == group)])

    def _purge(self) -> bool:
        """Delete a slice of the items of dropped tables; return whether more may remain."""
        catalog = self._catalog
        dropped = [table for table in self._items.list_table_ids() if catalog.has_dropped(table)]
        return bool(dropped) and self._items.purge(dropped)
