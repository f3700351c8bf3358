"""What a replica knows and does only while it leads: replication, commitment, reads, hand-over.

A Leadership lives as long as one leader's term and is dropped with it. Messages to followers are
not made when there is a reason to send, but in `flush`, once per `take_ready`: everything that
happened in between leaves in one message a follower.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from raft.configuration import ConfigurationChange, change_configuration, leave_joint
from raft.election import lose_leader
from raft.progress import Flow, Progress
from raft.quorum import majority_value
from raft.read_index import ReadQueue
from raft.status import ProgressStatus
from raft.types import (
    NO_NODE,
    Compacted,
    Configuration,
    Entry,
    EntryKind,
    Message,
    MessageType,
    ProposalRefused,
    Refusal,
    heartbeat_message,
)

if TYPE_CHECKING:
    from raft.state import RaftState

HEARTBEAT: Final = MessageType.HEARTBEAT  # as in `raft.core`

# What a quorum is asked for: how far its logs reach, when it was heard, which reads it confirms.
MATCH: Final[Callable[[Progress], int]] = attrgetter("match")
HEARD: Final[Callable[[Progress], int]] = attrgetter("heard")
SEQUENCE: Final[Callable[[Progress], int]] = attrgetter("sequence")

ALWAYS: Final = 1 << 62
"""A clock or read round later than any: what a leader has heard from itself. Ours."""


class Leadership:
    """One leader's term."""

    __slots__ = (
        "_clock",
        "_core",
        "_flush_due",
        "_others",
        "_page",
        "_page_low",
        "_reads",
        "_round_due",
        "_term_start",
        "_transfer_clock",
        "_voters",
        "_voters_outgoing",
        "progress",
        "transferee",
        "uncommitted_bytes",
    )

    def __init__(self, core: "RaftState") -> None:
        self._core = core
        self._clock = 0  # ticks since the election, in steps of a heartbeat
        self._term_start = core.log.last_index + 1  # the index of this term's first entry
        self._reads = ReadQueue()
        self._round_due = False  # a read round was opened and not sent
        self._flush_due = True  # some follower may be sent something
        self._page: Sequence[Entry] = ()  # the last page read, as the next follower may want it too
        self._page_low = 0
        self._transfer_clock = 0
        self.transferee = NO_NODE
        self.uncommitted_bytes = 0  # proposed in this term and not handed to the host as committed
        self.progress: dict[int, Progress] = {}
        self.configuration_changed()

    # Membership

    def configuration_changed(self) -> None:
        """Follow the members in effect: forget those gone, begin to probe those new."""
        core = self._core
        configuration = core.configurations.current
        members = configuration.members()
        before, self.progress = self.progress, {}
        joined = core.configurations.index if before else 0
        for node_id in (*members, core.node_id):
            known = before.get(node_id)
            if known is None:
                next_index = core.log.last_index + 1
                known = Progress(node_id, next_index=next_index, heard=self._clock, joined=joined)
            self.progress[node_id] = known
        own = self.progress[core.node_id]
        own.acknowledged(core.log.durable)
        own.heard = own.sequence = ALWAYS
        self._others = [p for p in self.progress.values() if p is not own]
        self._voters = [self.progress[node_id] for node_id in configuration.voters]
        self._voters_outgoing = [self.progress[n] for n in configuration.voters_outgoing]
        self._wake()

    def propose_change(self, change: ConfigurationChange) -> int:
        """Append the configuration that leads to `change`; return its index."""
        self._check_change_allowed()
        current = self._core.configurations.current
        if current.joint:
            raise ProposalRefused(Refusal.CHANGE_IN_FLIGHT)
        return self._append_configuration(change_configuration(current, change))

    def propose_leave_joint(self) -> int:
        """Append the configuration that ends a joint one; return its index."""
        self._check_change_allowed()
        current = self._core.configurations.current
        if not current.joint:
            raise ProposalRefused(Refusal.NOT_JOINT)
        return self._append_configuration(leave_joint(current))

    def _check_change_allowed(self) -> None:
        """Refuse a change before the last one, or this term's first entry, is committed.

        Source: the correction to the thesis' section 4.1 (D. Ongaro, raft-dev, 2015).
        """
        core = self._core
        if self.transferee:
            raise ProposalRefused(Refusal.TRANSFERRING)
        if core.commit < self._term_start:
            raise ProposalRefused(Refusal.NO_OWN_COMMIT)
        if core.configurations.index > core.commit:
            raise ProposalRefused(Refusal.CHANGE_IN_FLIGHT)

    def _append_configuration(self, configuration: Configuration) -> int:
        """Append and put into effect. Passes every bound: it is how a group is repaired."""
        core = self._core
        index = core.log.last_index + 1
        payload = configuration.encode()
        self.append([Entry(index, core.term, EntryKind.CONFIGURATION, payload)])
        core.configurations.append(index, configuration)
        self.configuration_changed()
        return index

    # Proposals

    def propose(self, payloads: Sequence[bytes]) -> range:
        """Append one entry a payload. Raises ProposalRefused and changes nothing."""
        if self.transferee:
            raise ProposalRefused(Refusal.TRANSFERRING)
        core = self._core
        size_bytes = sum(map(len, payloads))
        uncommitted_bytes = self.uncommitted_bytes + size_bytes
        if self.uncommitted_bytes and uncommitted_bytes > core.config.uncommitted_bytes_max:
            raise ProposalRefused(Refusal.TOO_MANY_BYTES)
        low = core.log.last_index + 1
        term = core.term
        entries = [Entry(low + i, term, 0, payload) for i, payload in enumerate(payloads)]
        if entries:
            self.uncommitted_bytes = uncommitted_bytes
            self.append(entries)
        return range(low, low + len(entries))

    def append(self, entries: list[Entry]) -> None:
        """Put entries at the end of the log; the next flush sends them."""
        self._core.log.append(entries)
        self._wake()

    def committed_taken(self, entries: Sequence[Entry]) -> None:
        """Release the bytes of entries that the host has been given as committed."""
        if entries[-1].index > self._term_start:
            start = self._term_start
            sizes = [len(e.payload) for e in entries if e.index > start and not e.kind]
            self.uncommitted_bytes -= sum(sizes)
            assert self.uncommitted_bytes >= 0

    # Commitment

    def _reached_by_quorum(self, value: Callable[[Progress], int]) -> int:
        """Return the highest value that a majority has reached, of each half if there are two.

        Source: Raft thesis, section 4.3.
        """
        reached = majority_value(list(map(value, self._voters)))
        if self._voters_outgoing:
            reached = min(reached, majority_value(list(map(value, self._voters_outgoing))))
        return reached

    def own_log_persisted(self) -> None:
        """Count this replica's own copy, now that it is on disk."""
        self.progress[self._core.node_id].acknowledged(self._core.log.durable)
        self._maybe_commit()

    def may_evaluate(self) -> bool:
        """Whether an entry of this term is committed and applied."""
        return self._core.applied >= self._term_start

    def _maybe_commit(self) -> bool:
        """Commit what a quorum has, if it ends in an entry of this term; whether it did.

        Source: Raft thesis, section 3.6.2; earlier terms' entries are never counted.
        """
        core = self._core
        index = self._reached_by_quorum(MATCH)
        if index <= core.commit or index < self._term_start:
            return False
        first = core.commit < self._term_start
        core.commit_to(index)
        if first:
            for read_id in self._reads.take_early():
                self.read(read_id)
        self._configuration_committed()
        if core.leadership is self:
            core.wake_at_next_tick()
        return True

    def _configuration_committed(self) -> None:
        """Go on with a change whose entry is committed: leave the joint one, or leave office."""
        core = self._core
        configurations = core.configurations
        if configurations.index > core.commit:
            return
        current = configurations.current
        if current.joint:
            if current.auto_leave:
                self._append_configuration(leave_joint(current))
        elif core.node_id not in current.voters:
            self.flush()
            self.tell_commit()
            core.note("removed", core.node_id)
            self.hand_over()
            core.become_follower(core.term, NO_NODE)

    def tell_commit(self) -> None:
        """Send it to the followers that have not been told the newest commit index."""
        commit = self._core.commit
        untold = [p for p in self._others if p.commit_told < min(commit, p.match)]
        self._send_heartbeats(untold, sequence=0)

    # Replication

    def flush(self) -> None:
        """Make the messages that are due: appends, empty appends, read rounds."""
        if not self._flush_due:
            return
        self._flush_due = False
        for progress in self._others:
            flow = progress.flow
            if flow is Flow.REPLICATE:
                self._send_window(progress)
            elif flow is Flow.PROBE and not progress.probe_sent:
                self._send_append(progress)
        self._page, self._page_low = (), 0
        if self._round_due:
            self._round_due = False
            is_voter = self._core.configurations.current.is_voter
            voters = [progress for progress in self._others if is_voter(progress.node_id)]
            self._send_heartbeats(voters, sequence=self._core.read_sequence)

    def _wake(self) -> None:
        self._flush_due = True
        self._core.dirty = True

    def _send_window(self, progress: Progress) -> None:
        """Send all that is new as far as the window allows, and an empty append if one is due."""
        config = self._core.config
        last_index = self._core.log.last_index
        while (
            progress.next <= last_index
            and len(progress.in_flight) < config.in_flight_count_max
            and progress.in_flight_bytes < config.in_flight_bytes_max
        ):
            progress.nudge = False
            if not self._send_append(progress):
                return
        if progress.nudge:
            progress.nudge = False
            self._send_append(progress, empty=True)

    def _send_append(self, progress: Progress, *, empty: bool = False) -> bool:
        """Send one page from `progress.next`; whether the log reaches down to it."""
        core = self._core
        log = core.log
        low = progress.next
        entries: Sequence[Entry] = ()
        try:
            log_term = log.term(low - 1)
            if low <= log.last_index and not empty:
                if low != self._page_low:
                    high = log.last_index + 1
                    self._page = log.entries(low, high, core.config.append_bytes_max)
                    self._page_low = low
                entries = self._page
        except Compacted:
            self._send_snapshot(progress)
            return False
        commit = core.commit
        told = min(commit, low - 1 + len(entries))
        progress.commit_told = max(progress.commit_told, told)
        core.send_now.append(
            Message(
                MessageType.APPEND,
                core.node_id,
                progress.node_id,
                core.term,
                low - 1,
                log_term,
                commit,
                entries,
                progress.joined,
            )
        )
        if progress.flow is Flow.PROBE:
            progress.probe_sent = True
        elif entries:
            size_bytes = sum([len(entry.payload) for entry in entries])
            progress.sent(entries[-1].index, size_bytes)
        return True

    def _send_snapshot(self, progress: Progress) -> None:
        """Offer the newest snapshot; if it does not meet the log, ask the host for another."""
        core = self._core
        meta = core.snapshot
        if meta is None or meta.index < core.log.first_index() - 1 or meta.index <= progress.match:
            core.snapshot_wanted = True
            progress.become_probe(progress.match + 1)
            progress.probe_sent = True  # until `set_snapshot`, or the next answered heartbeat
            return
        progress.become_snapshot(meta.index)
        core.send_now.append(
            Message(
                MessageType.SNAPSHOT,
                core.node_id,
                progress.node_id,
                core.term,
                sequence=progress.joined,
                snapshot=meta,
            )
        )

    def snapshot_available(self) -> None:
        """Serve the followers that wait for a snapshot."""
        for progress in self._others:
            if progress.flow is Flow.PROBE:
                progress.probe_sent = False
        self._wake()

    def snapshot_sent(self, node_id: int, *, ok: bool) -> None:
        """Take the host's word on the transfer; the follower's own answer decides."""
        progress = self.progress.get(node_id)
        if progress is None or progress.flow is not Flow.SNAPSHOT:
            return
        following = progress.snapshot_index if ok else progress.match
        progress.become_probe(max(progress.match, following) + 1)
        progress.probe_sent = True  # it answers the snapshot, or the next heartbeat
        self._core.note("snapshot_sent" if ok else "snapshot_lost", node_id)

    def peer_unreachable(self, node_id: int) -> None:
        """Begin again with one append at a time: what was in flight may be lost.

        A transfer to it is off: if it has been told to campaign and still does, it wins all the
        same; if it is gone, nobody should wait for it.
        """
        progress = self.progress.get(node_id)
        if progress is not None and node_id != self._core.node_id:
            progress.become_probe(progress.match + 1)
            if node_id == self.transferee:
                self._abort_transfer()
            self._wake()

    # Answers

    def on_append_reply(self, message: Message) -> None:
        """Move a follower's progress by what it says it has, or lacks.

        A member that has left and come back in this term may have another disk: what it said
        before is not about that one.
        """
        progress = self.progress.get(message.sender)
        if progress is None:
            self._core.note("ignored_stranger", message.sender)
            return
        if message.sequence != progress.joined:
            self._core.note("ignored_earlier_member", message.sender)
            return
        progress.heard = self._clock
        if message.reject:
            self._on_append_rejected(progress, message)
            return
        log = self._core.log
        index = message.index
        if index > log.last_index:
            self._core.note("ignored_impossible", message.sender)
            return
        advanced = progress.acknowledged(index)
        flow = progress.flow
        if flow is Flow.PROBE:
            if index == progress.match:
                progress.become_replicate()
        elif flow is Flow.SNAPSHOT and progress.match + 1 >= log.first_index():
            progress.become_replicate()
        if progress.next <= log.last_index:
            self._wake()
        if advanced and self._maybe_commit() and self._core.leadership is not self:
            return
        if progress.node_id == self.transferee and progress.match == log.last_index:
            self._send_timeout_now(progress.node_id)

    def _on_append_rejected(self, progress: Progress, message: Message) -> None:
        """Step back to where the logs may agree: at most one probe a distinct term."""
        rejected = message.index
        stale = not progress.match < rejected < progress.next
        if progress.flow is Flow.PROBE and rejected != progress.next - 1:
            stale = True
        if stale or progress.flow is Flow.SNAPSHOT:
            self._core.note("ignored_stale_reject", message.sender)
            return
        agreed = message.hint
        if message.hint_term:
            agreed, _ = self._core.log.find_conflict(message.hint, message.hint_term)
        next_index = min(rejected, agreed + 1)
        progress.become_probe(max(progress.match + 1, next_index))
        self._wake()

    def on_heartbeat_reply(self, message: Message) -> None:
        """Take a sign of life: it confirms a read round and reveals lost appends."""
        progress = self.progress.get(message.sender)
        if progress is None:
            self._core.note("ignored_stranger", message.sender)
            return
        progress.heard = self._clock
        if progress.flow is Flow.PROBE:
            progress.probe_sent = False
            self._wake()
        elif progress.flow is Flow.REPLICATE:
            if progress.match < self._core.log.last_index:
                if progress.match == progress.match_at_heartbeat:
                    progress.nudge = True
                    self._wake()
                progress.match_at_heartbeat = progress.match
            elif progress.node_id == self.transferee:
                self._send_timeout_now(progress.node_id)  # the first one may have been lost
        if message.sequence > progress.sequence:
            progress.sequence = min(message.sequence, self._core.read_sequence)
            self._confirm_reads()

    def is_heard(self, node_id: int, sequence: int) -> bool:
        """Take an answer to a heartbeat that confirms no read and shows no lag; else False."""
        progress = self.progress.get(node_id)
        if (
            progress is None
            or progress.flow is not Flow.REPLICATE
            or progress.match != self._core.log.last_index
            or progress.sequence < sequence
            or self.transferee
        ):
            return False
        progress.heard = self._clock
        return True

    # Time

    def heartbeat(self, ticks: int) -> None:
        """Let `ticks` pass: step down without a quorum, else tell everybody who leads.

        More ticks at once than lie between heartbeats mean that our host paused; then nobody had
        been asked, so that time is not held against them. Source: Raft thesis, section 6.2.
        """
        core = self._core
        self._clock += min(ticks, core.config.heartbeat_ticks)
        timeout = core.config.election_ticks_min
        if self._clock - self._reached_by_quorum(HEARD) > timeout:
            core.note("quorum_lost", core.term)
            core.become_follower(core.term, NO_NODE)
            lose_leader(core)  # its campaign is the first that those who come back shall hear of
            return
        if self.transferee and self._clock - self._transfer_clock >= timeout:
            self._abort_transfer()
        self._send_heartbeats(self._others, sequence=core.read_sequence)

    def _send_heartbeats(self, followers: Sequence[Progress], *, sequence: int) -> None:
        """Send heartbeats; the commit index of each is one the follower surely holds.

        `sequence` is the newest read round, which the answer confirms; 0 asks for no answer.
        """
        core = self._core
        sender, term, committed = core.node_id, core.term, core.commit
        for progress in followers:
            commit = min(committed, progress.match)
            progress.commit_told = max(progress.commit_told, commit)
            core.send_now.append(
                heartbeat_message(HEARTBEAT, sender, progress.node_id, term, commit, sequence)
            )

    # Reads

    def read(self, read_id: int) -> None:
        """Take one read: serve it at the commit index of now, once leadership is proved."""
        core = self._core
        if core.commit < self._term_start:
            self._reads.add_early(read_id)
            return
        if not self._round_due:
            self._round_due = True
            core.read_sequence += 1
        self._reads.add(core.read_sequence, read_id, core.commit)
        self._wake()
        self._confirm_reads()

    def _confirm_reads(self) -> None:
        """Release the reads of the rounds that a quorum has answered."""
        if not len(self._reads):
            return
        confirmed = self._reads.confirm(self._reached_by_quorum(SEQUENCE))
        if confirmed:
            self._core.reads.extend(confirmed)
            self._core.dirty = True

    def abandon_reads(self) -> list[int]:
        """Hand over the ids of all reads that will not be answered."""
        return self._reads.abandon()

    # Handing over

    def transfer(self, to: int) -> None:
        """Make `to` the next leader; proposals are refused until it is, or time is up.

        Source: Raft thesis, section 3.10.
        """
        core = self._core
        if to == core.node_id:
            self.transferee = NO_NODE
            return
        if to not in core.configurations.current.voters:
            raise ProposalRefused(Refusal.NOT_A_VOTER)
        if to == self.transferee:
            return
        self.transferee = to
        self._transfer_clock = self._clock
        progress = self.progress[to]
        if progress.match == core.log.last_index:
            self._send_timeout_now(to)
        elif progress.flow is Flow.PROBE:
            progress.probe_sent = False
            self._wake()

    def _abort_transfer(self) -> None:
        self._core.note("transfer_aborted", self.transferee)
        self.transferee = NO_NODE
        self._core.dirty = True  # what waited for the end of the transfer can be proposed again

    def hand_over(self) -> None:
        """Ask the voter with the longest log to campaign at once: this replica gives up."""
        configuration = self._core.configurations.current
        heirs = [p for p in self._others if p.node_id in configuration.voters]
        if heirs:
            heir = max(heirs, key=lambda progress: (progress.match, progress.heard))
            self._send_timeout_now(heir.node_id)

    def _send_timeout_now(self, to: int) -> None:
        core = self._core
        core.send_now.append(Message(MessageType.TIMEOUT_NOW, core.node_id, to, core.term))

    def describe(self) -> tuple[ProgressStatus, ...]:
        """Return what is known of every other member."""
        learners = self._core.configurations.current.learners
        timeout = self._core.config.election_ticks_min
        return tuple(
            ProgressStatus(
                node_id=progress.node_id,
                match=progress.match,
                next=progress.next,
                flow=progress.flow.value,
                active=self._clock - progress.heard <= timeout,
                learner=progress.node_id in learners,
            )
            for progress in self._others
        )
