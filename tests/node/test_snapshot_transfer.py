"""The transfer of a snapshot: what a receiver takes, what it refuses, what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest

from node.snapshots import receiving
from node.snapshots.receiving import (
    ANNOUNCED_BYTES_MAX,
    PARTIAL_SECONDS,
    RECEIVING_MAX,
    SnapshotReceiver,
    SnapshotRefused,
)
from node.storage import items_snapshot, snapshot_file
from node.storage.snapshot_file import read_pairs
from quorate.v1 import node_pb2
from raft.types import Message, MessageType
from tests.node.builders import put
from tests.node.harness import PARTITION, Cluster, Node
from tests.node.nodes import ignore, snapshot_parts, stream

FOLLOWER = 3
VIEW = b"v" * 16
OTHER_VIEW = b"w" * 16

Parts = list[node_pb2.SnapshotPart]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items_snapshot, "PIECE_BYTES", 2_000)


@pytest.fixture
def follower(cluster: Cluster) -> Node:
    """A follower that has nothing of the 40 items that the leader has in its tree."""
    cluster.cut(FOLLOWER)
    cluster.do(*(put(f"k{n}", text="x" * 300) for n in range(40)))
    cluster.tick()
    cluster.checkpoint()
    return cluster.nodes[FOLLOWER]


@pytest.fixture
def parts(cluster: Cluster, follower: Node) -> Parts:
    return parts_of(cluster.leader())


def parts_of(node: Node, *, view: bytes = VIEW, sequence: int = 0) -> Parts:
    term = node.replica().core.term
    message = Message(MessageType.SNAPSHOT, node.id, FOLLOWER, term, sequence=sequence)
    return snapshot_parts(node, message, view=view)


def receive(node: Node, parts: Sequence[node_pb2.SnapshotPart]) -> node_pb2.SnapshotPosition:
    """Let a node receive; return where it stood at first."""
    positions: list[node_pb2.SnapshotPosition] = []

    async def answer(position: node_pb2.SnapshotPosition) -> None:
        positions.append(position)

    try:
        asyncio.run(node.receiver.receive(1, stream(parts), answer))
    finally:
        assert len(positions) <= 1
    return positions[0]


def refusal(node: Node, parts: Sequence[node_pb2.SnapshotPart]) -> grpc.StatusCode:
    with pytest.raises(SnapshotRefused) as refused:
        asyncio.run(node.receiver.receive(1, stream(parts), ignore))
    return refused.value.code


def files(node: Node) -> list[Path]:
    return sorted((node._directory / "snapshots").glob("*"))


def test_snapshot_arrives_as_it_was_sent(cluster: Cluster, follower: Node, parts: Parts) -> None:
    receive(follower, parts)

    offered = follower.host._offers[PARTITION]
    (path,) = files(follower)
    pairs = [pair for part in read_pairs(path, offered.record.checksum) for pair in part]
    assert len(parts) > 6
    assert dict(pairs) == cluster.items_at(1)
    assert offered.record.applied_index == cluster.leader().replica().durable_applied


def test_answer_to_a_snapshot_names_the_membership_it_was_sent_to(
    cluster: Cluster, follower: Node
) -> None:
    """A leader believes a member that has just joined only if it does; see Progress.joined.

    Without it the same snapshot was sent again for ever: found by seed 492 of the simulation.
    """
    receive(follower, parts_of(cluster.leader(), sequence=7))

    assert follower.replica().core.joined == 7


def test_transfer_that_breaks_anywhere_goes_on_where_it_was(
    cluster: Cluster, follower: Node, parts: Parts
) -> None:
    """S65. A call that ends leaves the file; the next one with the same view goes on with it."""
    refusal(follower, parts[:3])
    for end in range(4, len(parts)):
        assert refusal(follower, [parts[0], parts[end - 1]]) is grpc.StatusCode.ABORTED
    assert len(files(follower)) == 1

    there = receive(follower, [parts[0], parts[-1]])

    assert there.frame_count == len(parts) - 2
    assert PARTITION in follower.host._offers


def test_receiver_that_was_killed_goes_on_where_it_was(
    cluster: Cluster, follower: Node, parts: Parts
) -> None:
    assert refusal(follower, parts[:5]) is grpc.StatusCode.ABORTED
    cluster.crash(FOLLOWER)
    cluster.restart(FOLLOWER)

    assert receive(follower, [parts[0], *parts[5:]]).frame_count == 4


def test_part_of_another_view_is_dropped(cluster: Cluster, follower: Node, parts: Parts) -> None:
    """The sender was restarted, or another one leads: its view is of another moment."""
    refusal(follower, parts[:5])
    again = parts_of(cluster.leader(), view=OTHER_VIEW)

    assert receive(follower, again).frame_count == 0

    (path,) = files(follower)
    assert OTHER_VIEW.hex() in path.name


def test_whole_file_whose_answer_was_lost_is_taken_at_once(
    cluster: Cluster, follower: Node, parts: Parts
) -> None:
    receive(follower, parts)
    cluster.crash(FOLLOWER)  # the offer was in memory only
    cluster.restart(FOLLOWER)

    assert receive(follower, parts[:1]).frame_count == len(parts) - 1
    assert PARTITION in follower.host._offers


@pytest.mark.parametrize("what", ["order", "double", "flip", "second offer", "no offer", "view"])
def test_what_was_not_sent_so_is_refused_and_deleted(
    follower: Node, parts: Parts, what: str
) -> None:
    if what == "order":
        parts[4], parts[5] = parts[5], parts[4]
    elif what == "double":
        parts.insert(4, parts[4])
    elif what == "flip":
        frame = bytearray(parts[4].frame)
        frame[len(frame) // 2] ^= 1
        parts[4].frame = bytes(frame)
    elif what == "second offer":
        parts.insert(4, parts[0])
    elif what == "no offer":
        del parts[0]
    else:
        parts[0].offer.view = b"../../short"

    assert refusal(follower, parts) is grpc.StatusCode.DATA_LOSS
    assert files(follower) == []
    assert not follower.host._offers


def test_as_much_as_no_disk_holds_is_refused_before_it_is_sent(
    follower: Node, parts: Parts
) -> None:
    for announced in (1 << 40, ANNOUNCED_BYTES_MAX + 1):
        parts[0].offer.size_bytes = announced
        assert refusal(follower, parts[:1]) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert files(follower) == []


def test_more_than_there_is_room_for_is_refused(
    follower: Node, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1. The file and the same items in the tree."""
    size_bytes = parts[0].offer.size_bytes
    monkeypatch.setattr(receiving, "room_bytes", lambda _: 2 * size_bytes - 1)

    assert refusal(follower, parts) is grpc.StatusCode.RESOURCE_EXHAUSTED

    monkeypatch.setattr(receiving, "room_bytes", lambda _: 2 * size_bytes)
    receive(follower, parts)


def test_disk_that_fills_up_on_the_way_ends_the_transfer_and_not_the_node(
    cluster: Cluster, follower: Node, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(snapshot_file, "SYNC_BYTES", 1)
        full.setattr(snapshot_file, "room_bytes", lambda _: -1)
        assert refusal(follower, parts) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert files(follower) == []

    receive(follower, parts)
    cluster.heal()
    cluster.tick(20)
    cluster.assert_replicas_equal()


def test_much_more_than_was_announced_is_refused(
    follower: Node, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "LONGER_BYTES", 4_000)
    parts[0].offer.size_bytes = 1

    assert refusal(follower, parts) is grpc.StatusCode.DATA_LOSS
    assert files(follower) == []


def test_snapshot_that_nobody_wants_is_refused_before_it_is_sent(
    cluster: Cluster, follower: Node, parts: Parts
) -> None:
    """Of a group that is not here; older than what is here; of a leader that was."""
    parts[0].offer.group = 77
    assert refusal(follower, parts) is grpc.StatusCode.FAILED_PRECONDITION
    parts[0].offer.group = PARTITION
    parts[0].offer.sender_term = 0
    assert refusal(follower, parts) is grpc.StatusCode.FAILED_PRECONDITION

    cluster.heal()
    cluster.tick(10)
    late = parts_of(cluster.leader())
    assert refusal(follower, late) is grpc.StatusCode.FAILED_PRECONDITION
    assert files(follower) == []


async def held(
    first: node_pb2.SnapshotPart, until: asyncio.Event
) -> AsyncIterator[node_pb2.SnapshotPart]:
    yield first
    await until.wait()


def test_two_of_one_group_at_once_are_one_too_many(follower: Node, parts: Parts) -> None:
    async def story() -> None:
        until, began = asyncio.Event(), asyncio.Event()

        async def begin(position: node_pb2.SnapshotPosition) -> None:
            began.set()

        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(expect_refusal(follower.receiver, parts[0], until, begin))
            await began.wait()
            with pytest.raises(SnapshotRefused, match="busy"):
                await follower.receiver.receive(1, stream(parts), ignore)
            until.set()
        assert first.result() is grpc.StatusCode.ABORTED

    asyncio.run(story())


async def expect_refusal(
    receiver: SnapshotReceiver,
    first: node_pb2.SnapshotPart,
    until: asyncio.Event,
    answer: receiving.Answer,
) -> grpc.StatusCode:
    with pytest.raises(SnapshotRefused) as refused:
        await receiver.receive(1, held(first, until), answer)
    return refused.value.code


def test_receiving_is_bounded_and_a_slot_comes_back(follower: Node, parts: Parts) -> None:
    """S66. Full is an answer, at the door."""
    receiver = follower.receiver
    for group in range(100, 100 + RECEIVING_MAX):
        receiver._receiving[group] = receiving._Offer(
            Message(MessageType.SNAPSHOT, 1, 3, 1), group, VIEW, 0
        )

    assert refusal(follower, parts) is grpc.StatusCode.ABORTED

    del receiver._receiving[100]
    receive(follower, parts)
    assert PARTITION not in receiver._receiving


def test_sender_that_falls_silent_is_given_up(
    follower: Node, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has sent stays for a while."""
    monkeypatch.setattr("node.snapshots.pace.SILENCE_SECONDS", 0.05)

    async def story() -> grpc.StatusCode:
        return await expect_refusal(follower.receiver, parts[0], asyncio.Event(), ignore)

    assert asyncio.run(story()) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(files(follower)) == 1
    assert not follower.receiver._receiving


def test_call_that_is_cancelled_leaves_the_slot_free(follower: Node, parts: Parts) -> None:
    async def story() -> None:
        began = asyncio.Event()

        async def begin(position: node_pb2.SnapshotPosition) -> None:
            began.set()

        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(
                follower.receiver.receive(1, held(parts[0], asyncio.Event()), begin)
            )
            await began.wait()
            call.cancel()

    asyncio.run(story())
    receive(follower, parts)


def test_part_that_nobody_goes_on_with_is_deleted_after_a_while(
    cluster: Cluster, follower: Node, parts: Parts
) -> None:
    refusal(follower, parts[:5])
    cluster.crash(FOLLOWER)
    cluster.restart(FOLLOWER)
    asyncio.run(follower.receiver.sweep(100.0))
    asyncio.run(follower.receiver.sweep(100.0 + PARTIAL_SECONDS))
    assert len(files(follower)) == 1

    asyncio.run(follower.receiver.sweep(101.0 + PARTIAL_SECONDS))

    assert files(follower) == []


def test_file_that_waits_for_its_install_is_not_swept(
    cluster: Cluster, follower: Node, parts: Parts
) -> None:
    receive(follower, parts)

    for now in (0.0, 10 * PARTIAL_SECONDS):
        asyncio.run(follower.receiver.sweep(now))

    assert len(files(follower)) == 1
    cluster.heal()
    cluster.tick(20)
    cluster.assert_replicas_equal()
    assert files(follower) == []


def test_empty_replica_has_a_snapshot_too(cluster: Cluster) -> None:
    cluster.cut(FOLLOWER)
    cluster.done(put("k", n=1))
    cluster.tick()
    cluster.checkpoint()

    receive(cluster.nodes[FOLLOWER], parts_of(cluster.leader()))

    cluster.heal()
    cluster.tick(20)
    cluster.assert_replicas_equal()
