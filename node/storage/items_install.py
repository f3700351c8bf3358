"""Replacing a replica's items by those of a snapshot's file, a bounded transaction at a time.

    begin    one transaction: the install record comes, the replica's state goes
    clear    the items of the arc go, a few in each transaction
    fill     the items of the file come, a few in each transaction
    finish   one transaction: the new state comes, the record goes

Between two transactions the store is free for others. A crash after `begin` leaves the record, and
the next start begins again with `clear`: every step may be done twice. Reads of the arc between
`begin` and `finish` would see a mixture; nobody may ask, for there is no state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Final

from node.storage.environment import storage_error
from node.storage.errors import CorruptItems
from node.storage.items import InstallRecord, ItemStore
from node.storage.snapshot_file import path_of, read_pairs, read_state
from node.storage.snapshot_frames import BrokenSnapshot

FILL_BYTES: Final = 1 << 20
"""Bytes of items stored by one transaction. Ours: 10 to 50 ms (measured, on a quiet and on a busy
machine), and a checkpoint waits no longer than that."""

CLEAR_ITEMS: Final = 2000
"""Items deleted by one transaction. Ours: some 10 ms."""

WHAT_TO_DO: Final = (
    "A snapshot was being installed from it, so this replica's former items are gone, and its vote "
    "may not be given without them. Keep the directory for analysis, start the node with an empty "
    "one, and let the cluster add it anew and refill it from the other replicas"
)


class _Step(Enum):
    BEGIN = auto()
    CLEAR = auto()
    FILL = auto()
    FINISH = auto()
    DONE = auto()


class SnapshotInstall:
    """The install of one snapshot. `take_step` runs on the items store's thread."""

    def __init__(self, record: InstallRecord, directory: Path, *, begun: bool = False) -> None:
        """`directory` has the file; `begun` if the store holds the record already."""
        self.record = record
        self.path = path_of(directory, record.group, record.view)
        self.state = b""  # the snapshot state, once done
        self._step = _Step.CLEAR if begun else _Step.BEGIN
        self._parts: Iterator[list[tuple[bytes, bytes]]] = iter(())
        self._part: list[tuple[bytes, bytes]] = []  # read, not stored yet

    @property
    def begun(self) -> bool:
        """Whether the old items are gone, so that there is no way but on."""
        return self._step is not _Step.BEGIN

    def take_step(self, items: ItemStore) -> bool:
        """Do one transaction; return whether there are more to do.

        Raises StorageFull (this step has changed nothing and may be taken again), StorageFailed,
        CorruptItems (the file is not what was received).
        """
        with self._reading():
            self._step = self._take_step(items)
        return self._step is not _Step.DONE

    def verify(self) -> None:
        """Read the whole file. Raises CorruptItems, StorageFailed."""
        with self._reading():
            for _ in read_pairs(self.path, self.record.checksum):
                pass

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except BrokenSnapshot as error:
            raise CorruptItems(str(error), str(self.path), WHAT_TO_DO) from error
        except FileNotFoundError as error:
            raise CorruptItems("it is missing", str(self.path), WHAT_TO_DO) from error
        except OSError as error:
            raise storage_error(error, f"reading {self.path}") from error

    def _take_step(self, items: ItemStore) -> _Step:
        """Take the step that is due; return the next one."""
        match self._step:
            case _Step.BEGIN:
                items.begin_install(self.record)
                return _Step.CLEAR
            case _Step.CLEAR:
                if items.clear_arc(self.record.arc, items_max=CLEAR_ITEMS):
                    return _Step.CLEAR
                self._parts = read_pairs(self.path, self.record.checksum)
                return _Step.FILL
            case _Step.FILL:
                self._part = self._part or self._next_part()
                if not self._part:
                    return _Step.FINISH
                items.fill_arc(self._part)
                self._part = []
                return _Step.FILL
            case _Step.FINISH:
                self.state = read_state(self.path)
                items.finish_install(self.record, self.state)
                return _Step.DONE
            case _Step.DONE:
                raise AssertionError("it is done")

    def _next_part(self) -> list[tuple[bytes, bytes]]:
        part: list[tuple[bytes, bytes]] = []
        size_bytes = 0
        for pairs in self._parts:
            part += pairs
            size_bytes += sum(len(key) + len(image) for key, image in pairs)
            if size_bytes >= FILL_BYTES:
                break
        return part

    def discard(self) -> None:
        """Delete the file: after the end, or instead of a beginning. Takes its time."""
        self.path.unlink(missing_ok=True)
