"""What processes of format 1 say to each other is understood, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorSet
from google.protobuf.json_format import MessageToDict

from node.codec import CorruptMessage, decode_raft_batch, encode_raft_batch
from node.peer_batch import PeerBatch
from quorate.cluster.outcome import Outcome
from quorate.v1 import node_pb2
from raft.types import Entry, Message, MessageType
from router.refusals import error_of
from tests.compatibility.__main__ import definitions
from tests.compatibility.evolution import breaking_changes
from tests.compatibility.messages import kinds
from tests.compatibility.paths import MESSAGES, PROTOS

KINDS = {descriptor.full_name: descriptor for descriptor in kinds()}
KEPT: dict[str, Any] = json.loads(MESSAGES.read_text())


@pytest.mark.parametrize("name", KEPT)
def test_message_means_what_it_meant(name: str) -> None:
    message = message_factory.GetMessageClass(KINDS[name])()

    message.MergeFromString(bytes.fromhex(KEPT[name]["bytes"]))

    assert MessageToDict(message, preserving_proto_field_name=True) == KEPT[name]["means"]


@pytest.mark.parametrize("name", KEPT)
def test_fields_of_a_newer_release_are_passed_over(name: str) -> None:
    """Field 9,000, a text, behind what is known."""
    unknown = b"\xc2\xb2\x04\x05newer"
    message = message_factory.GetMessageClass(KINDS[name])()

    message.MergeFromString(bytes.fromhex(KEPT[name]["bytes"]) + unknown)

    assert MessageToDict(message, preserving_proto_field_name=True) == KEPT[name]["means"]
    assert unknown in message.SerializeToString(), "the test's own field is one"


def raft_batch() -> node_pb2.RaftBatch:
    entries = (Entry(8, 3, 0, b"payload"), Entry(9, 3, 1, b""))
    append = Message(MessageType.APPEND, 1, 2, 3, 7, 2, 6, entries, 5)
    return encode_raft_batch(PeerBatch(1, 2, [(4, append)]))


def test_append_between_releases_is_bytes_that_never_change() -> None:
    """As format 1 wrote it."""
    assert raft_batch().SerializeToString(deterministic=True).hex() == (
        "1a2b08041001180320072802300650055a020303620200016a077061796c6f61646a007208156a2c4200000000"
    )
    ((group, message),) = decode_raft_batch(raft_batch(), sender=1, receiver=2)
    assert (group, message.type, message.index, message.commit) == (4, MessageType.APPEND, 7, 6)
    assert [entry.payload for entry in message.entries] == [b"payload", b""]


def test_kind_of_message_that_only_a_newer_release_knows_is_refused() -> None:
    """Its stream ends with a sentence; a vote of an unknown kind is no vote."""
    batch = raft_batch()
    batch.messages[0].type = 99

    with pytest.raises((CorruptMessage, ValueError), match="99"):
        decode_raft_batch(batch, sender=1, receiver=2)


def test_answer_that_only_a_newer_release_gives_is_an_error_that_says_so() -> None:
    assert "unknown here: 99" in str(error_of(99, b"", maybe_proposed=False))
    assert "99" not in str(error_of(99, b"", maybe_proposed=True)), "and never a failure for sure"
    assert 99 not in set(Outcome)


# The definitions


def kept() -> FileDescriptorSet:
    return FileDescriptorSet.FromString(PROTOS.read_bytes())


def test_definitions_have_not_changed_but_by_additions() -> None:
    assert breaking_changes(kept(), definitions()) == []


def field(files: FileDescriptorSet, message: str, name: str) -> FieldDescriptorProto:
    (found,) = (
        each
        for file in files.file
        for kind in file.message_type
        if kind.name == message
        for each in kind.field
        if each.name == name
    )
    return found


def retype(files: FileDescriptorSet) -> None:
    field(files, "RaftMessage", "term").type = FieldDescriptorProto.TYPE_STRING


def rename(files: FileDescriptorSet) -> None:
    field(files, "RaftMessage", "term").name = "epoch"


def repeat(files: FileDescriptorSet) -> None:
    field(files, "RaftMessage", "term").label = FieldDescriptorProto.LABEL_REPEATED


def move(files: FileDescriptorSet) -> None:
    field(files, "RaftMessage", "term").number = 99


def drop(files: FileDescriptorSet) -> None:
    for file in files.file:
        for message in file.message_type:
            if message.name == "RaftMessage":
                del message.field[0]


def take_reserved(files: FileDescriptorSet) -> None:
    for file in files.file:
        for message in file.message_type:
            if message.name == "WriteEntry":
                del message.reserved_range[:]
                message.field.add(name="new", number=7, type=FieldDescriptorProto.TYPE_BYTES)


def drop_message(files: FileDescriptorSet) -> None:
    del files.file[-1].message_type[0]


def renumber_outcome(files: FileDescriptorSet) -> None:
    for file in files.file:
        for enum in file.enum_type:
            if enum.name == "Outcome":
                enum.value[3].name, enum.value[4].name = enum.value[4].name, enum.value[3].name


def stream(files: FileDescriptorSet) -> None:
    files.file[-1].service[0].method[0].server_streaming = True


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (retype, "RaftMessage.term = 3: its number is now that of another field"),
        (rename, "RaftMessage.term = 3: its number is now that of another field, epoch"),
        (repeat, "RaftMessage.term = 3: its number"),
        (move, "RaftMessage.term has moved from 3 to 99"),
        (drop, "RaftMessage.group = 1 is gone, and its number is not reserved"),
        (take_reserved, "WriteEntry.new = 7 takes a number that is reserved"),
        (drop_message, "ChangeId is gone"),
        (renumber_outcome, "Outcome: 3 no longer means OUTCOME_INVALID"),
        (stream, "CreateUser is gone, or takes, returns or streams something else"),
    ],
)
def test_change_that_breaks_is_found(
    change: Callable[[FileDescriptorSet], None], sentence: str
) -> None:
    changed = kept()
    change(changed)

    assert any(sentence in found for found in breaking_changes(kept(), changed))


def test_removed_field_whose_number_is_reserved_is_no_break() -> None:
    changed = kept()
    drop(changed)
    for file in changed.file:
        for message in file.message_type:
            if message.name == "RaftMessage":
                message.reserved_range.add(start=1, end=2)

    assert breaking_changes(kept(), changed) == []
