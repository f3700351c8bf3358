"""Planted bugs: snapshots that bring too little, or that nobody may use yet."""

from __future__ import annotations

from collections.abc import Sequence

from node.checkpoints import Checkpointer
from node.machine.partition import PartitionMachine
from node.storage import items_install
from node.storage.items import InstallRecord
from node.storage.memtable import Memtable
from tests.sim.disk import MemoryItemStore
from tests.sim.plants.registry import Change, plant
from tests.sim.transfers import MemoryInstall, Transfer, Transfers


@plant
def snapshot_resumed_with_another_view() -> Sequence[Change]:
    """What was received of an older view is gone on with as if it were of this one."""
    offer = Transfer._offer

    def mixing(self: Transfer) -> None:
        files = self._receiver.items_disk.files
        for place in [place for place in files if place[0] == self._view.group]:
            if not files[place].is_sealed and self._place not in files:
                files[self._place] = files.pop(place)
                files[self._place].state = self._view.state_bytes
        offer(self)

    return [(Transfer, "_offer", mixing)]


@plant
def snapshot_installed_half() -> Sequence[Change]:
    """An install that a crash interrupted is called finished at the next start."""

    def unfinished(self: Transfers) -> list[MemoryInstall]:
        disk = self._node.items_disk
        for group, view in [place for place in disk.files if place[0] in disk.installs]:
            record = next(r for r in self._node.items.installs() if r.group == group)
            self._node.items.finish_install(record, disk.files[group, view].state)
        return []

    return [(Transfers, "unfinished", unfinished)]


@plant
def old_items_stay_under_a_snapshot() -> Sequence[Change]:
    """An install does not clear what was there before."""
    return [(MemoryItemStore, "clear_arc", lambda self, arc, items_max: False)]


@plant
def state_kept_while_a_snapshot_is_installed() -> Sequence[Change]:
    """The replica's former state stays beside the install: after a crash it counts again."""

    def begin(self: MemoryItemStore, record: InstallRecord) -> None:
        state = self._disk.states.get(record.group)
        original(self, record)
        if state is not None:
            self._disk.states[record.group] = state

    original = MemoryItemStore.begin_install
    none: list[MemoryInstall] = []
    return [
        (MemoryItemStore, "begin_install", begin),
        (Transfers, "unfinished", lambda self: none),
    ]


@plant
def purge_takes_a_live_table() -> Sequence[Change]:
    """Once a table is dropped, its neighbour's items go, too."""
    purge = MemoryItemStore.purge

    def greedy(self: MemoryItemStore, dropped: list[int], *, items_max: int = 1000) -> bool:
        return purge(self, [*dropped, max(dropped) - 1], items_max=items_max)

    return [(MemoryItemStore, "purge", greedy)]


@plant
def dropped_tables_are_not_purged() -> Sequence[Change]:
    """The items of a dropped table stay for ever."""
    return [(Checkpointer, "_purge", lambda self: False)]


@plant
def page_misses_what_a_checkpoint_is_writing() -> Sequence[Change]:
    """A range read does not look into the memtable that a checkpoint has set aside."""
    scan = PartitionMachine.scan

    def blind(self: PartitionMachine, low: bytes, high: bytes, *, backwards: bool) -> object:
        frozen, self._frozen = self._frozen, None
        try:
            return scan(self, low, high, backwards=backwards)
        finally:
            self._frozen = frozen

    return [(PartitionMachine, "scan", blind)]


@plant
def page_shows_deleted_items() -> Sequence[Change]:
    """A memtable does not hide in a range read what it knows to be deleted."""
    scan = Memtable.scan

    def showing(self: Memtable, low: bytes, high: bytes, *, backwards: bool = False) -> object:
        return (pair for pair in scan(self, low, high, backwards=backwards) if pair[1])

    return [(Memtable, "scan", showing)]


@plant
def install_stops_before_its_last_items() -> Sequence[Change]:
    """An install stores all pieces of a snapshot but the last."""
    return [(items_install.SnapshotInstall, "_next_part", _all_but_the_last)]


def _all_but_the_last(self: items_install.SnapshotInstall) -> list[tuple[bytes, bytes]]:
    part = next(self._parts, [])
    following = next(self._parts, None)
    if following is None:
        return []
    self._parts = iter([following, *self._parts])
    return part
