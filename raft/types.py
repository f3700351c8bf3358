"""The plain types of the consensus core: what goes in, what comes out, what must be kept.

Nothing here does anything. Wire formats live in the shells; the one byte format that is ours is
`Configuration.encode`, because a configuration is itself the payload of a log entry.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum, unique
from typing import Final, Protocol

KIB: Final = 1024
MIB: Final = 1024 * KIB

NO_NODE: Final = 0
"""The id that is nobody's: no leader known, no vote given. Ours."""


@unique
class Role(Enum):
    """What a replica believes it is."""

    FOLLOWER = "follower"  # takes entries from a leader, or waits for one
    PRE_CANDIDATE = "pre-candidate"  # asks whether it could win, without touching the term
    CANDIDATE = "candidate"  # has a new term and its own vote, asks for the others'
    LEADER = "leader"  # the only one of its term that makes entries


@unique
class EntryKind(IntEnum):
    """What the payload of an entry is."""

    COMMAND = 0  # the host's
    NOOP = 1  # empty: a new leader's first entry
    CONFIGURATION = 2  # Configuration.encode()


@unique
class MessageType(IntEnum):
    """The messages between replicas. The numbers are wire format: never reuse one."""

    APPEND = 1  # leader: entries after (index, log_term); `commit`; sequence: see Progress.joined
    APPEND_REPLY = 2  # match up to `index`; or reject of `index`, (hint, hint_term); same sequence
    HEARTBEAT = 3  # leader: term, commit (at most the follower's match), sequence (0: no answer)
    HEARTBEAT_REPLY = 4  # term and the sequence heard
    PRE_VOTE = 5  # would you vote for me in `term`; my log ends at (index, log_term)
    PRE_VOTE_REPLY = 6  # granted: term asked for; reject: own term
    VOTE = 7  # vote for me in `term`; hint = 1: the leader wants it (leadership transfer)
    VOTE_REPLY = 8
    SNAPSHOT = 9  # leader: `snapshot`; the data travel beside the core; sequence: as in APPEND
    TIMEOUT_NOW = 10  # leader: campaign at once, it is your turn


@dataclass(slots=True)
class Entry:
    """One log entry: `index` >= 1, `term` >= 1. Never changed once made.

    Not frozen: building a frozen one costs more than twice as much, and every write builds one.
    """

    index: int
    term: int
    kind: int
    payload: bytes


@dataclass(slots=True)
class HardState:
    """What a replica must not forget across a crash; `commit` may be forgotten, at a price."""

    term: int = 0
    vote: int = NO_NODE
    commit: int = 0


class BadConfiguration(Exception):
    """Bytes that should be an encoded Configuration are not."""


CONFIGURATION_VERSION: Final = 1
"""First byte of an encoded configuration. Ours."""

_CONFIGURATION_HEAD: Final = struct.Struct(">BBHHHH")  # version, flags, length of each list


@dataclass(frozen=True, slots=True)
class Configuration:
    """Who takes part in a group. Joint while `voters_outgoing` is not empty.

    Every tuple is ascending. Invariant: voters and learners are disjoint; `learners_next` are
    voters of the outgoing half that become learners when the joint configuration is left.
    Source: Raft thesis, section 4.3.
    """

    voters: tuple[int, ...]
    voters_outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        """Whether two majorities are needed."""
        return bool(self.voters_outgoing)

    def is_voter(self, node_id: int) -> bool:
        """Whether the node votes in either half."""
        return node_id in self.voters or node_id in self.voters_outgoing

    def members(self) -> tuple[int, ...]:
        """Return everybody who gets entries, ascending."""
        everybody = dict.fromkeys(self.voters + self.voters_outgoing + self.learners)
        return tuple(sorted(everybody))

    def encode(self) -> bytes:
        """Encode as bytes, the same in every release. Pair of `decode`."""
        lists = (self.voters, self.voters_outgoing, self.learners, self.learners_next)
        flags = 1 if self.auto_leave else 0
        head = _CONFIGURATION_HEAD.pack(CONFIGURATION_VERSION, flags, *map(len, lists))
        ids = [node_id for members in lists for node_id in members]
        return head + struct.pack(f">{len(ids)}I", *ids)

    @classmethod
    def decode(cls, raw: bytes) -> "Configuration":
        """Decode what `encode` made. Raises BadConfiguration."""
        if len(raw) < _CONFIGURATION_HEAD.size:
            raise BadConfiguration(
                f"{len(raw)} bytes, the head alone is {_CONFIGURATION_HEAD.size}"
            )
        version, flags, *lengths = _CONFIGURATION_HEAD.unpack_from(raw)
        if version != CONFIGURATION_VERSION or flags > 1:
            raise BadConfiguration(f"version {version}, flags {flags}")
        count = sum(lengths)
        if len(raw) != _CONFIGURATION_HEAD.size + 4 * count:
            raise BadConfiguration(f"{len(raw)} bytes for {count} ids")
        ids = struct.unpack_from(f">{count}I", raw, _CONFIGURATION_HEAD.size)
        lists: list[tuple[int, ...]] = []
        low = 0
        for length in lengths:
            part = ids[low : low + length]
            if list(part) != sorted(dict.fromkeys(part)) or NO_NODE in part:
                raise BadConfiguration(f"ids {part} are not ascending and positive")
            lists.append(part)
            low += length
        configuration = cls(lists[0], lists[1], lists[2], lists[3], flags == 1)
        if any(configuration.is_voter(node_id) for node_id in configuration.learners):
            raise BadConfiguration("a learner is a voter")
        if any(node_id not in configuration.voters_outgoing for node_id in lists[3]):
            raise BadConfiguration("a coming learner is not an outgoing voter")
        return configuration


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """Where a snapshot stands: it replaces all entries up to `index`, whose term is `term`."""

    index: int
    term: int
    configuration: Configuration


@dataclass(slots=True)
class Message:
    """One message between two replicas of a group; see MessageType for what the fields mean.

    For APPEND, `index` and `log_term` are those of the entry before `entries`; for votes, of the
    candidate's last entry. `entries` are contiguous and must not be changed by anybody.
    """

    type: MessageType
    sender: int
    to: int
    term: int
    index: int = 0
    log_term: int = 0
    commit: int = 0
    entries: Sequence[Entry] = ()
    sequence: int = 0
    reject: bool = False
    hint: int = 0
    hint_term: int = 0
    snapshot: SnapshotMeta | None = None


def heartbeat_message(
    kind: MessageType, sender: int, to: int, term: int, commit: int, sequence: int
) -> Message:
    """Build a HEARTBEAT or a HEARTBEAT_REPLY; by place, as names would cost half as much again."""
    return Message(kind, sender, to, term, 0, 0, commit, (), sequence)


@dataclass(slots=True)
class Ready:
    """Work the core hands to its host, once. The host does the fields in this order.

    1. `send_now`: may leave before anything is written.
    2. `truncate_from`, `entries`, `hard_state`: one log write, synced; then `persisted(ticket)`.
       With `truncate_from`, entries at and above it are removed first. 0 = nothing to write.
    3. `send_after`: only once that ticket is durable. Empty if `ticket` is 0.
    4. `committed`: durable here and committed; apply in order, then `applied_to`.
    5. `snapshot`: install it (it comes after `committed`), reset the log to start after it, then
       `snapshot_installed(index)`, or `snapshot_failed()`.
    6. `reads`: (read id, index): serve once applied >= index. `dropped_reads`: ask another leader.
    """

    ticket: int = 0
    hard_state: HardState | None = None
    truncate_from: int | None = None
    entries: list[Entry] = field(default_factory=list)
    snapshot: SnapshotMeta | None = None
    send_now: list[Message] = field(default_factory=list)
    send_after: list[Message] = field(default_factory=list)
    committed: list[Entry] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)
    dropped_reads: list[int] = field(default_factory=list)
    role_changed: bool = False  # role, term or leader is another than at the last take_ready
    snapshot_wanted: bool = False  # a follower needs one: make it, then `set_snapshot`


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """What a host may set for one replica. The tick's length is the host's; 50 ms is meant."""

    node_id: int
    election_ticks_min: int = 20
    """Silence after which a leader is given up; drawn in [min, 2 * min). Ours: 1 s at 50 ms."""
    heartbeat_ticks: int = 4
    """Ours: five heartbeats in the shortest election timeout."""
    quick_campaign_ticks: int = 4
    """A follower whose leader's stream broke campaigns in [1, 1 + this) ticks. Ours."""
    quick_campaign_count: int = 5
    """Campaigns in a row that may be quick before the usual timeout is used again. Ours."""
    append_bytes_max: int = MIB
    """Payload bytes of one APPEND; a larger entry goes alone. Ours."""
    in_flight_count_max: int = 256
    """Unanswered APPENDs to one follower. Ours."""
    in_flight_bytes_max: int = 8 * MIB
    """Unanswered payload bytes to one follower; one APPEND always passes. Ours."""
    committed_bytes_max: int = 4 * MIB
    """Payload bytes of `Ready.committed`. Ours: bounds one turn of the host."""
    uncommitted_bytes_max: int = 16 * MIB
    """Payload bytes proposed and not yet handed back as committed. Ours."""
    cache_bytes_max: int = MIB
    """Bytes of the log's tail that stay in memory once applied. Ours."""
    trace_count_max: int = 64
    """Events kept in `RaftCore.trace`. Ours."""

    def __post_init__(self) -> None:
        """Check the numbers against each other."""
        assert self.node_id > NO_NODE
        assert 0 < self.heartbeat_ticks < self.election_ticks_min
        assert self.quick_campaign_ticks >= 1
        assert self.quick_campaign_count >= 1
        assert self.in_flight_count_max >= 1
        assert self.append_bytes_max >= 1
        assert self.in_flight_bytes_max >= 1
        assert self.committed_bytes_max >= 1


@unique
class Refusal(Enum):
    """Why a leader refused what its host asked. Each value is a sentence for people."""

    TRANSFERRING = "leadership is being handed over"
    TOO_MANY_BYTES = "too many bytes are proposed and not committed"
    CHANGE_IN_FLIGHT = "another configuration change is not committed yet"
    NO_OWN_COMMIT = "no entry of the leader's own term is committed yet"
    NOT_JOINT = "the configuration is not joint"
    BAD_CHANGE = "the wanted configuration is not valid"
    NOT_A_VOTER = "the node is not a voter"


class NotLeader(Exception):
    """Only a leader can do this; `leader` may know better (0: nobody is known)."""

    def __init__(self, leader: int, term: int) -> None:
        super().__init__(f"not the leader of term {term}; leader {leader or 'unknown'}")
        self.leader = leader
        self.term = term


class ProposalRefused(Exception):
    """The leader did not take the proposal: surely not proposed, nothing changed."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Compacted(Exception):
    """The log does not reach down to `index` any more."""

    def __init__(self, index: int) -> None:
        super().__init__(f"entry {index} was cut off the log")
        self.index = index


class RecoveryRefused(Exception):
    """What was found on disk cannot be a replica's state: data were lost. Do not vote with it."""


@dataclass(slots=True)
class Ticks:
    """How many ticks have passed. Replicas may share one: a host then counts once for all.

    Leaders send heartbeats at multiples of `heartbeat_ticks`, so those that share a count do it
    together: a packet costs more than what is in it.
    """

    now: int = 0


class Rng(Protocol):
    """The part of random.Random the core may use."""

    def randrange(self, start: int, stop: int, /) -> int:
        """Return an int in [start, stop)."""
        ...


class LogReader(Protocol):
    """Read access to the durable part of one group's log.

    It answers for what has been persisted; the core itself holds what has not. After a cut,
    `first_index` - 1 is the cut point, and its term is still known.
    """

    def first_index(self) -> int:
        """Return the lowest index held, or last_index() + 1 if none is."""
        ...

    def last_index(self) -> int:
        """Return the highest durable index, or the cut point if the log is empty."""
        ...

    def term(self, index: int) -> int:
        """Return the term at an index in [first_index() - 1, last_index()]. Raises Compacted."""
        ...

    def entries(self, low: int, high: int, bytes_max: int) -> list[Entry]:
        """Return entries of [low, high), at least one, at most `bytes_max`. Raises Compacted."""
        ...
