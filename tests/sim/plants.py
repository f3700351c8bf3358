"""Planted bugs: each a small change of the real code that the simulation must find.

`python -m tests.sim.plants [--runs K] [--clients-only] [NAME ...]` shows which seed found which.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

from node import checkpoints
from node.host import Host
from node.machine.dedupe import DedupeWindow
from node.machine.leadership import Leadership as PartitionLeadership
from node.machine.leadership import Proposal
from node.machine.partition import PartitionMachine
from node.replica import GetReads, PartitionReplica, Replica
from node.storage.log import GroupWrite
from quorate.cluster.outcome import Outcome
from raft import core as raft_core
from raft import election, following, leadership
from raft.core import RaftCore
from raft.leadership import Leadership
from raft.log import RaftLog
from raft.quorum import majority_value
from raft.types import HardState, Message, Role
from router import dispatch
from router.dispatch import Dispatch
from router.refusals import no_answer_in_time
from router.routed import Routed, RoutedWrite
from tests.sim.disk import GroupLog, MemoryItemStore, MemoryRecord
from tests.sim.nodes import SimulatedNode
from tests.sim.world import SimulationFailed, run_seed

RUNS = 2_000
"""A plant must be found within so many seeds."""

Change = tuple[object, str, object]
Plant = Callable[[], Sequence[Change]]
PLANTS: dict[str, Plant] = {}


def plant(make: Plant) -> Plant:
    """Register a plant under its function's name."""
    PLANTS[make.__name__] = make
    return make


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Change the code for as long as the context lasts; None changes nothing."""
    with ExitStack() as undo:
        for owner, attribute, value in PLANTS[name]() if name else ():
            kept = vars(owner)[attribute]
            undo.callback(setattr, owner, attribute, kept)
            setattr(owner, attribute, value)
        yield


# Durability


@plant
def ack_before_sync() -> Sequence[Change]:
    """The log commit is called done before it is on the disk."""

    def write_log(self: SimulatedNode, record: Any) -> None:
        self.world.schedule.after(0.05, late, self, self.life, record)
        self._later(0.0001, self._log_written)

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

    def send_at_once(self: RaftCore, message: Message) -> None:
        self.send_now.append(message)
        self.dirty = True

    return [(RaftCore, "send_durable", send_at_once)]


@plant
def append_acknowledged_before_sync() -> Sequence[Change]:
    """A follower acknowledges entries that are still on their way to its disk."""
    take = RaftCore._take_acknowledgement

    def early(self: RaftCore, ready: Any, *, persist: bool) -> None:
        index, to = self._ack_index, self._ack_to
        if index > 0 and persist:
            self._ack_index = -1
            kind = raft_core.APPEND_REPLY
            ready.send_now.append(Message(kind, self.node_id, to, self.term, index))
            return
        take(self, ready, persist=persist)

    return [(RaftCore, "_take_acknowledgement", early)]


# Consensus


@plant
def truncate_committed() -> Sequence[Change]:
    """An append replaces all that follows its previous entry, also what is the same."""
    on_append = following.on_append

    def replacing(core: RaftCore, message: Message) -> None:
        log = core.log
        if (
            message.entries
            and log.first_index() <= message.index < log.last_index
            and core.installing is None
            and log.matches(message.index, message.log_term)
        ):
            log.truncate(message.index + 1)
            core.configurations.truncate(message.index + 1)
        on_append(core, message)

    return [(following, "on_append", replacing)]


@plant
def commit_by_counting_older_terms() -> Sequence[Change]:
    """A leader commits entries of older terms by counting their copies (paper, figure 8)."""
    maybe_commit = Leadership._maybe_commit

    def counting(self: Leadership) -> bool:
        start, self._term_start = self._term_start, 0
        try:
            return maybe_commit(self)
        finally:
            self._term_start = start

    return [(Leadership, "_maybe_commit", counting)]


@plant
def vote_for_shorter_log() -> Sequence[Change]:
    """A vote does not look at the candidate's log."""
    return [(RaftLog, "is_covered_by", lambda self, index, term: True)]


@plant
def no_pre_vote() -> Sequence[Change]:
    """A campaign begins with a new term, whatever the others would say."""

    def at_once(core: RaftCore) -> None:
        if core.promotable():
            election.become_candidate(core, hint=0)

    return [(election, "campaign", at_once)]


@plant
def no_check_quorum() -> Sequence[Change]:
    """A leader that hears nobody goes on leading."""
    heartbeat = Leadership.heartbeat

    def deaf(self: Leadership, ticks: int) -> None:
        for progress in self._others:
            progress.heard = self._clock
        heartbeat(self, ticks)

    return [(Leadership, "heartbeat", deaf)]


# Reads and conditions


@plant
def read_without_proof() -> Sequence[Change]:
    """Whoever believes that it leads serves strong reads at once."""

    def at_once(self: Replica) -> None:
        reads, self._reads = self._reads, []
        for read in reads:
            read.serve(self)

    return [(Replica, "start_reads", at_once)]


@plant
def read_confirmed_by_older_round() -> Sequence[Change]:
    """Any answer to a heartbeat confirms all reads, also those asked for after it was sent."""
    on_reply = Leadership.on_heartbeat_reply

    def confirming(self: Leadership, message: Message) -> None:
        message.sequence = self._core.read_sequence
        on_reply(self, message)

    return [(Leadership, "on_heartbeat_reply", confirming)]


@plant
def read_from_speculative_image() -> Sequence[Change]:
    """Gets see what is proposed and not committed."""
    serve = GetReads.serve

    def speculative(self: GetReads, of: Replica) -> None:
        assert isinstance(of, PartitionReplica)
        machine, leads = of.machine, of._leadership

        class Machine:
            @staticmethod
            def image(key: bytes) -> bytes:
                writer = leads._speculative.get(key) if leads else None
                return writer.fresh[key] if writer else machine.image(key)

        of.machine = Machine()  # type: ignore[assignment]
        try:
            serve(self, of)
        finally:
            of.machine = machine

    return [(GetReads, "serve", speculative)]


@plant
def condition_failed_without_proof() -> Sequence[Change]:
    """A failed condition is answered at once."""
    proposed = PartitionLeadership.proposed

    def at_once(self: PartitionLeadership, proposal: Proposal, index: int) -> None:
        proposed(self, proposal, index)
        columns = proposal.columns
        for stream, slot, units, request_id in zip(
            proposal.streams, proposal.slots, columns.units, columns.request_ids, strict=True
        ):
            if not units:
                answer = columns.answers[request_id]
                stream.answer(slot, Outcome(answer[0]), 0, answer[1:])

    return [(PartitionLeadership, "proposed", at_once)]


@plant
def refusals_forgotten() -> Sequence[Change]:
    """A failed condition is not remembered: an attempt that was slow can take effect later."""
    add = DedupeWindow.add

    def only_writes(
        self: DedupeWindow,
        request_ids: Sequence[bytes],
        units: Sequence[int],
        answers: dict[bytes, bytes],
    ) -> None:
        kept = [position for position, unit in enumerate(units) if unit]
        add(self, [request_ids[at] for at in kept], [units[at] for at in kept], answers)

    return [(DedupeWindow, "add", only_writes)]


@plant
def evaluate_before_own_commit() -> Sequence[Change]:
    """A new leader evaluates writes before all that its predecessors committed is applied."""
    return [(RaftCore, "may_evaluate", property(lambda core: core.role is Role.LEADER))]


@plant
def evaluate_against_committed_image() -> Sequence[Change]:
    """A write is evaluated against the committed image, not the newest proposed one."""
    proposed = PartitionLeadership.proposed

    def forgetful(self: PartitionLeadership, proposal: Any, index: int) -> None:
        proposed(self, proposal, index)
        self._speculative.clear()

    def resolve(self: PartitionLeadership, proposal: Any) -> None:
        self._speculative.update(dict.fromkeys(proposal.fresh, proposal))
        original(self, proposal)

    original = PartitionLeadership.resolve
    return [(PartitionLeadership, "proposed", forgetful), (PartitionLeadership, "resolve", resolve)]


# Exactly once


@plant
def no_dedupe() -> Sequence[Change]:
    """Whoever evaluates does not ask whether a request id was applied before."""
    evaluate, find = PartitionLeadership.evaluate, DedupeWindow.find
    evaluating = [False]

    def forgetful(self: PartitionLeadership, *arguments: Any, **named: Any) -> Any:
        evaluating[0] = True
        try:
            return evaluate(self, *arguments, **named)
        finally:
            evaluating[0] = False

    return [
        (PartitionLeadership, "evaluate", forgetful),
        (DedupeWindow, "find", lambda self, i: None if evaluating[0] else find(self, i)),
    ]


@plant
def no_dedupe_in_flight() -> Sequence[Change]:
    """A retry of what is proposed and not applied is proposed again."""
    proposed = PartitionLeadership.proposed

    def forgetful(self: PartitionLeadership, proposal: Any, index: int) -> None:
        proposed(self, proposal, index)
        for request_id in proposal.columns.request_ids:
            self._in_flight.pop(request_id, None)

    def resolve(self: PartitionLeadership, proposal: Any) -> None:
        self._in_flight.update(dict.fromkeys(proposal.columns.request_ids, proposal))
        original(self, proposal)

    original = PartitionLeadership.resolve
    return [(PartitionLeadership, "proposed", forgetful), (PartitionLeadership, "resolve", resolve)]


@plant
def ids_forgotten_at_checkpoint() -> Sequence[Change]:
    """A checkpoint does not store the request ids since the last one."""
    rotate = DedupeWindow.rotate

    def forgetful(self: DedupeWindow, now: float) -> Any:
        return None, rotate(self, now)[1]

    return [(DedupeWindow, "rotate", forgetful)]


@plant
def ids_not_restored_at_start() -> Sequence[Change]:
    """A restarted replica begins with no request ids but those of the log it replays."""

    def make(self: Host, group: int, state: Any) -> PartitionMachine:
        return PartitionMachine(self._items, state.table_sizes, [])

    return [(Host, "_make_machine", make)]


@plant
def ids_forgotten_in_snapshot() -> Sequence[Change]:
    """A snapshot brings the items and not the request ids."""
    install = MemoryItemStore.install_snapshot

    def forgetful(self: MemoryItemStore, group: int, *arguments: Any) -> Any:
        decoded = install(self, group, *arguments)
        if group:
            self._disk.generations[group] = {}
        return decoded

    return [(MemoryItemStore, "install_snapshot", forgetful)]


# Checkpoints and the log


@plant
def checkpoint_loses_an_image() -> Sequence[Change]:
    """A checkpoint does not write the last item of its batch."""
    checkpoint = MemoryItemStore.checkpoint

    def forgetful(self: MemoryItemStore, batch: Any) -> None:
        for part in batch:
            part.items = list(part.items)[:-1]
        checkpoint(self, batch)

    return [(MemoryItemStore, "checkpoint", forgetful)]


@plant
def checkpoint_without_applied_index() -> Sequence[Change]:
    """A checkpoint moves images and sizes but not the applied index: the log is replayed twice."""
    checkpoint = MemoryItemStore.checkpoint

    def forgetful(self: MemoryItemStore, batch: Any) -> None:
        before = self.replicas()
        for part in batch:
            known = before.get(part.group)
            if known is not None and part.group:
                part.state.applied_index = known.applied_index
                part.state.applied_term = known.applied_term
        checkpoint(self, batch)

    return [(MemoryItemStore, "checkpoint", forgetful)]


@plant
def log_cut_above_durable_applied() -> Sequence[Change]:
    """The log is cut at what is applied instead of what is applied in the tree."""

    def cut(self: checkpoints.Checkpointer) -> None:
        if self._log.size_bytes() > checkpoints.LOG_BYTES_MAX:
            for group, each in self._replicas.items():
                if not each.installing:
                    index = min(each.core.applied, self._log.reader(group).last_index())
                    if index >= self._log.reader(group).first_index():
                        self._log.cut(group, index)

    return [(checkpoints.Checkpointer, "_cut_log", cut)]


# The router


@plant
def unknown_is_success() -> Sequence[Change]:
    """The router takes "unknown" for "done"."""
    refused = Dispatch._refused

    def glad(self: Dispatch, routed: Routed, node_id: int, outcome: int, payload: bytes) -> None:
        if outcome == Outcome.UNKNOWN and routed.is_write:
            self._remove(routed)
            routed.owner.answered(routed, 1, b"")
            return
        refused(self, routed, node_id, outcome, payload)

    return [(Dispatch, "_refused", glad)]


@plant
def resent_with_new_id() -> Sequence[Change]:
    """The router sends a write again under another request id."""
    again = Dispatch._again
    numbers = count(1)

    def renaming(self: Dispatch, routed: Routed) -> None:
        if isinstance(routed, RoutedWrite) and routed.sent:
            routed.request_id = b"again" + next(numbers).to_bytes(11, "big")
        again(self, routed)

    return [(Dispatch, "_again", renaming)]


@plant
def expired_is_not_done() -> Sequence[Change]:
    """At the deadline the router says "nothing was done", also of what may have been proposed."""

    def expire(self: Dispatch, routed: Routed) -> None:
        routed.maybe_proposed = False
        self._fail(routed, no_answer_in_time(led=True))

    return [(Dispatch, "_expire", expire)]


@plant
def broken_stream_is_not_done() -> Sequence[Change]:
    """The router forgets that what was on a broken stream may have been proposed."""

    def again(self: Dispatch, routed: Routed) -> None:
        routed.sent = False
        self._route(routed)

    return [(dispatch.Dispatch, "_again", again)]


def find(name: str, runs: int, *, clients_only: bool = False) -> tuple[int, str] | None:
    """Return the first seed that finds a plant, and by what."""
    with planted(name):
        for seed in range(runs):
            try:
                run_seed(seed, clients_only=clients_only)
            except SimulationFailed as failure:
                return seed, failure.finding
    return None


def main() -> int:
    """Look for every plant; return how many were not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.plants", description=__doc__)
    parser.add_argument("names", nargs="*", help="plants; all if none is given")
    parser.add_argument("--runs", type=int, default=RUNS, help="most seeds for each")
    parser.add_argument(
        "--clients-only", action="store_true", help="by what clients see, without the invariants"
    )
    arguments = parser.parse_args()
    missed = 0
    for name in arguments.names or PLANTS:
        started = time.perf_counter()
        found = find(name, arguments.runs, clients_only=arguments.clients_only)
        seconds = time.perf_counter() - started
        if found is None:
            missed += 1
            print(f"{name:34} NOT FOUND in {arguments.runs} seeds ({seconds:.1f} s)", flush=True)
        else:
            print(
                f"{name:34} seed {found[0]:4}  {seconds:6.1f} s  {found[1].splitlines()[0][:110]}",
                flush=True,
            )
    return missed


if __name__ == "__main__":
    sys.exit(main())
