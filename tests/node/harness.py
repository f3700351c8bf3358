"""A cluster of hosts in one thread: real stores, but time, network and disks do as they are told.

Nothing happens by itself: `Cluster.run` lets everything happen that is not held back,
`Cluster.tick` lets time pass. Messages, snapshots and replies go through their wire forms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from random import Random

from node.catalog_replica import CatalogReplica
from node.codec import decode_raft_batch, encode_raft_batch
from node.host import TICK_SECONDS
from node.peer_batch import PeerBatch
from quorate.cluster.catalog import CATALOG_GROUP, Catalog, NodeRecord, PartitionRecord
from quorate.cluster.commands import (
    Bootstrap,
    CatalogCommand,
    CreateTable,
    DeleteTable,
    encode_catalog_command,
)
from quorate.cluster.outcome import Outcome
from quorate.cluster.ring import Ring, equal_arcs
from quorate.v1 import node_pb2
from raft.check import check_core
from raft.types import Role
from tests.node.builders import DEADLINE_MS, Write, new_id
from tests.node.nodes import NODES, PARTITION, CatalogRequest, Node, Request, outcomes

__all__ = ["NODES", "PARTITION", "CatalogRequest", "Cluster", "Node", "Request", "outcomes"]

EVERY_KEY = (b"", b"\xff" * 64)
TICKS_MAX = 400
"""Longest wait of a story: 20 s of its time."""


class Cluster:
    """Three nodes, one in each AZ, and the network between them."""

    def __init__(self, directory: Path, *, seed: int = 1) -> None:
        self.rng = Random(seed)
        self.now = 100.0
        self.links: dict[tuple[int, int], deque[bytes]] = {
            pair: deque() for pair in permutations(NODES, 2)
        }
        self.cut_links: set[tuple[int, int]] = set()
        self.held_links: set[tuple[int, int]] = set()
        self.snapshots_held = False
        self.snapshot_count = 0
        self.catalog_commands: deque[tuple[int, CatalogCommand]] = deque()
        self.nodes = {node_id: Node(self, node_id, directory / str(node_id)) for node_id in NODES}

    def close(self) -> None:
        for node in self.up():
            node.crash()

    def add_node(self, node_id: int, directory: Path) -> Node:
        """Start a node that was not there at the beginning; the catalog must have it too."""
        for other in self.nodes:
            self.links[node_id, other] = deque()
            self.links[other, node_id] = deque()
        node = self.nodes[node_id] = Node(self, node_id, directory, founders=())
        return node

    def up(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.is_up]

    def bootstrap(self, *, partitions: int, tables: int = 1) -> None:
        """Make the catalog, its tables, and wait for the leaders."""
        self.tick_until(lambda: self.serving(CATALOG_GROUP))
        assert self.change(Bootstrap(new_id(), first_catalog(partitions))).outcome is Outcome.OK
        for number in range(1, tables + 1):
            self.create_table(f"table-{number}")
        self.tick_until(lambda: all(map(self.serving, range(1, partitions + 1))))
        for group in range(1, partitions + 1):
            assert self.leader(group).id == NODES[(group - 1) % 3]

    # What happens

    def run(self) -> None:
        """Let everything happen that takes no time and is not held back."""
        busy = True
        while busy:
            busy = False
            for node in self.up():
                while node.is_up and node.step():
                    busy = True
            for link in self.links:
                while self.deliver(link):
                    busy = True
            while self.catalog_commands:
                self.deliver_command(*self.catalog_commands.popleft())
                busy = True
        for node in self.up():
            for replica in node.host.replicas.values():
                check_core(replica.core)

    def tick(self, count: int = 1, *, seconds: float = 0.0) -> None:
        """Let ticks pass, and `run` after each."""
        for _ in range(round(seconds / TICK_SECONDS) or count):
            self.now += TICK_SECONDS
            for node in self.up():
                node.host.tick(1)
                self.watch_catalog(node)
            self.run()

    def tick_until(self, reached: Callable[[], bool]) -> None:
        self.run()
        for _ in range(TICKS_MAX):
            if reached():
                return
            self.tick()
        raise AssertionError("it does not happen")

    def checkpoint(self) -> None:
        """Let every node make a checkpoint, and cut its log if that is due."""
        for node in self.up():
            node.host.checkpointer.hurry()
        self.tick()

    # Network

    def send(self, outbox: PeerBatch) -> None:
        sender, to = outbox.sender, outbox.to
        if self.connected(sender, to):
            self.links[sender, to].append(encode_raft_batch(outbox).SerializeToString())

    def connected(self, sender: int, to: int) -> bool:
        return (sender, to) not in self.cut_links and self.nodes[to].is_up

    def deliver(self, link: tuple[int, int], *, held: bool = False) -> bool:
        """Deliver the oldest batch of a link, if it is not held or `held`; whether it did."""
        waiting = self.links[link]
        if not waiting or (link in self.held_links and not held):
            return False
        sender, to = link
        raw = waiting.popleft()
        if self.connected(sender, to):
            batch = node_pb2.RaftBatch.FromString(raw)
            self.nodes[to].host.receive(decode_raft_batch(batch, sender=sender, receiver=to))
        return True

    def deliver_command(self, sender: int, command: CatalogCommand) -> None:
        """Carry a node's own catalog command to the leader it can reach; else it is lost."""
        for node in self.up():
            replica = node.host.replicas.get(CATALOG_GROUP)
            reached = node.id == sender or self.connected(sender, node.id)
            if reached and replica is not None and replica.core.role is Role.LEADER:
                node.host.change_catalog(encode_catalog_command(command), lambda *_: None)

    def watch_catalog(self, node: Node) -> None:
        """Let a node without a replica of the catalog follow it at the others."""
        if CATALOG_GROUP not in node.host.replicas:
            for other in self.up():
                if self.connected(other.id, node.id):
                    node.host.adopt_catalog(other.host.catalog)

    def cut(self, *node_ids: int, broken: bool = True) -> None:
        """Cut these nodes off from the others; what is on its way is lost."""
        for pair in permutations(self.nodes, 2):
            if (pair[0] in node_ids) != (pair[1] in node_ids):
                self.cut_links.add(pair)
                self.links[pair].clear()
                if broken and self.nodes[pair[1]].is_up:
                    self.nodes[pair[1]].host.peer_broken(pair[0])

    def hold(self, *links: tuple[int, int]) -> None:
        self.held_links.update(links)

    def release(self, *links: tuple[int, int]) -> None:
        """Deliver on these links again; on all of them if none is given."""
        self.held_links.difference_update(links or set(self.held_links))
        self.run()

    def heal(self) -> None:
        """Undo cuts and holds, and start the nodes that are down."""
        self.cut_links.clear()
        self.held_links.clear()
        self.snapshots_held = False
        for node in self.nodes.values():
            node.log_held = node.items_held = False
            node.disk_full = node.items_full = False
            if not node.is_up:
                node.start()
        self.run()

    def crash(self, *node_ids: int) -> None:
        """Kill nodes; their peers see the streams break."""
        for node_id in node_ids:
            self.nodes[node_id].crash()
            for pair, waiting in self.links.items():
                if node_id in pair:
                    waiting.clear()
        for node in self.up():
            for node_id in node_ids:
                node.host.peer_broken(node_id)

    def restart(self, *node_ids: int) -> None:
        for node_id in node_ids:
            self.nodes[node_id].start()

    # Leaders

    def leader(self, group: int = PARTITION) -> Node:
        """The node that leads a group in its newest term."""
        leaders = [
            node
            for node in self.up()
            if group in node.host.replicas and node.host.replicas[group].core.role is Role.LEADER
        ]
        return max(leaders, key=lambda node: node.host.replicas[group].core.term)

    def serving(self, group: int = PARTITION) -> bool:
        return any(
            group in node.host.replicas and node.host.replicas[group].core.may_evaluate
            for node in self.up()
        )

    def wait_for_other_leader(self, than: int, group: int = PARTITION) -> Node:
        """Wait until a node other than `than` leads and may evaluate."""

        def found() -> bool:
            return any(
                node.id != than
                and group in node.host.replicas
                and node.host.replicas[group].core.may_evaluate
                for node in self.up()
            )

        self.tick_until(found)
        return self.leader(group)

    # Requests

    def write(self, *writes: Write, at: int = 0, epoch: int = 1) -> list[Request]:
        """Send writes to a node (0: the leader) in one batch."""
        node = self.nodes[at] if at else self.leader()
        batch = node.router.batch(epoch=epoch)
        requests = []
        for write in writes:
            slot, request = node.router.new_request()
            requests.append(request)
            batch.writes.slots.append(slot)
            batch.writes.partitions.append(write.partition or self.partition_of(write.key))
            batch.writes.deadlines_ms.append(write.deadline_ms)
            batch.writes.request_ids.append(write.request_id)
            batch.writes.keys.append(write.key)
            batch.writes.images.append(write.image)
            batch.writes.programs.append(write.program)
        node.router.send(batch)
        return requests

    def do(self, *writes: Write, at: int = 0) -> list[Request]:
        """Send writes and let them happen."""
        requests = self.write(*writes, at=at)
        self.run()
        return requests

    def done(self, write: Write, *, at: int = 0) -> Request:
        """Send one write, let it happen and expect success."""
        (request,) = self.do(write, at=at)
        assert request.outcome is Outcome.OK
        return request

    def get(
        self, *keys: bytes, at: int = 0, consistent: bool = True, partition: int = 0
    ) -> list[Request]:
        node = self.nodes[at] if at else self.leader()
        batch = node.router.batch(epoch=1)
        requests = []
        for key in keys:
            slot, request = node.router.new_request()
            requests.append(request)
            batch.gets.slots.append(slot)
            batch.gets.partitions.append(partition or self.partition_of(key))
            batch.gets.deadlines_ms.append(DEADLINE_MS)
            batch.gets.keys.append(key)
            batch.gets.consistent.append(consistent)
        node.router.send(batch)
        return requests

    def read(self, key: bytes, *, at: int = 0, consistent: bool = True) -> bytes:
        """Read one image and expect success."""
        (request,) = self.get(key, at=at, consistent=consistent)
        self.run()
        assert request.outcome is Outcome.OK
        return request.payload

    def scan(
        self,
        low: bytes = EVERY_KEY[0],
        high: bytes = EVERY_KEY[1],
        *,
        backwards: bool = False,
        items_max: int = 0,
        size_bytes_max: int = 1 << 20,
        at: int = 0,
        consistent: bool = True,
        partition: int = PARTITION,
    ) -> Request:
        """Read one page and let it happen."""
        node = self.nodes[at] if at else self.leader(partition)
        batch = node.router.batch(epoch=1)
        slot, request = node.router.new_request()
        batch.ranges.add(
            slot=slot,
            partition=partition,
            deadline_ms=DEADLINE_MS,
            low=low,
            high=high,
            backwards=backwards,
            items_max=items_max,
            size_bytes_max=size_bytes_max,
            consistent=consistent,
        )
        node.router.send(batch)
        self.run()
        return request

    def partition_of(self, key: bytes) -> int:
        catalog = max((node.host.catalog for node in self.up()), key=lambda known: known.epoch)
        return Ring(catalog.partitions).partition_of(int.from_bytes(key[4:12], "big")).id

    # Catalog

    def command(self, command: CatalogCommand, *, at: int = 0) -> CatalogRequest:
        """Send a catalog command to a node (0: the leader)."""
        node = self.nodes[at] if at else self.leader(CATALOG_GROUP)
        request = CatalogRequest()
        assert node.host.change_catalog(encode_catalog_command(command), request.answer)
        return request

    def change(self, command: CatalogCommand, *, at: int = 0) -> CatalogRequest:
        """Send a catalog command, let it happen, and let everybody hear of it."""
        request = self.command(command, at=at)
        self.run()
        self.tick()
        return request

    def create_table(self, name: str) -> int:
        """Create a table and return its id."""
        request = self.change(CreateTable(new_id(), name, b"{}"))
        assert (request.outcome, request.result.refusal) == (Outcome.OK, "")
        return self.leader(CATALOG_GROUP).host.catalog.table_by_name[name].id

    def delete_table(self, name: str) -> None:
        table = self.leader(CATALOG_GROUP).host.catalog.table_by_name[name]
        request = self.change(DeleteTable(new_id(), name, table.id))
        assert (request.outcome, request.result.refusal) == (Outcome.OK, "")

    # What the replicas hold

    def items_at(self, node_id: int, group: int = PARTITION) -> dict[bytes, bytes]:
        """Everything a replica has applied, by key."""
        replica = self.nodes[node_id].replica(group)
        return {
            key: image
            for key, image in replica.machine.scan(*EVERY_KEY, backwards=False)
            if replica.owns(key)
        }

    def assert_replicas_equal(self, group: int = PARTITION) -> None:
        """All replicas have applied the same, and know the same sizes."""
        first, *others = [self.nodes[node_id].replica(group) for node_id in NODES]
        expected = self.items_at(NODES[0], group)
        for node_id, replica in zip(NODES[1:], others, strict=True):
            assert replica.core.applied == first.core.applied
            assert replica.machine.table_sizes == first.machine.table_sizes
            assert self.items_at(node_id, group) == expected

    def catalog_replica(self, node_id: int) -> CatalogReplica:
        replica = self.nodes[node_id].host.replicas[CATALOG_GROUP]
        assert isinstance(replica, CatalogReplica)
        return replica


def first_catalog(partitions: int) -> Catalog:
    """A catalog of three nodes and so many partitions, whose preferred leaders rotate."""
    nodes = tuple(
        NodeRecord(id=node_id, name=f"n{node_id}", az=f"az-{node_id}", address=f"n{node_id}")
        for node_id in NODES
    )
    return Catalog(
        cluster_id="test",
        nodes=nodes,
        partitions=tuple(
            PartitionRecord(
                id=place + 1,
                low_token=low_token,
                replicas=NODES[place % 3 :] + NODES[: place % 3],
            )
            for place, low_token in enumerate(equal_arcs(partitions))
        ),
    )
