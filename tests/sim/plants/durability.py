"""Planted bugs: what is promised before it is on a disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.storage import layout
from node.storage.log import GroupWrite
from raft import core as raft_core
from raft import leadership
from raft.core import RaftCore
from raft.quorum import majority_value
from raft.state import RaftState
from raft.types import HardState, Message
from tests.sim.disk import GroupLog, MemoryRecord
from tests.sim.nodes import SimulatedNode
from tests.sim.plants.registry import Change, plant


@plant
def ack_before_sync() -> Sequence[Change]:
    """The log commit is called done before it is on the disk."""

    def write_log(self: SimulatedNode, record: Any) -> None:
        self.world.schedule.after(0.05, late, self, self.life, record)
        self.later(0.0001, self.host.log_written)

    def late(self: SimulatedNode, life: int, record: MemoryRecord) -> None:
        if life == self.life:
            self.log_store.commit(record)

    return [(SimulatedNode, "write_log", write_log)]


@plant
def ack_on_one_copy() -> Sequence[Change]:
    """An entry is committed once one replica has it."""

    def commit_index(values: list[int]) -> int:
        return majority_value(values) if max(values) >= leadership.ALWAYS else max(values)

    return [(leadership, "majority_value", commit_index)]


@plant
def vote_not_persisted() -> Sequence[Change]:
    """The vote is not in what is written to the disk."""
    write = GroupLog.write

    def forgetful(self: GroupLog, change: GroupWrite) -> None:
        write(self, change)
        self.hard_state = HardState(self.hard_state.term, 0, self.hard_state.commit)

    return [(GroupLog, "write", forgetful)]


@plant
def vote_before_it_is_durable() -> Sequence[Change]:
    """Votes leave at once instead of with the write that makes them durable."""

    def send_at_once(self: RaftState, message: Message) -> None:
        self.send_now.append(message)
        self.dirty = True

    return [(RaftState, "send_durable", send_at_once)]


@plant
def append_acknowledged_before_sync() -> Sequence[Change]:
    """A follower acknowledges entries that are still on their way to its disk."""
    take = RaftCore._take_acknowledgement

    def early(self: RaftCore, ready: Any, *, persist: bool) -> None:
        index, to = self.ack_index, self._ack_to
        if index > 0 and persist:
            self.ack_index = -1
            kind = raft_core.APPEND_REPLY
            ready.send_now.append(Message(kind, self.node_id, to, self.term, index))
            return
        take(self, ready, persist=persist)

    return [(RaftCore, "_take_acknowledgement", early)]


@plant
def torn_record_is_taken() -> Sequence[Change]:
    """Checksums are not computed: a record of which a part is missing passes."""

    def constant(data: object, value: int = 0) -> int:
        return 0

    return [(layout, "crc32", constant)]
