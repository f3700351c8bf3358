"""Snapshots between nodes: offered, sent piece by piece, broken off, gone on with, installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from node.storage.items import InstallRecord
from node.storage.items_install import SnapshotInstall
from raft.types import Configuration, Message, Role, SnapshotMeta
from tests.sim.disk import ItemsDisk, MemoryView, SnapshotFile

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode

SENDING_MAX = 2
RECEIVING_MAX = 4
RETRY_SECONDS = 1.0
BREAKS = 0.1
"""Probability that a transfer breaks off at a piece."""


class MemoryInstall(SnapshotInstall):
    """The real install, from a file of the simulated disk: see `read_pairs`, `read_state`."""

    def __init__(self, record: InstallRecord, disk: ItemsDisk, *, begun: bool = False) -> None:
        super().__init__(record, Path(), begun=begun)
        self._disk = disk
        self.path = disk.files[record.group, record.view]  # type: ignore[assignment]

    def discard(self) -> None:
        self._disk.files.pop((self.record.group, self.record.view), None)


def read_pairs(file: SnapshotFile, checksum: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """What `node.storage.snapshot_file.read_pairs` does, on a file of the simulated disk."""
    assert file.is_sealed
    yield from file.pieces


def read_state(file: SnapshotFile) -> bytes:
    """What `node.storage.snapshot_file.read_state` does."""
    return file.state


class Transfers:
    """What one process of a node sends and receives."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._sending = 0
        self._view_count = 0
        self._kept: dict[tuple[int, int], MemoryView] = {}
        self.receiving: set[int] = set()  # groups

    def unfinished(self) -> list[MemoryInstall]:
        """Return the installs that a crash interrupted."""
        disk = self._node.items_disk
        return [MemoryInstall(record, disk, begun=True) for record in self._node.items.installs()]

    def send(self, group: int, message: Message) -> None:
        """Send a snapshot, if not too many are under way."""
        if self._sending >= SENDING_MAX:
            self._node.later(0.0001, self._tell, group, message.to, ok=False)
            return
        self._sending += 1
        self._node.later(0.0, self._begin, group, message)

    def _begin(self, group: int, message: Message) -> None:
        node = self._node
        replica = node.host.replicas[group]
        if replica.core.role is not Role.LEADER or replica.core.term != message.term:
            self.ended(group, message.to, ok=False)
            return
        view = self._kept.pop((group, message.to), None)
        if view is None or view.state.applied_index + 1 < replica.core.log.first_index():
            self._view_count += 1
            name = f"{node.id}/{node.life}/{self._view_count}".encode()
            view = node.items.open_view(replica.arc, group, name.ljust(16))
        Transfer(node, view, message).begin()

    def ended(self, group: int, to: int, *, ok: bool, keep: MemoryView | None = None) -> None:
        """Take note of a transfer's end; the host hears of it, of a bad one after a while."""
        self._sending -= 1
        if keep is not None:
            self._kept[group, to] = keep
        self._node.later(0.0 if ok else RETRY_SECONDS, self._tell, group, to, ok=ok)

    def _tell(self, group: int, to: int, *, ok: bool) -> None:
        self._node.host.snapshot_sent(group, to, ok=ok)


class Transfer:
    """One call from one process to another. It breaks when either ends, or by itself."""

    def __init__(self, sender: SimulatedNode, view: MemoryView, wanted: Message) -> None:
        receiver = sender.world.nodes[wanted.to]
        self._sender, self._receiver = sender, receiver
        self._lives = (sender.life, receiver.life)
        self._view = view
        self._place = view.group, view.view
        self._wanted = wanted
        self._seconds = sender.world.rng.choice((0.0005, 0.005, 0.05))
        self._held = False  # the receiver counts it as one that it receives

    def begin(self) -> None:
        """Make the offer."""
        sender, view = self._sender, self._view
        index = view.state.applied_index
        sender.world.tell(sender.name, "sends a snapshot to", self._receiver.id, view.group, index)
        self._after(self._offer)

    def _after(self, act: Callable[[], None]) -> None:
        world = self._sender.world
        world.schedule.after(self._seconds * (0.5 + world.rng.random()), self._go_on, act)

    def _go_on(self, act: Callable[[], None]) -> None:
        """Do the next thing at the receiver, if the call still lives; a pause only delays it."""
        sender, receiver = self._sender, self._receiver
        world = sender.world
        alive = receiver.is_up and receiver.life == self._lives[1]
        if sender.life != self._lives[0]:
            self._let_go()
        elif not alive or not world.network.is_whole(sender.id, receiver.id):
            self._end(ok=False, keep=True)
        elif world.rng.random() < BREAKS:
            world.counts["transfer broken"] += 1
            self._end(ok=False, keep=True)
        else:
            receiver.call(act)

    def _end(self, *, ok: bool, keep: bool = False) -> None:
        self._let_go()
        if self._sender.life == self._lives[0]:
            kept = self._view if keep else None
            self._sender.transfers.ended(self._view.group, self._receiver.id, ok=ok, keep=kept)

    def _let_go(self) -> None:
        if self._held and self._receiver.life == self._lives[1]:
            self._receiver.transfers.receiving.discard(self._view.group)

    # At the receiver

    def _message(self) -> Message:
        state = self._view.state
        configuration = Configuration.decode(state.configuration)
        meta = SnapshotMeta(state.applied_index, state.applied_term, configuration)
        return replace(self._wanted, snapshot=meta)

    def _offer(self) -> None:
        receiver, group = self._receiver, self._view.group
        receiving = receiver.transfers.receiving
        busy = group in receiving or len(receiving) >= RECEIVING_MAX
        if busy or not receiver.host.wants_snapshot(group, self._message()):
            self._end(ok=False, keep=busy)
            return
        receiving.add(group)
        self._held = True
        files = receiver.items_disk.files
        for place in [place for place in files if place[0] == group and place != self._place]:
            del files[place]
        if self._place not in files:
            files[self._place] = SnapshotFile(self._view.state_bytes)
        elif files[self._place].pieces:
            receiver.world.counts["transfer resumed"] += 1
        self._after(self._take_piece)

    def _take_piece(self) -> None:
        receiver, group = self._receiver, self._view.group
        leader = self._sender.host.replicas[group].core
        if leader.role is not Role.LEADER or leader.term != self._wanted.term:
            self._end(ok=False)
            return
        file = receiver.items_disk.files[self._place]
        piece = self._view.piece(len(file.pieces))
        if piece is not None:
            file.pieces.append(piece)
            self._after(self._take_piece)
            return
        file.is_sealed = True
        receiver.world.counts["transferred"] += 1
        self._end(ok=True)
        state, arc = self._view.state, receiver.host.replicas[group].arc
        record = InstallRecord(*self._place, state.applied_index, state.applied_term, arc, 0)
        install = MemoryInstall(record, receiver.items_disk)
        receiver.host.offer_snapshot(group, self._message(), install)


def lose_unsynced_pieces(node: SimulatedNode) -> None:
    """Let a crash take what was not sealed, from some piece on."""
    for file in node.items_disk.files.values():
        if not file.is_sealed:
            del file.pieces[node.world.rng.randrange(len(file.pieces) + 1) :]
