"""What a node makes of bad messages, over real sockets: rows 6 to 14 of the table in SECURITY.md.

The sender is a peer with its own certificate, which is as much as a broken node could be. Each
test is called after its row; a node that dies of one fails them all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from node.codec import NUMBER_MAX
from node.guard import REQUEST_BYTES_MAX
from node.peers import introduce
from quorate.cluster.channels import MESSAGE_BYTES_MAX
from quorate.v1 import node_pb2
from raft.types import Configuration, MessageType
from tests.node.port import (
    CLUSTER,
    ROUTER,
    NodePort,
    Refused,
    append,
    dialer,
    heartbeat,
    identity,
    node_caller,
    tell,
)

HEARD_SECONDS = 0.02  # ample for a message to arrive; a leader is believed for a second
INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
NESTED = b"\xa3\x06" * 200 + b"\xa4\x06" * 200  # groups in groups, of an unknown field
BROKEN = {
    "cut off": b"\x1a\xff",
    "no tag": b"\xff" * 20,
    "nested 200 deep": NESTED,
}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodePort]:
    """A node that has heard a leader of term 5: b1, with two entries, the first committed."""
    port = NodePort(tmp_path_factory.mktemp("port"))
    port.start()
    noop = append(5, 0, 0, b"", b"", commit=1, entry_kinds=[1, 1])
    tell(port, [noop])
    assert port.state() == (5, 1, 2)
    yield port
    alive = port.is_alive()
    port.stop()
    assert alive, port.log()


@pytest.fixture(autouse=True)
def no_state_changes(port: NodePort) -> Iterator[None]:
    """Whatever is refused or of no use leaves term, commit and log as they were."""
    assert port.state() == (5, 1, 2)
    yield
    assert port.state() == (5, 1, 2)


def call(
    port: NodePort,
    method: str,
    request: bytes,
    *,
    streams: tuple[bool, bool] = (False, False),
    metadata: tuple[tuple[str, str], ...] = (),
    as_router: bool = False,
) -> Refused | None:
    """Call any method with any bytes; return how it was refused."""

    async def story() -> Refused | None:
        owner = ROUTER if as_router else node_caller("b1")
        credentials = dialer(port.certs, owner).credentials
        assert credentials is not None
        options = (
            ("grpc.ssl_target_name_override", f"a1.node.{CLUSTER}.quorate"),
            ("grpc.max_send_message_length", -1),
        )
        async with grpc.aio.secure_channel(port.address, credentials, options=options) as channel:
            path = f"/quorate.v1.NodeService/{method}"

            async def requests() -> Any:
                yield request

            try:
                if streams == (False, False):
                    unary: Any = channel.unary_unary(path)
                    await unary(request, timeout=20, metadata=metadata)
                elif streams == (True, False):
                    one: Any = channel.stream_unary(path)
                    await one(requests(), timeout=20, metadata=metadata)
                else:
                    many: Any = channel.stream_stream(path)
                    async for _ in many(requests(), timeout=20, metadata=metadata):
                        pass
            except grpc.aio.AioRpcError as error:
                return Refused(error.code(), error.details() or "")
        return None

    return asyncio.run(story())


def refusal_of(port: NodePort, batch: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        tell(port, [batch])
    return refused.value


# Row 6: too large.


@pytest.mark.parametrize("size_bytes", [MESSAGE_BYTES_MAX + 1, 64 << 20])
def test_row_6_message_of_a_stream_that_is_too_large(port: NodePort, size_bytes: int) -> None:
    refused = call(
        port, "Replicate", bytes(size_bytes), streams=(True, False),
        metadata=introduce(identity("b1"), 1),
    )  # fmt: skip
    assert refused is not None
    assert refused.code is EXHAUSTED


@pytest.mark.parametrize("method", ["Identify", "ChangeCatalog"])
def test_row_6_request_that_is_too_large(port: NodePort, method: str) -> None:
    refused = call(port, method, bytes(REQUEST_BYTES_MAX + 1))
    assert refused is not None
    assert refused.code is EXHAUSTED


def test_row_6_metadata_that_are_too_large(port: NodePort) -> None:
    refused = call(port, "Identify", b"", metadata=(("x-large", "x" * 20_000),))
    assert refused is not None
    assert refused.code is EXHAUSTED


# Row 7: no message.


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_row_7_what_is_no_message_in_a_peers_stream(port: NodePort, raw: bytes) -> None:
    assert refusal_of(port, raw).code is INVALID


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    ("method", "streams"),
    [
        ("Identify", (False, False)),
        ("ChangeCatalog", (False, False)),
        ("TransferSnapshot", (True, True)),
        ("Route", (True, True)),
    ],
)
def test_row_7_what_is_no_message_elsewhere(
    port: NodePort, method: str, streams: tuple[bool, bool], raw: bytes
) -> None:
    metadata = introduce(identity("b1"), 1) if method == "TransferSnapshot" else ()
    refused = call(
        port, method, raw, streams=streams, metadata=metadata, as_router=method == "Route"
    )
    assert refused is not None
    assert refused.code is INVALID


def test_row_7_columns_of_several_lengths(port: NodePort) -> None:
    entries = append(5, 2, 5, b"x", b"y")
    del entries.messages[0].entry_checksums[1:]
    assert refusal_of(port, entries).code is INVALID
    beats = heartbeat(5)
    beats.heartbeats.terms.append(5)
    assert refusal_of(port, beats).code is INVALID
    for batch in (
        node_pb2.RouteBatch(sequence=1, writes=node_pb2.WriteColumns(slots=[1])),
        node_pb2.RouteBatch(sequence=1, gets=node_pb2.GetColumns(slots=[1], keys=[b"k"])),
    ):
        raw = batch.SerializeToString()
        refused = call(port, "Route", raw, streams=(True, True), as_router=True)
        assert refused is not None
        assert refused.code is INVALID


@pytest.mark.parametrize("message_type", [0, 11, 4_000_000_000])
def test_row_7_unknown_types(port: NodePort, message_type: int) -> None:
    assert refusal_of(port, append(5, 2, 5, b"x", type=message_type)).code is INVALID


@pytest.mark.parametrize("configuration", [b"", b"\xff" * 40], ids=["none", "broken"])
def test_row_7_offers_without_what_they_must_have(port: NodePort, configuration: bytes) -> None:
    meta = node_pb2.SnapshotMeta(index=9, term=5, configuration=configuration)
    offer = node_pb2.SnapshotOffer(group=0, sender_term=5, meta=meta, view=bytes(16))
    refused = call(
        port, "TransferSnapshot", node_pb2.SnapshotPart(offer=offer).SerializeToString(),
        streams=(True, True), metadata=introduce(identity("b1"), 1),
    )  # fmt: skip
    assert refused is not None
    assert refused.code is grpc.StatusCode.DATA_LOSS


# Row 8: numbers that cannot be.


@pytest.mark.parametrize("number", [NUMBER_MAX + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("where", ["term", "index", "commit", "entry_terms"])
def test_row_8_numbers_that_no_log_reaches(port: NodePort, where: str, number: int) -> None:
    batch = append(5, 2, 5, b"x")
    if where == "entry_terms":
        batch.messages[0].entry_terms[0] = number
    else:
        setattr(batch.messages[0], where, number)
    assert refusal_of(port, batch).code is INVALID
    assert 'because="impossible message: a term or an index of' in port.log()


def test_row_8_heartbeat_with_such_numbers(port: NodePort) -> None:
    assert refusal_of(port, heartbeat(2**64 - 1)).code is INVALID
    assert refusal_of(port, heartbeat(5, commit=2**64 - 1)).code is INVALID


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param(append(5, 7, 5, b"x"), id="a gap"),
        pytest.param(append(5, 2, 4, b"x"), id="another term before"),
        pytest.param(append(5, 2, 5, b"x", entry_terms=[4]), id="terms that fall"),
        pytest.param(append(5, 2, 5, b"x", entry_terms=[6]), id="an entry of a later term"),
        pytest.param(heartbeat(5, commit=1_000), id="a commit above the log"),
        pytest.param(
            append(5, 2, 5, b"garbage", entry_kinds=[2]), id="a configuration that is none"
        ),
    ],
)
def test_row_8_numbers_that_do_not_fit_are_of_no_use(port: NodePort, batch: Any) -> None:
    tell(port, [batch])


# Row 9: damaged on the way.


def test_row_9_entry_that_does_not_match_its_checksum(port: NodePort) -> None:
    damaged = append(5, 2, 5, b"payload")
    damaged.messages[0].entry_payloads[0] = b"pAyload"

    assert refusal_of(port, damaged).code is grpc.StatusCode.DATA_LOSS

    assert "corrupt_message" in port.log()
    # Nothing in the way of the same entry sent again: see row 10 for what is taken.
    tell(port, [heartbeat(5)])


# Row 10: late, again, out of order.


def test_row_10_late_repeated_and_reordered_messages_change_nothing(port: NodePort) -> None:
    first = append(5, 0, 0, b"", b"", commit=1, entry_kinds=[1, 1])
    again = append(5, 1, 5, b"", entry_kinds=[1])
    for batches in ([first, first], [again, first], [append(4, 0, 0, b"old"), heartbeat(3)]):
        tell(port, batches)


# Rows 11 and 12: who else speaks while a leader is heard.


def beside_the_leader(port: NodePort, batches: list[node_pb2.RaftBatch]) -> None:
    """Let b1 be heard, as leader of term 5, before and after each batch of c1's."""

    async def story() -> None:
        async with port.opened(node_caller("b1")) as one, port.opened(node_caller("c1")) as two:
            path = "/quorate.v1.NodeService/Replicate"
            leader: Any = one.stream_unary(path)(metadata=introduce(identity("b1"), 1))
            other: Any = two.stream_unary(path)(metadata=introduce(identity("c1"), 1))
            for stream in (leader, other):
                assert await stream.initial_metadata()
            for batch in batches:
                await leader.write(heartbeat(5).SerializeToString())
                await asyncio.sleep(HEARD_SECONDS)
                await other.write(batch.SerializeToString())
            await other.done_writing()
            await other
            await leader.done_writing()
            await leader

    asyncio.run(story())


def test_row_11_second_leader_of_a_term_is_not_believed(port: NodePort) -> None:
    """It cannot be told which of the two lies; the log of the first is not merged with its."""
    other = append(5, 1, 5, b"forged", b"forged", commit=3)

    beside_the_leader(port, [other, heartbeat(5, commit=2), other])


@pytest.mark.parametrize("kind", [MessageType.VOTE, MessageType.PRE_VOTE])
def test_row_12_votes_are_not_given_while_a_leader_is_heard(
    port: NodePort, kind: MessageType
) -> None:
    """One that was cut off has counted terms, and claims a log longer than any."""
    beside_the_leader(port, [append(1_000 + each, 99, 999, type=kind) for each in range(20)])


# Row 13: history.


def test_row_13_committed_entries_are_not_rewritten(port: NodePort) -> None:
    tell(port, [append(5, 0, 0, b"another first", commit=1)])
    tell(port, [append(5, 0, 0, b"x", b"y", b"z", commit=3)])


# Row 14: snapshots. What their frames say is in test_snapshot_transfer.py.


def transfer(port: NodePort, *parts: node_pb2.SnapshotPart) -> Refused:
    async def story() -> Refused:
        async with port.opened(node_caller("b1")) as channel:
            method: Any = channel.stream_stream("/quorate.v1.NodeService/TransferSnapshot")

            async def requests() -> Any:
                for part in parts:
                    yield part.SerializeToString()

            try:
                async for _ in method(
                    requests(), timeout=20, metadata=introduce(identity("b1"), 1)
                ):
                    pass
            except grpc.aio.AioRpcError as error:
                return Refused(error.code(), error.details() or "")
        raise AssertionError("it was taken")

    return asyncio.run(story())


def offer(**changes: Any) -> node_pb2.SnapshotPart:
    meta = node_pb2.SnapshotMeta(index=9, term=5, configuration=Configuration((1, 2, 3)).encode())
    fields: dict[str, Any] = {
        "group": 0, "sender_term": 5, "meta": meta, "view": bytes(16), "size_bytes": 100,
    }  # fmt: skip
    return node_pb2.SnapshotPart(offer=node_pb2.SnapshotOffer(**{**fields, **changes}))


FRAME = node_pb2.SnapshotPart(frame=b"garbage")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        pytest.param([FRAME], grpc.StatusCode.DATA_LOSS, id="a frame before the offer"),
        pytest.param([], grpc.StatusCode.ABORTED, id="nothing"),
        pytest.param([offer(), FRAME], grpc.StatusCode.DATA_LOSS, id="no frame"),
        pytest.param([offer()], grpc.StatusCode.ABORTED, id="broken off"),
        pytest.param(
            [offer(size_bytes=1 << 40)], grpc.StatusCode.RESOURCE_EXHAUSTED, id="a terabyte"
        ),
        pytest.param(
            [offer(view=b"../../etc/passwd"), FRAME], grpc.StatusCode.DATA_LOSS, id="a path"
        ),
        pytest.param([offer(view=b"/")], grpc.StatusCode.DATA_LOSS, id="a short view"),
        pytest.param([offer(), offer()], grpc.StatusCode.DATA_LOSS, id="two offers"),
        pytest.param([offer(group=77)], grpc.StatusCode.FAILED_PRECONDITION, id="unknown group"),
        pytest.param(
            [offer(sender_term=4)], grpc.StatusCode.FAILED_PRECONDITION, id="an older leader"
        ),
    ],
)
def test_row_14_snapshots_that_are_none(
    port: NodePort, parts: list[node_pb2.SnapshotPart], code: grpc.StatusCode
) -> None:
    assert transfer(port, *parts).code is code

    folder = port.folder / "a1" / "snapshots"
    left = [path for path in folder.glob("*") if path.stat().st_size] if folder.exists() else []
    assert left == []
    assert not list(port.folder.rglob("*passwd*"))
    assert not Path("/tmp/passwd").exists()
