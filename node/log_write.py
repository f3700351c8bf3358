"""A write of the log that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from node.replica import Replica
from node.storage.log import LogRecord
from node.tracing import TracedEntry
from raft.types import Message


@dataclass(slots=True)
class LogWrite:
    """One log write in flight, for all groups: what to tell the cores when it is durable.

    `started` is in seconds, `started_tick` in ticks of the host. `tickets` are (replica, ticket,
    messages that wait for it), `installed` (replica, index of the snapshot its log begins with).
    """

    record: LogRecord
    started: float
    started_tick: int
    tickets: list[tuple[Replica, int, list[Message]]] = field(default_factory=list)
    installed: list[tuple[Replica, int]] = field(default_factory=list)
    traced: Sequence[TracedEntry] = ()
