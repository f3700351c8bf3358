"""The transfer of a snapshot: chunks in, a verified file out, or nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from node import snapshots
from node.acquaintances import Acquaintances
from node.server import NodeServicer
from node.snapshots import BrokenSnapshot, ReceivedSnapshot, receive_snapshot
from node.storage.identity import Identity
from quorate.v1 import node_pb2
from raft.types import Message, MessageType
from tests.node.builders import key, put
from tests.node.harness import PARTITION, Cluster, Node
from tests.node.nodes import run_through


def chunks_of(node: Node, *, to: int = 3) -> list[node_pb2.SnapshotChunk]:
    term = node.replica().core.term
    message = Message(MessageType.SNAPSHOT, node.id, to, term)
    return list(run_through(node.sender._chunks(PARTITION, message)))


async def stream(chunks: Sequence[node_pb2.SnapshotChunk]) -> AsyncIterator[node_pb2.SnapshotChunk]:
    for chunk in chunks:
        yield chunk


def receive(chunks: Sequence[node_pb2.SnapshotChunk], directory: Path) -> ReceivedSnapshot:
    return asyncio.run(receive_snapshot(stream(chunks), directory, receiver=3))


@pytest.fixture
def chunks(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> list[node_pb2.SnapshotChunk]:
    """A snapshot of 40 items in several chunks."""
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 2_000)
    cluster.do(*(put(f"k{n}", text="x" * 300) for n in range(40)))
    cluster.tick()
    cluster.checkpoint()
    return chunks_of(cluster.leader())


def test_snapshot_arrives_as_it_was_sent(
    cluster: Cluster, chunks: list[node_pb2.SnapshotChunk], tmp_path: Path
) -> None:
    received = receive(chunks, tmp_path)

    assert len(chunks) > 3
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert dict(received._pairs()) == cluster.items_at(1)
    assert received.group == PARTITION
    assert received.message is not None
    assert received.message.snapshot is not None
    assert received.message.snapshot.index == cluster.leader().replica().durable_applied
    received.discard()


def test_empty_replica_has_a_snapshot_too(cluster: Cluster, tmp_path: Path) -> None:
    cluster.tick()
    cluster.checkpoint()

    received = receive(chunks_of(cluster.leader()), tmp_path)

    assert list(received._pairs()) == []
    received.discard()


@pytest.mark.parametrize("damage", ["image", "key", "state", "checksum"])
def test_damaged_chunk_is_refused(
    chunks: list[node_pb2.SnapshotChunk], tmp_path: Path, damage: str
) -> None:
    """Rot must not spread: every chunk is checked, with all that came before."""
    if damage == "image":
        chunks[2].images[0] = chunks[2].images[0][:-1] + b"?"
    elif damage == "key":
        chunks[1].keys[0] = key("another")
    elif damage == "state":
        chunks[0].state += b"?"
    else:
        chunks[1].checksum ^= 1

    with pytest.raises(BrokenSnapshot, match="checksum"):
        receive(chunks, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_missing_chunk_is_noticed(chunks: list[node_pb2.SnapshotChunk], tmp_path: Path) -> None:
    """Checksums run on from chunk to chunk."""
    with pytest.raises(BrokenSnapshot):
        receive([*chunks[:1], *chunks[2:]], tmp_path)


def test_stream_that_ends_early_leaves_no_file(
    chunks: list[node_pb2.SnapshotChunk], tmp_path: Path
) -> None:
    with pytest.raises(BrokenSnapshot, match="ended before"):
        receive(chunks[:-1], tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_chunk_after_the_last_one_is_refused(
    chunks: list[node_pb2.SnapshotChunk], tmp_path: Path
) -> None:
    received = receive(chunks, tmp_path)

    with pytest.raises(BrokenSnapshot, match="after the last"):
        received.add(chunks[-1], 3)
    received.discard()


def test_what_a_killed_process_had_received_is_deleted_at_the_next_start(
    chunks: list[node_pb2.SnapshotChunk], tmp_path: Path
) -> None:
    """Nobody would ever use it, and each may be as large as a partition."""
    half = ReceivedSnapshot(tmp_path / "snapshots")
    half.add(chunks[0], 3)
    half._file.close()
    identity = Identity("cluster", 3, "n3", "az-3", "incarnation")

    NodeServicer(Acquaintances(identity, lambda _: None), tmp_path)

    assert list((tmp_path / "snapshots").iterdir()) == []


def test_view_is_consistent_while_the_tree_changes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A snapshot is of one moment, however long it takes to send."""
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 500)
    cluster.do(*(put(f"k{n}", text="old" * 60) for n in range(20)))
    cluster.tick()
    cluster.checkpoint()
    before = cluster.items_at(1)
    node = cluster.leader()
    message = Message(MessageType.SNAPSHOT, 1, 3, node.replica().core.term)
    sending = run_through(node.sender._chunks(PARTITION, message))
    sent = [next(sending)]

    cluster.do(*(put(f"k{n}", text="new" * 60) for n in range(20)))
    cluster.tick()
    cluster.checkpoint()
    sent += sending
    received = receive(sent, tmp_path)

    assert dict(received._pairs()) == before
    received.discard()
