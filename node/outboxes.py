"""What a turn has for each peer, until it leaves: one batch a peer, snapshots on their own way."""

from __future__ import annotations

from typing import Final

from node.host_shell import Shell
from node.peer_batch import PeerBatch
from raft.types import Message, MessageType

SNAPSHOT: Final = MessageType.SNAPSHOT  # as in `raft.core`


class Outboxes:
    """One batch a peer."""

    __slots__ = ("_by_peer", "_node_id", "_shell")

    def __init__(self, node_id: int, shell: Shell) -> None:
        self._node_id = node_id
        self._shell = shell
        self._by_peer: dict[int, PeerBatch] = {}

    def post(self, group: int, message: Message) -> None:
        """Let a message leave with the next batch."""
        if message.type == SNAPSHOT:
            self._shell.send_snapshot(group, message)
        else:
            self.batch_for(message.to).add(group, message)

    def batch_for(self, to: int) -> PeerBatch:
        """Return the batch that leaves next for a peer."""
        batch = self._by_peer.get(to)
        if batch is None:
            batch = self._by_peer[to] = PeerBatch(self._node_id, to)
        return batch

    def send(self) -> None:
        """Send what there is."""
        by_peer, self._by_peer = self._by_peer, {}
        for batch in by_peer.values():
            self._shell.send(batch)
