"""Short words for what the scenario tests say again and again."""

from collections.abc import Sequence
from random import Random

from raft.types import Configuration, Entry, EntryKind, HardState, Message, MessageType, RaftConfig
from tests.raft.cluster import Cluster, Disk, MemoryLog, Node


def entries_of(*terms: int, low: int = 1) -> list[Entry]:
    """Make a log whose entries have these terms."""
    return [
        Entry(index, term, EntryKind.COMMAND, b"%d.%d" % (index, term))
        for index, term in enumerate(terms, low)
    ]


def lone_node(
    node_id: int,
    *,
    voters: Sequence[int] = (1, 2, 3),
    entries: Sequence[Entry] = (),
    term: int = 0,
    commit: int = 0,
    rng: Random | None = None,
    config: RaftConfig | None = None,
) -> Node:
    """Start one node; the test plays all the others."""
    disk = Disk(Configuration(tuple(voters)), HardState(term, 0, commit), MemoryLog(entries))
    return Node(config or RaftConfig(node_id=node_id), disk, rng or Random(1))


def vote_request(
    candidate: int,
    *,
    to: int,
    term: int,
    index: int = 0,
    log_term: int = 0,
    kind: MessageType = MessageType.VOTE,
) -> Message:
    """Build a request whose log ends at (log_term, index)."""
    return Message(kind, candidate, to, term, index=index, log_term=log_term)


def append(
    entries: Sequence[Entry],
    *,
    index: int,
    log_term: int,
    term: int,
    commit: int = 0,
    sender: int = 2,
    to: int = 1,
) -> Message:
    """Build an APPEND of entries after (log_term, index)."""
    return Message(MessageType.APPEND, sender, to, term, index, log_term, commit, tuple(entries))


def step_synced(node: Node, message: Message) -> list[Message]:
    """Step one message and do all that follows; return everything that was sent."""
    node.core.step(message)
    return settle(node)


def settle(node: Node) -> list[Message]:
    """Let a node work until it waits; return everything that was sent."""
    sent: list[Message] = []
    while node.core.has_ready() or node.writing is not None:
        sent += node.take()
        if node.writing is not None:
            sent += node.sync()
    return sent


def messages_of(cluster: Cluster, kind: MessageType, *, to: int | None = None) -> list[Message]:
    """Return what was sent of one type, delivered or not."""
    return [m for m in cluster.log_of_messages if m.type == kind and to in (None, m.to)]


def terms_of(node: Node) -> list[int]:
    """Return the terms of a node's whole log, as it is on disk."""
    return [entry.term for entry in node.disk.log.entries_held]
