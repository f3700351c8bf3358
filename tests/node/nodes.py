"""One node of the cluster in one thread: its host over real stores, and the router that asks it.

`Node` implements `node.host.Shell`: what the host asks for waits until a story lets it happen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from node.catalog_replica import NO_RESULT
from node.codec import decode_route_batch
from node.host import Host
from node.machine.catalog import CatalogResult
from node.peer_batch import PeerBatch
from node.replica import PartitionReplica
from node.routes import RouteStream
from node.snapshots.receiving import SnapshotReceiver, SnapshotRefused
from node.snapshots.sending import make_offer
from node.storage.items import ItemStore
from node.storage.log import LogRecord, LogStore
from node.storage.snapshot_frames import VIEW_BYTES
from quorate.cluster.catalog import Catalog
from quorate.cluster.commands import CatalogCommand
from quorate.cluster.outcome import Outcome
from quorate.v1 import node_pb2
from raft.types import Message

if TYPE_CHECKING:
    from tests.node.harness import Cluster

MAP_SIZE_BYTES = 256 << 20
NODES = (1, 2, 3)
PARTITION = 1
START_WALL_SECONDS = 1_700_000_000.0


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way; `outcome` is None until it is answered."""

    node_id: int
    outcome: Outcome | None = None
    units: int = 0
    payload: bytes = b""
    keys: list[bytes] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    more: bool = False


@dataclass(slots=True, eq=False)
class CatalogRequest:
    """A catalog command on its way."""

    outcome: Outcome | None = None
    result: CatalogResult = NO_RESULT

    def answer(self, outcome: Outcome, result: CatalogResult) -> None:
        assert self.outcome is None, "answered twice"
        self.outcome, self.result = outcome, result


class Router:
    """A router's stream to one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._requests: dict[int, Request] = {}
        self._slot = 0
        self.sequence = 0
        self.accepted = 0
        self.leaders: dict[int, tuple[int, int]] = {}  # partition -> (term, leader)
        self._stream = RouteStream(self._collect)
        node.host.add_stream(self._stream)

    def batch(self, *, epoch: int) -> node_pb2.RouteBatch:
        self.sequence += 1
        return node_pb2.RouteBatch(
            sequence=self.sequence, catalog_epoch=epoch, heard_ms=self._node.host.clock.now_ms
        )

    def new_request(self) -> tuple[int, Request]:
        self._slot += 1
        request = self._requests[self._slot] = Request(self._node.id)
        return self._slot, request

    def send(self, batch: node_pb2.RouteBatch) -> None:
        self._node.host.route(self._stream, decode_route_batch(batch))

    def leave(self) -> None:
        self._node.host.remove_stream(self._stream)

    def _collect(self) -> None:
        reply = self._stream.take_reply(self._node.host.catalog.epoch, self._node.host.clock.now_ms)
        self.accepted = reply.accepted or self.accepted
        for hint in reply.leaders:
            self.leaders[hint.partition] = (hint.term, hint.leader)
        answers = reply.answers
        for slot, outcome, units, payload in zip(
            answers.slots, answers.outcomes, answers.write_units, answers.payloads, strict=True
        ):
            request = self._requests.pop(slot)
            request.outcome, request.units, request.payload = Outcome(outcome), units, payload
        for page in reply.pages:
            request = self._requests.pop(page.slot)
            request.outcome, request.more = Outcome(page.outcome), page.more
            request.keys, request.images = list(page.keys), list(page.images)


class Node:
    """One node's shell and its stores. What is `held` waits until the story lets it happen."""

    def __init__(
        self, cluster: Cluster, node_id: int, directory: Path, founders: Sequence[int] = NODES
    ) -> None:
        self.id = node_id
        self._founders = founders
        self._cluster = cluster
        self._directory = directory
        directory.mkdir(exist_ok=True)
        self.log_held = False
        self.items_held = False
        self.disk_full = False
        self.items_full = False
        self.is_up = False
        self.events: list[str] = []
        self.start()

    def start(self) -> None:
        """Open the stores and recover from what they hold."""
        assert not self.is_up
        self.log_store = LogStore.open(self._directory / "log", map_size_bytes=MAP_SIZE_BYTES)
        self.items = ItemStore.open(self._directory / "items", map_size_bytes=MAP_SIZE_BYTES)
        self.turn_due = False
        self.log_write: LogRecord | None = None
        self.jobs: deque[tuple[Callable[[], None], Callable[[bool], None]]] = deque()
        self.snapshots: deque[tuple[int, Message]] = deque()
        self.applied_at_start: dict[int, int] = {
            group: state.applied_index for group, state in self.items.replicas().items()
        }
        self.is_up = True
        self.host = Host(
            node_id=self.id,
            log=self.log_store,
            items=self.items,
            rng=self._cluster.rng,
            shell=self,
        )
        self.receiver = SnapshotReceiver(
            self._directory / "snapshots", self.id, self.host, lambda act, *given: act(*given)
        )
        self.host.recover(self._founders, self.receiver.unfinished(self.items))
        self.router = Router(self)

    def crash(self) -> None:
        """Lose everything that is not in the stores."""
        assert self.is_up
        self.is_up = False
        self.log_store.close()
        self.items.close()

    def replica(self, group: int = PARTITION) -> PartitionReplica:
        replica = self.host.replicas[group]
        assert isinstance(replica, PartitionReplica)
        return replica

    # node.host.Shell

    def monotonic(self) -> float:
        return self._cluster.now

    def wall_clock(self) -> float:
        return START_WALL_SECONDS + self._cluster.now

    def schedule_turn(self) -> None:
        self.turn_due = True

    def send(self, outbox: PeerBatch) -> None:
        self._cluster.send(outbox)

    def write_log(self, record: LogRecord) -> None:
        assert self.log_write is None, "one log write in flight"
        self.log_write = record

    def write_items(self, job: Callable[[], None], done: Callable[[bool], None]) -> None:
        self.jobs.append((job, done))

    def send_snapshot(self, group: int, message: Message) -> None:
        self.snapshots.append((group, message))

    def catalog_changed(self, catalog: Catalog) -> None:
        pass

    def want_catalog(self, epoch: int) -> None:
        self.catalog_wanted = epoch

    def change_catalog(self, command: CatalogCommand) -> None:
        self._cluster.catalog_commands.append((self.id, command))

    def log(self, event: str, **facts: object) -> None:
        self.events.append(event)

    # What a story lets happen

    def turn(self) -> None:
        self.turn_due = False
        self.host.turn()

    def finish_log_write(self, *, tell: bool = True) -> None:
        """Commit what is in flight; `tell` False: the node crashes before it hears of it."""
        record = self.log_write
        assert record is not None
        if self.disk_full:
            self.log_write = self.host.log_refused()
            return
        self.log_store.commit(record)
        self.log_write = None
        if tell:
            self.host.log_written()

    def run_job(self, *, tell: bool = True) -> None:
        """Run the oldest job of the items store; `tell` False: the node crashes after it."""
        job, done = self.jobs.popleft()
        stored = not self.items_full
        if stored:
            job()
        if tell:
            done(stored)

    def deliver_snapshot(self) -> None:
        """Carry one snapshot to its receiver, through its wire form."""
        group, message = self.snapshots.popleft()
        to = self._cluster.nodes[message.to]
        ok = self._cluster.connected(self.id, to.id)
        if ok:
            parts = snapshot_parts(self, message, group)
            try:
                asyncio.run(to.receiver.receive(self.id, stream(parts), ignore))
                self._cluster.snapshot_count += 1
            except SnapshotRefused:
                ok = False
        self.host.snapshot_sent(group, message.to, ok=ok)

    def can_finish_log_write(self) -> bool:
        return self.log_write is not None and not self.log_held and not self.disk_full

    def step(self) -> bool:
        """Do what is due and not held; whether there was anything."""
        if self.turn_due:
            self.turn()
        elif self.can_finish_log_write():
            self.finish_log_write()
        elif self.jobs and not self.items_held:
            self.run_job()
        elif self.snapshots and not self._cluster.snapshots_held:
            self.deliver_snapshot()
        else:
            return False
        return True


def snapshot_parts(
    node: Node, message: Message, group: int = PARTITION, *, view: bytes = b"v" * VIEW_BYTES
) -> list[node_pb2.SnapshotPart]:
    """Return what a node sends to one that has nothing of the view: the offer, all frames."""
    replica = node.host.replicas[group]
    opened = node.items.open_view(replica.arc, group, view)
    try:
        parts = [node_pb2.SnapshotPart(offer=make_offer(opened, message))]
        while (frame := opened.next_frame()) is not None:
            parts.append(node_pb2.SnapshotPart(frame=frame))
    finally:
        opened.close()
    return [node_pb2.SnapshotPart.FromString(part.SerializeToString()) for part in parts]


async def stream(parts: Sequence[node_pb2.SnapshotPart]) -> AsyncIterator[node_pb2.SnapshotPart]:
    """Yield the parts as a call does."""
    for part in parts:
        yield part


async def ignore(position: node_pb2.SnapshotPosition) -> None:
    """Take a receiver's answer and do nothing with it."""


def outcomes(requests: Sequence[Request]) -> list[Outcome | None]:
    return [request.outcome for request in requests]
