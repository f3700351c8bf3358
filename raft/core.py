"""The consensus core as its host uses it: one replica of one group.

A RaftCore never waits and never does anything by itself. The host tells it what happened (`tick`,
`step`, `propose`, `persisted`, ...) and takes the work that follows (`take_ready`), in the order
that `Ready` describes. All of it is plain `def`: a transition is never seen half done.

Messages of other replicas never make it raise; what cannot be used is noted in `trace` and
dropped. Local calls raise NotLeader or ProposalRefused, and then have changed nothing.
"""

from collections.abc import Sequence
from typing import Final

from raft import election, following
from raft.configuration import ConfigurationChange
from raft.leadership import Leadership
from raft.state import NO_ACK, RaftState
from raft.status import Status, describe
from raft.terms import FROM_LEADER, settle_term
from raft.types import (
    NO_NODE,
    Compacted,
    Configuration,
    HardState,
    LogReader,
    Message,
    MessageType,
    NotLeader,
    RaftConfig,
    Ready,
    Rng,
    Role,
    SnapshotMeta,
)

__all__ = [
    "Compacted",
    "ConfigurationChange",
    "LogReader",
    "NotLeader",
    "RaftConfig",
    "RaftCore",
    "Rng",
]

# Plain module names: an attribute of the enum class costs a lookup more on every message.
APPEND_REPLY: Final = MessageType.APPEND_REPLY
HEARTBEAT_REPLY: Final = MessageType.HEARTBEAT_REPLY

VOTE_REQUESTS: Final = (MessageType.PRE_VOTE, MessageType.VOTE)
VOTE_REPLIES: Final = (MessageType.PRE_VOTE_REPLY, MessageType.VOTE_REPLY)


class RaftCore(RaftState):
    """One replica, as its host uses it.

    The host calls the methods of this class and reads `role`, `term`, `leader`, `commit`,
    `applied`, `last_index`, `may_evaluate`, `configuration`, `trace`, and `dirty`: whether
    `take_ready` has more to give than messages.
    """

    __slots__ = ()

    # What a host may ask

    @property
    def last_index(self) -> int:
        """The index of the last entry in the log, durable or not."""
        return self.log.last_index

    @property
    def configuration(self) -> Configuration:
        """The membership in effect, committed or not."""
        return self.configurations.current

    @property
    def may_evaluate(self) -> bool:
        """Whether this is the leader and an entry of its own term is committed and applied."""
        return self.leadership is not None and self.leadership.may_evaluate()

    def status(self) -> Status:
        """Return everything worth showing."""
        return describe(self)

    # What a host may tell, and what it takes

    def tick(self, n: int = 1) -> None:
        """Let `n` ticks pass. After a pause, step the waiting messages first and cap `n`."""
        self.ticks.now += n
        self.ring()

    def ring(self) -> None:
        """Do what is due by now: heartbeats, news of a commit, or a campaign.

        For a host that counts the ticks of many replicas itself: there is nothing to do before
        `alarm`.
        """
        now = self.ticks.now
        if now < self.alarm:
            return
        leadership = self.leadership
        if leadership is not None:
            beat = now - now % self.config.heartbeat_ticks
            self.alarm = beat + self.config.heartbeat_ticks
            if self.since < beat:
                ticks, self.since = now - self.since, now
                leadership.heartbeat(ticks)
            else:
                leadership.tell_commit()
        elif now - self.since < self.timeout:
            self.alarm = self.since + self.timeout
        else:
            election.on_silence(self)

    def hear_heartbeat(self, sender: int, term: int, commit: int) -> bool:
        """Take a heartbeat that says nothing new, and is answered as it came; else False.

        `step` would do the same with the message; if False, nothing was done and it has to.
        Idle groups say nothing else, and messages would cost more than all the rest.
        """
        if (
            self.leader != sender
            or self.term != term
            or self.commit < commit
            or self.saved_term != term
            or self.saved_vote != self.vote
            or self.leadership is not None
        ):
            return False
        self.since = self.ticks.now
        return True

    def hear_reply(self, sender: int, term: int, sequence: int) -> bool:
        """Take the answer to a heartbeat, as `hear_heartbeat` takes one."""
        leadership = self.leadership
        return (
            leadership is not None and self.term == term and leadership.is_heard(sender, sequence)
        )

    def step(self, message: Message) -> None:
        """Take one message of another replica. Never raises for what the message says."""
        sender = message.sender
        if message.to != self.node_id or sender == self.node_id or not sender:
            self.note("ignored_misdirected", sender)
            return
        if message.term != self.term and not settle_term(self, message):
            return
        message_type = message.type
        if message_type in FROM_LEADER:
            following.on_leader_message(self, message)
        elif message_type == APPEND_REPLY:
            if self.leadership is not None:
                self.leadership.on_append_reply(message)
        elif message_type == HEARTBEAT_REPLY:
            if self.leadership is not None:
                self.leadership.on_heartbeat_reply(message)
        elif message_type in VOTE_REQUESTS:
            election.on_vote_request(self, message)
        elif message_type in VOTE_REPLIES:
            election.on_vote_reply(self, message)
        else:
            self.note("ignored_unknown_type", sender)

    def propose(self, payloads: Sequence[bytes]) -> range:
        """Append one entry a payload and return their indexes.

        Raises NotLeader or ProposalRefused: then surely nothing was proposed.
        """
        leadership = self.leadership
        if leadership is None:
            raise NotLeader(self.leader, self.term)
        return leadership.propose(payloads)

    def propose_configuration(self, change: ConfigurationChange) -> int:
        """Begin a change of members; return the entry's index. Raises as `propose` does."""
        return self._lead().propose_change(change)

    def propose_leave_joint(self) -> int:
        """End a joint configuration that was entered without auto_leave. Raises as `propose`."""
        return self._lead().propose_leave_joint()

    def read_index(self) -> int:
        """Ask for a linearizable read; its id comes back in `reads` or `dropped_reads`.

        Raises NotLeader.
        """
        leadership = self._lead()
        self._read_count += 1
        leadership.read(self._read_count)
        return self._read_count

    def transfer_leader(self, to: int) -> None:
        """Hand leadership to `to`; to itself: call a hand-over off. Raises as `propose` does."""
        self._lead().transfer(to)

    def campaign(self) -> None:
        """Try to become the leader now (with a pre-vote). Does nothing on a leader."""
        if self.role is not Role.LEADER:
            election.campaign(self)

    def step_down(self) -> None:
        """Give up leading or campaigning, e.g. because the disk does not answer.

        A leader asks its best follower to take over at once.
        """
        if self.leadership is not None:
            self.leadership.hand_over()
        if self.role is not Role.FOLLOWER:
            self.note("stepped_down", self.term)
            self.become_follower(self.term, NO_NODE)

    def peer_unreachable(self, node_id: int) -> None:
        """The stream to or from a node broke: probe it anew, or look for another leader soon."""
        if self.leadership is not None:
            self.leadership.peer_unreachable(node_id)
        elif self.leader == node_id != NO_NODE:
            self.note("leader_unreachable", node_id)
            election.lose_leader(self)

    def peer_reachable(self, node_id: int) -> None:
        """A stream to or from a node was opened: a campaign may be won now that was lost before."""
        if self.leader == NO_NODE and self.configurations.current.is_voter(node_id):
            election.on_peer_reachable(self, node_id)

    def suspect(self, node_id: int) -> None:
        """Another group has given a leader up: do so, too, if the shortest timeout has passed."""
        if self.leader == node_id != self.node_id and not self.leader_is_near():
            election.on_silence(self)

    def persisted(self, ticket: int) -> None:
        """The write of a Ready is durable. Only now does this replica's own promise count."""
        assert ticket == self._ticket_in_flight
        assert ticket > 0
        self._ticket_in_flight = 0
        self.saved_term, self.saved_vote, _ = self._given
        self.log.persisted()
        self.dirty = True
        if self.leadership is not None:
            self.leadership.own_log_persisted()
        elif self.role is Role.CANDIDATE and self.saved_term == self.term:
            election.own_vote_persisted(self)

    def applied_to(self, index: int) -> None:
        """The host has applied the committed entries up to `index`."""
        assert self.applied <= index <= self.applying
        self.applied = index
        self.log.shrink(index)

    def set_snapshot(self, meta: SnapshotMeta) -> None:
        """The host can send this snapshot; its index must not be above `applied`.

        A replica that began without a configuration and has applied none yet makes no snapshot
        and cuts no log: the receiver could not know its group.
        """
        assert meta.index <= self.applied
        assert meta.configuration.voters
        self.snapshot = meta
        if self.leadership is not None:
            self.leadership.snapshot_available()

    def snapshot_sent(self, to: int, ok: bool) -> None:  # noqa: FBT001 (the contract's shape)
        """The transfer of a snapshot to `to` ended: it has all of it, or it failed."""
        if self.leadership is not None:
            self.leadership.snapshot_sent(to, ok=ok)

    def snapshot_installed(self, index: int) -> None:
        """The snapshot is installed, durably, and the log on disk starts after it."""
        meta = self.installing
        assert meta is not None
        assert meta.index == index
        assert not self._snapshot_due
        self.installing = None
        self.log.restore(index, meta.term)
        self.configurations.reset(index, meta.configuration)
        self.commit = self.applied = self.applying = index
        self.note("snapshot_installed", index)
        self.dirty = True
        if self.leader != NO_NODE:
            self.acknowledge(index, self.leader)

    def snapshot_failed(self) -> None:
        """The snapshot could not be installed and nothing was changed: go on without it."""
        assert self.installing is not None
        assert not self._snapshot_due
        self.note("snapshot_failed", self.installing.index)
        self.installing = None

    def has_ready(self) -> bool:
        """Whether `take_ready` may have something to give."""
        return self.dirty or bool(self.send_now)

    def take_ready(self, persist: bool = True) -> Ready:  # noqa: FBT001, FBT002 (the contract's)
        """Hand over the work that is due.

        With `persist` False, while a log commit is in flight, only what needs no new write.
        With `persist` True no ticket of this core may be in flight.
        """
        leadership = self.leadership
        if leadership is not None:
            leadership.flush()
        send_now, self.send_now = self.send_now, []
        reads, self.reads = self.reads, []
        dropped_reads, self._dropped_reads = self._dropped_reads, []
        told = (self.role, self.term, self.leader)
        role_changed = told != self._told
        self._told = told
        ready = Ready(
            0, None, None, [], None, send_now, [], [], reads, dropped_reads,
            role_changed, self.snapshot_wanted,
        )  # fmt: skip
        self.snapshot_wanted = False
        self._take_acknowledgement(ready, persist=persist)
        if persist:
            self._take_write(ready)
        more = self._take_committed(ready)
        if persist and self._snapshot_due and not more and not ready.ticket:
            # Nothing of the old log is on its way to the disk or to the host any more.
            ready.snapshot = self.installing
            self._snapshot_due = False
        self.dirty = more or (not persist and self._has_gated_work())
        return ready

    def take_messages(self) -> list[Message]:
        """Hand over what may leave now; all there is to take while `dirty` is False.

        Idle groups only exchange heartbeats, and a Ready would cost more than those.
        """
        messages, self.send_now = self.send_now, []
        return messages

    def take_news(self) -> list[Message]:
        """Hand over what tells followers of a commit index that nothing else has told them.

        For a host that has nothing more to send: else the next append or tick tells them.
        """
        if self.leadership is not None:
            self.leadership.tell_commit()
        return self.take_messages()

    def _lead(self) -> Leadership:
        if self.leadership is None:
            raise NotLeader(self.leader, self.term)
        return self.leadership

    # Ready, piece by piece

    def _take_acknowledgement(self, ready: Ready, *, persist: bool) -> None:
        """Acknowledge appends: at once if all of it is durable, else with the next write."""
        index = self.ack_index
        if index == NO_ACK:
            return
        durable = index <= self.log.durable and self.saved_term == self.term
        if durable or persist:
            self.ack_index = NO_ACK
            reply = Message(
                APPEND_REPLY, self.node_id, self._ack_to, self.term, index, 0, 0, (), self.joined
            )
            if durable:
                ready.send_now.append(reply)
            else:
                self._send_gated.append(reply)

    def _take_write(self, ready: Ready) -> None:
        """Fill in what has to be written, and the messages that wait for it."""
        log = self.log
        given = self._given
        term_changed = given[0] != self.term or given[1] != self.vote
        if not term_changed and not log.needs_write():  # a commit index alone is never written
            assert not self._ticket_in_flight or not self._send_gated
            if self._send_gated:
                ready.send_now.extend(self._send_gated)
                self._send_gated = []
            return
        assert self._ticket_in_flight == 0
        ready.truncate_from, ready.entries = log.take()
        if term_changed or given[2] != self.commit:
            self._given = (self.term, self.vote, self.commit)
            ready.hard_state = HardState(self.term, self.vote, self.commit)
        self._ticket += 1
        ready.ticket = self._ticket_in_flight = self._ticket
        ready.send_after, self._send_gated = self._send_gated, []

    def _take_committed(self, ready: Ready) -> bool:
        """Fill in a page of what is committed and durable; whether there is more."""
        high = min(self.commit, self.log.durable)
        handed = self.applying
        if high <= handed or (self.installing is not None and not self._snapshot_due):
            return False
        ready.committed = self.log.entries(handed + 1, high + 1, self.config.committed_bytes_max)
        assert ready.committed[0].index == handed + 1
        self.applying = ready.committed[-1].index
        if self.leadership is not None:
            self.leadership.committed_taken(ready.committed)
        return self.applying < high

    def _has_gated_work(self) -> bool:
        """Whether something waits for the next take_ready that may write."""
        return (
            bool(self._send_gated)
            or self.ack_index != NO_ACK
            or self._snapshot_due
            or self._given[0] != self.term
            or self._given[1] != self.vote
            or self.log.needs_write()
        )
