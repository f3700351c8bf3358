"""Between wire messages and the node's own types: what goes out comes in the same."""

from __future__ import annotations

from random import Random

import pytest

from node.codec import (
    CorruptMessage,
    LeaderHint,
    Page,
    WriteColumns,
    decode_raft_batch,
    decode_write_entry,
    encode_raft_batch,
    encode_write_entry,
    wire_outcome,
)
from node.peer_batch import PeerBatch
from node.routes import RouteStream
from quorate.cluster.outcome import Outcome
from quorate.v1 import node_pb2
from raft.types import Configuration, Entry, Message, MessageType, SnapshotMeta

HEARTBEATS = (MessageType.HEARTBEAT, MessageType.HEARTBEAT_REPLY)


def random_message(random: Random) -> Message:
    kind = random.choice(list(MessageType))
    message = Message(kind, 2, 3, random.randrange(1, 9))
    if kind in HEARTBEATS:
        message.sequence = random.randrange(1 << 40)
        message.commit = random.randrange(99) if kind == MessageType.HEARTBEAT else 0
        return message
    message.index, message.log_term = random.randrange(1 << 40), random.randrange(9)
    message.commit, message.reject = random.randrange(99), random.random() < 0.5
    message.hint, message.hint_term = random.randrange(99), random.randrange(9)
    message.entries = [
        Entry(message.index + place, random.randrange(1, 9), random.randrange(3), b"x" * place)
        for place in range(1, random.randrange(1, 5))
    ]
    if kind == MessageType.SNAPSHOT:
        message.snapshot = SnapshotMeta(7, 3, Configuration((1, 2, 3), learners=(4,)))
    return message


@pytest.mark.parametrize("seed", range(20))
def test_raft_messages_arrive_as_they_were_sent(seed: int) -> None:
    random = Random(seed)
    outbox = [(random.randrange(100), random_message(random)) for _ in range(12)]
    batch = PeerBatch(2, 3, outbox)

    raw = encode_raft_batch(batch).SerializeToString()
    arrived = decode_raft_batch(node_pb2.RaftBatch.FromString(raw), sender=2, receiver=3)

    def order(pair: tuple[int, Message]) -> int:
        """Heartbeats come first, as columns; the others keep their order."""
        return HEARTBEATS.index(pair[1].type) if pair[1].type in HEARTBEATS else len(HEARTBEATS)

    assert list(arrived) == sorted(outbox, key=order)
    assert len(arrived) == len(outbox)


def test_entry_that_does_not_match_its_checksum_is_refused_with_its_batch() -> None:
    """Nothing of a corrupt message is used."""
    message = Message(MessageType.APPEND, 1, 2, 1, entries=[Entry(1, 1, 0, b"payload")])
    batch = encode_raft_batch(PeerBatch(1, 2, [(5, message)]))
    batch.messages[0].entry_payloads[0] = b"paYload"

    with pytest.raises(CorruptMessage, match="group 5, entry 1 from node 1"):
        decode_raft_batch(batch, sender=1, receiver=2)


def test_columns_of_different_length_are_refused() -> None:
    message = Message(MessageType.APPEND, 1, 2, 1, entries=[Entry(1, 1, 0, b"payload")])
    batch = encode_raft_batch(PeerBatch(1, 2, [(5, message)]))
    batch.messages[0].entry_terms.append(1)

    with pytest.raises(ValueError, match="zip"):
        decode_raft_batch(batch, sender=1, receiver=2)


def test_write_entry_is_read_as_it_was_written() -> None:
    columns = WriteColumns(
        keys=[b"k1", b"k2"],
        images=[b"", b"image"],
        request_ids=[b"1" * 16, b"2" * 16, b"3" * 16],
        units=[1, 400, 2],
        refusals={b"3" * 16: Outcome.CONDITION_FAILED},
        answers={b"2" * 16: b'{"n":{"N":"1"}}', b"3" * 16: b"old"},
        sizes={1: (-1, -30), 7: (1, 40)},
    )

    assert decode_write_entry(encode_write_entry(columns)) == columns


def test_every_outcome_of_the_protocol_is_known_here() -> None:
    known = {wire_outcome(outcome) for outcome in Outcome}

    assert known == set(node_pb2.Outcome.values())


def test_route_stream_hands_everything_over_once() -> None:
    woken: list[None] = []
    stream = RouteStream(lambda: woken.append(None))
    stream.flush()
    assert not woken

    stream.answer(1, Outcome.OK, 3, b"payload")
    stream.answer_page(Page(2, Outcome.OK, [b"k"], [b"i"], more=True))
    stream.hint_leaders([LeaderHint(4, 5, 6)])
    stream.accept(7)
    stream.flush()
    reply = stream.take_reply(8, 0)

    assert woken == [None]
    assert not stream.has_reply()
    assert reply == node_pb2.RouteReply(
        accepted=7,
        catalog_epoch=8,
        answers=node_pb2.AnswerColumns(
            slots=[1], outcomes=[node_pb2.OUTCOME_OK], write_units=[3], payloads=[b"payload"]
        ),
        pages=[
            node_pb2.RangePage(
                slot=2, outcome=node_pb2.OUTCOME_OK, keys=[b"k"], images=[b"i"], more=True
            )
        ],
        leaders=[node_pb2.LeaderHint(partition=4, term=5, leader=6)],
    )
    assert stream.take_reply(8, 0) == node_pb2.RouteReply(catalog_epoch=8)
