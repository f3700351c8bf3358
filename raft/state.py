"""The state of one replica: RaftState, its invariants, and the steps that keep them."""

from collections import deque
from typing import Final

from raft import election
from raft.leadership import Leadership
from raft.log import RaftLog
from raft.recovery import check_recovered, find_configurations
from raft.types import (
    NO_NODE,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    LogReader,
    Message,
    RaftConfig,
    Rng,
    Role,
    SnapshotMeta,
    Ticks,
)

NO_ACK: Final = -1
"""No acknowledgement is due. Ours: 0 is one, of an empty log."""


class RaftState:
    """What one replica of one group knows, and the steps by which that changes.

    The modules over it (`election`, `following`, `terms`, `leadership`) are the roles' rules.

    Invariants between any two calls of the core, which `raft.check` asserts:

    - applied <= applying <= commit <= log.last_index;
    - `leadership` is there exactly while `role` is LEADER, and then `leader` is this replica;
    - `votes` is empty but in a campaign, in which `leader` is NO_NODE;
    - whoever is CANDIDATE or LEADER has voted for itself in this term;
    - a follower's `leader` is NO_NODE or `leader_of_term`;
    - `saved_term` <= `term`, and a vote that was saved in `term` is `vote`: it never changes;
    - an acknowledgement that is due (`ack_index`) is of an index that the log holds;
    - `installing` is above `commit`, and only a follower installs.
    """

    __slots__ = (
        "_ack_to",
        "_dropped_reads",
        "_given",
        "_read_count",
        "_send_gated",
        "_snapshot_due",
        "_ticket",
        "_ticket_in_flight",
        "_told",
        "ack_index",
        "alarm",
        "applied",
        "applying",
        "commit",
        "commit_heard",
        "config",
        "configurations",
        "dirty",
        "installing",
        "joined",
        "leader",
        "leader_of_term",
        "leadership",
        "log",
        "node_id",
        "quick_campaigns_left",
        "read_sequence",
        "reads",
        "rng",
        "role",
        "saved_term",
        "saved_vote",
        "second_leader",
        "second_leaders_refused",
        "send_now",
        "since",
        "snapshot",
        "snapshot_wanted",
        "term",
        "ticks",
        "timeout",
        "trace",
        "vote",
        "votes",
    )

    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        configuration: Configuration,
        log: LogReader,
        applied: int,
        rng: Rng,
        applied_term: int = 0,
        ticks: Ticks | None = None,
    ) -> None:
        """Start from what was found on disk; `configuration` is the one as of `applied`.

        A crash between the installation of a snapshot and the reset of the log leaves a log that
        does not hold (`applied`, `applied_term`): the host resets it to start after that entry
        before it comes here. `applied_term` 0 means unknown, and then this is not checked.

        Raises RecoveryRefused if the pieces do not fit: then something durable was lost.
        """
        self.config = config
        self.node_id = config.node_id
        self.rng = rng
        self.log = RaftLog(log, cache_bytes_max=config.cache_bytes_max)
        check_recovered(self.log, hard_state, applied, applied_term)

        self.role = Role.FOLLOWER
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.leader = self.leader_of_term = NO_NODE  # followed now; known to have led this term
        self.second_leader = self.second_leaders_refused = 0  # who, last; messages, until told of
        self.votes: dict[int, bool] = {}  # of the campaign that is running
        self.leadership: Leadership | None = None  # exactly while role is LEADER
        self.commit = max(hard_state.commit, applied)
        self.commit_heard = self.commit  # the highest that a leader has told; may be above the log
        self.applied = applied
        self.applying = applied  # highest index given to the host as committed
        self.configurations = find_configurations(
            self.log, configuration, applied=applied, commit=self.commit
        )

        self.saved_term = hard_state.term  # what is on disk
        self.saved_vote = hard_state.vote
        self._given = (hard_state.term, hard_state.vote, hard_state.commit)  # for writing, last
        self._ticket = self._ticket_in_flight = 0  # the newest given out; 0: none

        self.send_now: list[Message] = []
        self._send_gated: list[Message] = []  # wait for the next write
        self.ack_index = NO_ACK  # the newest append to acknowledge, once durable
        self._ack_to = NO_NODE
        self.joined = 0  # what the leader of this term calls our joining; answers repeat it
        self.reads: list[tuple[int, int]] = []
        self._dropped_reads: list[int] = []
        self._read_count = 0
        self.read_sequence = 1  # newest read round; never goes back while this object lives

        self.snapshot: SnapshotMeta | None = None  # newest the host can send
        self.snapshot_wanted = False
        self.installing: SnapshotMeta | None = None
        self._snapshot_due = False  # `installing` has not been given to the host yet

        self.ticks = ticks or Ticks()
        self.since = 0  # when the leader was heard, or as leader the last heartbeat was sent
        self.timeout = 0  # silence after which a leader is given up
        self.alarm = 0  # the tick at which there may be something to do
        self.quick_campaigns_left = 0
        self._told = (self.role, self.term, self.leader)
        self.dirty = self.commit > applied
        self.trace: deque[tuple[str, int, int]] = deque(maxlen=config.trace_count_max)
        election.reset_timer(self)

    # Terms and roles

    def leader_is_near(self) -> bool:
        """Whether a leader was heard within the shortest election timeout.

        Source: Raft thesis, sections 4.2.3 and 6.2.
        """
        silence = self.ticks.now - self.since
        return self.leader != NO_NODE and silence < self.config.election_ticks_min

    def hear_leader(self) -> None:
        """The leader that this replica follows is alive."""
        self.since = self.ticks.now

    def become(self, role: Role, term: int, leader: int) -> None:
        """Change role, term and leader; all that depends on them starts anew."""
        assert term >= self.term
        if self.leadership is not None:
            self._dropped_reads.extend(self.leadership.abandon_reads())
            self.leadership = None
        if term != self.term:
            self.term = term
            self.vote = NO_NODE
            self.ack_index = NO_ACK  # it was for the leader of the older term
            self.joined = 0
            self.leader_of_term = NO_NODE
        self.role = role
        self.leader = leader
        if leader != NO_NODE:
            self.leader_of_term = leader
        self.votes = {}
        self.dirty = True
        self.note(role.value, term)
        election.reset_timer(self)

    def become_follower(self, term: int, leader: int) -> None:
        """Follow `leader`, or nobody yet."""
        if leader != NO_NODE:
            self.quick_campaigns_left = 0
        self.become(Role.FOLLOWER, term, leader)

    def become_leader(self) -> None:
        """Lead: begin with an empty entry, so that older ones can be committed under it.

        Source: Raft thesis, section 6.4.
        """
        assert self.role is Role.CANDIDATE
        assert self.saved_term == self.term
        assert self.saved_vote == self.node_id
        self.become(Role.LEADER, self.term, self.node_id)
        self.quick_campaigns_left = 0
        self.alarm = self.since + 1
        self.leadership = Leadership(self)
        noop = Entry(self.log.last_index + 1, self.term, EntryKind.NOOP, b"")
        self.leadership.append([noop])

    # Time

    def wake_at_next_tick(self) -> None:
        """Tell followers of a new commit index then, if no append has done so before."""
        self.alarm = min(self.alarm, self.ticks.now + 1)

    # Log, promises and news

    def note(self, event: str, about: int) -> None:
        """Record one event with our term and what it is about (mostly a node id)."""
        self.trace.append((event, self.term, about))

    def send_durable(self, message: Message) -> None:
        """Send a message that promises our term and vote: not before they are on disk."""
        if self.saved_term == self.term and self.saved_vote == self.vote:
            self.send_now.append(message)
        else:
            self._send_gated.append(message)
            self.dirty = True

    def acknowledge(self, index: int, to: int) -> None:
        """Tell the leader, once it is durable, that our log agrees with its own up to `index`."""
        assert index <= self.log.last_index
        self.ack_index = max(self.ack_index, index)
        self._ack_to = to
        self.dirty = True

    def commit_to(self, index: int) -> None:
        """Take a higher commit index."""
        assert self.commit < index <= self.log.last_index
        self.commit = index
        self.configurations.settle(index)
        self.dirty = True

    def truncate(self, index: int) -> None:
        """Remove uncommitted entries that the leader does not have."""
        assert index > self.commit
        self.note("truncated", index)
        self.log.truncate(index)
        self.configurations.truncate(index)
        if self.ack_index >= index:
            self.ack_index = NO_ACK

    def begin_install(self, meta: SnapshotMeta) -> None:
        """Give a snapshot to the host as soon as the old log rests; no appends until it is in."""
        assert meta.index > self.commit
        self.installing = meta
        self._snapshot_due = True
        self.dirty = True
