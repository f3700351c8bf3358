"""What one node has for another: heartbeats and their answers as rows, all else as messages.

Between idle groups there is nothing but heartbeats, thousands a second: a row of plain numbers
costs a fraction of a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from raft.types import Message, MessageType, heartbeat_message

# Plain module names: an attribute of the enum class costs a lookup more on every message.
HEARTBEAT: Final = MessageType.HEARTBEAT
HEARTBEAT_REPLY: Final = MessageType.HEARTBEAT_REPLY

HeartbeatRow = tuple[int, int, int, int]
"""(group, term, commit, sequence) of a HEARTBEAT."""

ReplyRow = tuple[int, int, int]
"""(group, term, sequence) of a HEARTBEAT_REPLY."""


class PeerBatch:
    """Everything for one peer, in the order to step it: as (group, message) pairs if iterated."""

    __slots__ = ("heartbeats", "messages", "replies", "sender", "to")

    def __init__(self, sender: int, to: int, pairs: Iterable[tuple[int, Message]] = ()) -> None:
        self.sender = sender
        self.to = to
        self.heartbeats: list[HeartbeatRow] = []
        self.replies: list[ReplyRow] = []
        self.messages: list[tuple[int, Message]] = []
        for group, message in pairs:
            self.add(group, message)

    def add(self, group: int, message: Message) -> None:
        """Add one message of a group."""
        message_type = message.type
        if message_type == HEARTBEAT:
            self.heartbeats.append((group, message.term, message.commit, message.sequence))
        elif message_type == HEARTBEAT_REPLY:
            self.replies.append((group, message.term, message.sequence))
        else:
            self.messages.append((group, message))

    def extend(self, later: PeerBatch) -> None:
        """Add all of a later batch for the same peer."""
        self.heartbeats += later.heartbeats
        self.replies += later.replies
        self.messages += later.messages

    def heartbeat(self, row: HeartbeatRow) -> Message:
        """Return a row as the message that it stands for."""
        _, term, commit, sequence = row
        return heartbeat_message(HEARTBEAT, self.sender, self.to, term, commit, sequence)

    def reply(self, row: ReplyRow) -> Message:
        """Return a row as the message that it stands for."""
        _, term, sequence = row
        return heartbeat_message(HEARTBEAT_REPLY, self.sender, self.to, term, 0, sequence)

    def __len__(self) -> int:
        return len(self.heartbeats) + len(self.replies) + len(self.messages)

    def __iter__(self) -> Iterator[tuple[int, Message]]:
        yield from ((row[0], self.heartbeat(row)) for row in self.heartbeats)
        yield from ((row[0], self.reply(row)) for row in self.replies)
        yield from self.messages
