"""Sending over a real connection: breaks, slow receivers, lost leaderships, views that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import grpc
import grpc.aio
import pytest

from node import host
from node.peer_batch import PeerBatch
from node.snapshots import pace, sending
from node.snapshots.pace import BYTES_PER_SECOND_MIN, GRACE_SECONDS, SILENCE_SECONDS, Pace
from node.snapshots.receiving import SnapshotRefused
from node.snapshots.sending import SENDING_MAX, SnapshotSender
from node.snapshots.views import KEPT_MAX, KEPT_SECONDS, OpenView, Views
from node.storage import items_snapshot
from quorate.cluster.channels import Dialer
from quorate.v1 import node_pb2, node_pb2_grpc
from raft.types import Message, MessageType, RaftConfig
from tests.node.builders import put
from tests.node.harness import PARTITION, Cluster, Node

FOLLOWER = 3
METADATA = (("x-test", "1"),)

Context = grpc.aio.ServicerContext[object, object]


class Receiving(node_pb2_grpc.NodeServiceServicer):
    """A node's service; may break off after so many parts, or read none."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.breaks_after = 1 << 30
        self.silent = False
        self.offers: list[node_pb2.SnapshotOffer] = []
        self.frame_counts: list[int] = []
        self.on_frame: Callable[[], object] = lambda: None

    async def TransferSnapshot(  # noqa: N802
        self, request_iterator: AsyncIterator[node_pb2.SnapshotPart], context: Context
    ) -> None:
        if self.silent:
            await asyncio.Event().wait()
        assert METADATA[0] in [tuple(pair) for pair in context.invocation_metadata() or ()]
        self.frame_counts.append(0)

        async def parts() -> AsyncIterator[node_pb2.SnapshotPart]:
            async for part in request_iterator:
                if part.WhichOneof("part") == "offer":
                    self.offers.append(part.offer)
                elif self.frame_counts[-1] == self.breaks_after:
                    return
                else:
                    self.frame_counts[-1] += 1
                    self.on_frame()
                yield part

        try:
            await self.node.receiver.receive(1, parts(), context.write)
        except SnapshotRefused as refusal:
            await context.abort(refusal.code, str(refusal))


@asynccontextmanager
async def serving(service: Receiving) -> AsyncIterator[str]:
    server = grpc.aio.server()
    node_pb2_grpc.add_NodeServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@pytest.fixture(autouse=True)
def _small_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_snapshot, "PIECE_BYTES", 2_000)
    monkeypatch.setattr(sending, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(host, "RaftConfig", partial(RaftConfig, cache_bytes_max=1_000))


@pytest.fixture
def leader(cluster: Cluster) -> Node:
    """A leader that has 40 items in its tree, of which node 3 knows nothing."""
    cluster.cut(FOLLOWER)
    cluster.do(*(put(f"k{n}", text="x" * 300) for n in range(40)))
    cluster.tick()
    cluster.checkpoint()
    return cluster.leader()


@pytest.fixture
def service(cluster: Cluster) -> Receiving:
    return Receiving(cluster.nodes[FOLLOWER])


@pytest.fixture
def sender(leader: Node) -> Iterator[SnapshotSender]:
    sender = SnapshotSender(lambda _: METADATA, Dialer(), leader.host, leader.items, call)
    yield sender
    sender.close()


def call(act: object, *arguments: object, **named: object) -> object:
    assert callable(act)
    return act(*arguments, **named)


def message_of(leader: Node) -> Message:
    return Message(MessageType.SNAPSHOT, leader.id, FOLLOWER, leader.replica().core.term)


def send(sender: SnapshotSender, leader: Node, service: Receiving, *, times: int = 1) -> None:
    async def story() -> None:
        async with serving(service) as address:
            for _ in range(times):
                await sender.send(PARTITION, message_of(leader), address, "")

    asyncio.run(story())


def test_snapshot_is_sent_and_installed(
    cluster: Cluster, leader: Node, service: Receiving, sender: SnapshotSender
) -> None:
    send(sender, leader, service)

    assert PARTITION in service.node.host._offers
    cluster.heal()
    cluster.tick(20)
    cluster.assert_replicas_equal()


def test_transfer_that_broke_goes_on_from_the_same_view(
    cluster: Cluster, leader: Node, service: Receiving, sender: SnapshotSender
) -> None:
    """S65. Writes go on meanwhile; what arrives is of the moment the view was opened."""
    service.breaks_after = 4
    send(sender, leader, service)
    cluster.do(*(put(f"k{n}", text="later") for n in range(40)))
    cluster.tick()
    cluster.checkpoint()
    service.breaks_after = 1 << 30

    send(sender, leader, service)

    first, second = service.offers
    assert first.view == second.view
    assert service.frame_counts[1] < 10
    offered = service.node.host._offers[PARTITION]
    assert offered.record.applied_index == first.meta.index < leader.replica().durable_applied
    cluster.heal()
    cluster.tick(20)
    cluster.assert_replicas_equal()


def test_view_that_the_log_has_left_behind_is_not_gone_on_with(
    cluster: Cluster, leader: Node, service: Receiving, sender: SnapshotSender
) -> None:
    """Nothing could follow on it: the next one would be needed at once."""
    service.breaks_after = 4
    send(sender, leader, service)
    cluster.do(*(put(f"k{n}", text="later") for n in range(40)))
    cluster.tick()
    cluster.checkpoint()
    leader.log_store.cut(PARTITION, leader.replica().durable_applied)
    service.breaks_after = 1 << 30

    send(sender, leader, service)

    first, second = service.offers
    assert first.view != second.view
    assert PARTITION in service.node.host._offers


def test_receiver_that_reads_nothing_is_given_up_and_delays_nobody(
    leader: Node, service: Receiving, sender: SnapshotSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S35, S66. The loop goes on; the core hears that it failed."""
    monkeypatch.setattr(pace, "SILENCE_SECONDS", 0.3)
    service.silent = True
    turns = 0

    async def story() -> None:
        nonlocal turns
        async with serving(service) as address, asyncio.TaskGroup() as tasks:
            transfer = tasks.create_task(sender.send(PARTITION, message_of(leader), address, ""))
            while not transfer.done():
                turns += 1
                await asyncio.sleep(0.001)

    asyncio.run(story())

    assert turns > 50
    assert not sender.is_sending(PARTITION, FOLLOWER)


def test_leader_that_leads_no_more_stops_sending(
    leader: Node, service: Receiving, sender: SnapshotSender
) -> None:
    vote = Message(
        MessageType.VOTE,
        2,
        leader.id,
        leader.replica().core.term + 1,
        index=99,
        log_term=99,
        hint=1,
    )
    service.on_frame = lambda: leader.host.receive(PeerBatch(2, leader.id, [(PARTITION, vote)]))

    send(sender, leader, service)

    assert service.frame_counts[0] < 12
    assert PARTITION not in service.node.host._offers
    assert not sender._views._kept


def test_refused_snapshot_leaves_no_view_open(
    cluster: Cluster, leader: Node, service: Receiving, sender: SnapshotSender
) -> None:
    """S59. The follower has caught up by its log meanwhile."""
    cluster.heal()
    cluster.tick(10)

    send(sender, leader, service)

    assert service.frame_counts == [0]
    assert not sender._views._kept


def test_nobody_is_sent_two_at_once_and_sending_is_bounded(
    leader: Node, service: Receiving, sender: SnapshotSender
) -> None:
    service.silent = True

    async def story() -> None:
        async with serving(service) as address:
            one = asyncio.get_running_loop()
            tasks = [
                one.create_task(sender.send(PARTITION, message_to(leader, to), address, ""))
                for to in (2, FOLLOWER)
            ]
            await asyncio.sleep(0)
            assert sender.is_sending(PARTITION, 2)
            assert not sender.has_room
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert sender.has_room
            assert not sender.is_sending(PARTITION, 2)

    assert SENDING_MAX == 2
    asyncio.run(story())


def message_to(leader: Node, to: int) -> Message:
    return Message(MessageType.SNAPSHOT, leader.id, to, leader.replica().core.term)


def test_log_is_held_while_a_snapshot_is_on_its_way(
    leader: Node, service: Receiving, sender: SnapshotSender
) -> None:
    """Else a large one would be too old when it arrives, and so would the next one."""
    checkpointer = leader.host.checkpointer
    index = leader.replica().durable_applied
    held = []
    service.on_frame = lambda: held.append(checkpointer._held(PARTITION, index + 1000))

    send(sender, leader, service)

    assert set(held) == {index}
    assert checkpointer._held(PARTITION, index + 1000) == index + 1000
    assert checkpointer._held(PARTITION, index - 1) == index - 1


def test_few_views_are_kept_and_not_for_long(leader: Node) -> None:
    closed: list[tuple[int, int]] = []
    kept = Views(leader.items, closed.append)
    replica = leader.replica()
    opened = [kept.take((PARTITION, to), replica) for to in range(KEPT_MAX + 1)]
    for to, each in enumerate(opened):
        each.sent(now=float(to))
        kept.keep((PARTITION, to), each, now=float(to))

    assert is_closed(opened[0]), "the oldest went"
    assert kept.take((PARTITION, 1), replica) is opened[1]
    kept.keep((PARTITION, 1), opened[1], now=30.0)
    kept.close_older(KEPT_SECONDS + 1.5)
    assert [is_closed(each) for each in opened] == [True, True, False]
    kept.close()
    assert closed == [(PARTITION, to) for to in range(KEPT_MAX + 1)], "their logs are free"
    assert KEPT_MAX + SENDING_MAX <= 8, "each holds a reader's slot, and pages"


def test_view_of_which_nothing_was_sent_is_not_kept(leader: Node) -> None:
    """The follower is down: the pages must not be held until it is back."""
    views = Views(leader.items, lambda _: None)
    for now in range(3):
        opened = views.take((PARTITION, FOLLOWER), leader.replica())
        views.keep((PARTITION, FOLLOWER), opened, now=float(now))
        assert is_closed(opened)


def is_closed(opened: OpenView) -> bool:
    return opened.view._transaction is None


def test_transfer_may_take_long_but_not_stand_still() -> None:
    """A large partition is not given up for being large."""
    transfer = Pace(100.0)
    assert transfer.passed(0, 100.0) == 100.0 + SILENCE_SECONDS
    late = 100.0 + GRACE_SECONDS - 1
    assert transfer.passed(0, late) == 100.0 + GRACE_SECONDS
    assert transfer.passed(600 * BYTES_PER_SECOND_MIN, late) == late + SILENCE_SECONDS
