"""Which node gets a request, and what happens when that node does not simply answer it.

Everything here is a decision: no sockets, no tasks, no clock of its own. Streams, answers, hints
and the passing of time come in as calls; requests leave through `NodeStream.send`, and each ends
in exactly one call of its owner.

Rules:
- A write or strong read goes to the leader; an eventual read to the nearest live replica, but to
  the leader while it could miss what this router has just acknowledged.
- "Surely not proposed" answers are retried until the deadline, without the client noticing.
- After a broken stream, an UNKNOWN, or a newer leader, the same request id goes out again: nodes
  know the ids of recent writes, so it takes effect at most once.
- At the deadline a write that may have been proposed ends as "outcome unknown", nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from model.errors import ModelError
from model.keys import token_of
from quorate.cluster.catalog import Catalog
from quorate.cluster.outcome import Outcome
from quorate.cluster.ring import Ring
from quorate.logs import bug
from router.in_flight import InFlightLimit
from router.leaders import LeaderCache
from router.refusals import (
    error_of,
    no_answer_in_time,
    outcome_unknown,
    overloaded,
    router_bug,
    router_full,
    storage_full,
)
from router.routed import NEVER, Routed, RoutedWrite, Stage

TICK_SECONDS: Final = 0.025
"""How often `tick` is called; deadlines and backoffs are that coarse. Ours."""

PENDING_MAX: Final = 20_000
"""Most requests taken and not yet answered. Ours: about a second of work for one process."""

PENDING_PER_PARTITION_MAX: Final = 5_000
"""Most of them for one partition: one that has no quorum must not shut the others out. Ours."""

PENDING_BYTES_MAX: Final = 256 << 20
"""Most bytes of images and programs held by them. Ours."""

PROBE_SECONDS: Final = 0.075
"""With no known leader, one replica after the other is asked in this rhythm. Ours."""

RETRY_SECONDS: Final = 0.05
"""Pause before a refusal that passes by itself is tried again. Ours."""

OVERLOADED_BACKOFF_SECONDS: Final = 0.02
"""First pause after OVERLOADED; doubles with each. Ours."""

OVERLOADED_ATTEMPTS_MAX: Final = 4
"""After so many OVERLOADED answers the client is told: it should slow down. Ours."""

EVENTUAL_PATIENCE_SECONDS: Final = 0.3
"""An eventual read that has no answer for so long is asked of another replica. Ours."""


STUCK_SECONDS: Final = 0.5
"""A partition that has answered nothing for so long is stuck, and says nothing of the others.
Ours."""

FRESH_SECONDS: Final = 1.0
"""How long after a write eventual reads of its partition go to the leader, which surely has it:
programs read what they just wrote. Ours: followers are behind by milliseconds."""


class NodeStream(Protocol):
    """The part of `router.upstream.Upstream` that the decisions need."""

    @property
    def connected(self) -> bool:
        """Whether the stream is open and the node has answered on it."""
        ...

    @property
    def stalled(self) -> bool:
        """Whether the node has not accepted the last batch for a while."""
        ...

    def send(self, routed: Routed) -> None:
        """Put a request into the outbox; it is bounded by the pending requests."""
        ...


@dataclass(slots=True)
class DispatchCounters:
    """What happened so far, for the metrics."""

    retries: int = 0
    refused_full: int = 0
    unknown_outcomes: int = 0
    batches: int = 0


@dataclass(slots=True)
class _Waiters:
    """Requests of one partition that have nowhere to go, and the search for its leader.

    It stays when the last request leaves, so that the search keeps its rhythm.
    """

    requests: dict[Routed, None] = field(default_factory=dict)  # in order of arrival
    probe_at: float = 0.0
    probe_turn: int = 0


class Dispatch:
    """Pending requests, by slot, and the decisions on them.

    Invariant: every pending request is in `_pending` under its slot, and its stage is AT_NODE,
    WAITING (then also in `_waiters`) or BACKING_OFF (then `retry_at` is finite).
    """

    def __init__(
        self,
        *,
        az: str,
        clock: Callable[[], float],
        on_stale_catalog: Callable[[], None],
        pending_max: int = PENDING_MAX,
        pending_per_partition_max: int = PENDING_PER_PARTITION_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
    ) -> None:
        """Take the clock that deadlines are on; `on_stale_catalog` asks for a newer one."""
        self._az = az
        self._clock = clock
        self._on_stale_catalog = on_stale_catalog
        self._pending_max = pending_max
        self._pending_per_partition_max = pending_per_partition_max
        self._pending_bytes_max = pending_bytes_max
        self._pending: dict[int, Routed] = {}
        self._pending_bytes = 0
        self._pending_by_partition: dict[int, int] = {}
        self._last_slot = 0
        self._stuck_count = 0  # of the pending requests: those that no live node works on
        self._ticked_at = clock()
        self._in_flight_limit = InFlightLimit(self._ticked_at)
        self._waiters: dict[int, _Waiters] = {}
        self._streams: Mapping[int, NodeStream] = {}
        self._ring: Ring | None = None
        self._read_order: dict[int, tuple[int, ...]] = {}
        self._written_at: dict[int, float] = {}  # last acknowledged write, by partition
        self._answered_at: dict[int, float] = {}  # last request done, by partition
        self.leaders = LeaderCache()
        self.counters = DispatchCounters()

    @property
    def pending_count(self) -> int:
        """How many requests are taken and not yet answered."""
        return len(self._pending)

    @property
    def in_flight_max(self) -> float:
        """How many of these may be at nodes now."""
        return self._in_flight_limit.count

    @property
    def is_full(self) -> bool:
        """Whether the nodes have all that they can answer soon: further calls had better not begin.

        Requests that are stuck, for want of a leader or at a frozen node, do not count: they must
        not shut out those for other partitions. `submit` bounds them, too.
        """
        return len(self._pending) - self._stuck_count >= self._in_flight_limit.count

    def is_led(self, partition: int) -> bool:
        """Return whether requests for the leader of a partition have somewhere to go."""
        stream = self._streams.get(self.leaders.leader_of(partition))
        return stream is not None and stream.connected

    # What the cluster looks like

    def catalog_changed(
        self, catalog: Catalog, ring: Ring, streams: Mapping[int, NodeStream]
    ) -> None:
        """Take a new partition map and the live mapping of node id to stream."""
        az_by_node = {node.id: node.az for node in catalog.nodes}
        self._ring = ring
        self._streams = streams
        self._read_order = {
            partition.id: tuple(
                sorted(partition.replicas, key=lambda node: az_by_node.get(node) != self._az)
            )
            for partition in catalog.partitions
        }
        for routed in list(self._pending.values()):
            if routed.stage is Stage.WAITING or routed.stage is Stage.BACKING_OFF:
                self._route(routed)

    # Requests in

    def submit(self, routed: Routed) -> None:
        """Take a request and send it. Raises a throttling ModelError when full, taking nothing."""
        assert routed.stage is Stage.NEW
        partition_count = self._pending_by_partition.get(routed.partition, 0)
        if (
            len(self._pending) >= self._pending_max
            or partition_count >= self._pending_per_partition_max
            or self._pending_bytes + routed.size_bytes > self._pending_bytes_max
        ):
            self.counters.refused_full += 1
            raise router_full()
        self._pending_by_partition[routed.partition] = partition_count + 1
        self._pending_bytes += routed.size_bytes
        self._last_slot = slot = self._last_slot + 1
        routed.slot = slot
        self._pending[slot] = routed
        if routed.eventual:
            self._route_eventual(routed)
        else:
            self._route(routed)

    # Answers in

    def answered(
        self,
        node_id: int,
        slots: Sequence[int],
        outcomes: Sequence[int],
        units: Sequence[int],
        payloads: Sequence[bytes],
    ) -> None:
        """Take the answers of one reply: element i of every column belongs to slot i."""
        pending = self._pending
        now = self._clock()
        ended = 0
        seconds = 0.0
        for slot, outcome, unit, payload in zip(slots, outcomes, units, payloads, strict=True):
            routed = pending.get(slot)
            if routed is None:
                continue  # expired, or sent again meanwhile under a new slot
            if outcome == Outcome.OK:
                if routed.is_write:
                    self._written_at[routed.partition] = now
                self._answered_at[routed.partition] = now
                ended += 1
                seconds += now - routed.sent_at
                self._remove(routed)
                self._confirm_leader(routed, node_id)
                try:
                    routed.owner.answered(routed, unit, payload)
                except ModelError as error:
                    routed.owner.failed(routed, error)
                except Exception:  # noqa: BLE001 - a bug in one answer must not end the stream
                    bug("answer_failed", to="request")
                    routed.owner.failed(routed, router_bug())
            else:
                routed.refused_units = unit
                self._refused(routed, node_id, outcome, payload)
        self._in_flight_limit.ended(ended, seconds)

    def page_arrived(
        self,
        node_id: int,
        slot: int,
        outcome: int,
        keys: Sequence[bytes],
        images: Sequence[bytes],
        *,
        more: bool,
    ) -> None:
        """Take the answer of a range read."""
        routed = self._pending.get(slot)
        if routed is None:
            return
        if outcome != Outcome.OK:
            self._refused(routed, node_id, outcome, b"")
            return
        self._remove(routed)
        self._confirm_leader(routed, node_id)
        try:
            routed.owner.page_arrived(routed, keys, images, more=more)
        except ModelError as error:
            routed.owner.failed(routed, error)
        except Exception:  # noqa: BLE001 - a bug in one answer must not end the stream
            bug("answer_failed", to="range read")
            routed.owner.failed(routed, router_bug())

    def learned_leaders(self, hints: Iterable[tuple[int, int, int]]) -> None:
        """Take (partition, term, leader) hints: waiting and misdirected requests go there."""
        moved = {
            partition
            for partition, term, leader in hints
            if self.leaders.learn(partition, term, leader)
        }
        if not moved:
            return
        for partition in moved:
            self._release(partition)
        misdirected = [
            routed
            for routed in self._pending.values()
            if routed.partition in moved
            and routed.stage is Stage.AT_NODE
            and not routed.eventual
            and routed.node_id != self.leaders.leader_of(routed.partition)
        ]
        for routed in misdirected:
            self._again(routed)

    # Streams

    def stream_opened(self, node_id: int) -> None:
        """Send what waits for this node."""
        for partition in self._waiters:
            if node_id in self._read_order.get(partition, ()):
                self._release(partition)

    def stream_broken(self, node_id: int) -> None:
        """Take everything back that was at this node; what was sent may have been proposed."""
        for routed in list(self._pending.values()):
            if routed.stage is Stage.AT_NODE and routed.node_id == node_id:
                self._again(routed)

    def drop_all(self) -> None:
        """End every request: this process has slept, and nobody waits for them any more.

        What may have been done ends as unknown.
        """
        for routed in list(self._pending.values()):
            if routed.stage is not Stage.DONE:
                self._expire(routed)

    # Time

    def tick(self) -> None:
        """Expire what is late, go on with what has paused, look for leaders that nobody knows."""
        now = self._clock()
        late: list[Routed] = []
        due: list[Routed] = []
        stuck_count = 0
        stuck_before = now - STUCK_SECONDS
        for routed in self._pending.values():
            if routed.stage is not Stage.AT_NODE or (
                routed.sent_at < stuck_before
                and self._answered_at.get(routed.partition, 0.0) < stuck_before
            ):
                stuck_count += 1
            if routed.deadline <= now:
                late.append(routed)
            elif routed.retry_at <= now:
                due.append(routed)
        self._stuck_count = stuck_count
        loop_delay = max(0.0, now - self._ticked_at - TICK_SECONDS)
        self._ticked_at = now
        self._in_flight_limit.tick(now, len(self._pending) - stuck_count, loop_delay)
        for routed in late:
            if routed.stage is not Stage.DONE:
                self._expire(routed)
        for routed in due:
            if routed.stage is Stage.BACKING_OFF:
                self._route(routed)
            elif routed.stage is Stage.AT_NODE:
                self._again(routed)  # an eventual read whose replica is silent
        for partition, waiters in self._waiters.items():
            if waiters.requests and waiters.probe_at <= now:
                waiters.probe_at = now + PROBE_SECONDS
                self._probe(partition, waiters)

    # Decisions

    def _route(self, routed: Routed) -> None:
        """Send a request to where it belongs now, or let it wait."""
        if routed.eventual:
            self._route_eventual(routed)
            return
        leader = self.leaders.leader_of(routed.partition)
        stream = self._streams.get(leader)
        if stream is not None and stream.connected:
            self._send(routed, leader, stream)
        else:
            self._wait(routed)

    def _eventual_order(self, partition: int) -> Sequence[int]:
        """Return a partition's replicas, those first that an eventual read should ask first."""
        order = self._read_order.get(partition, ())
        if self._clock() - self._written_at.get(partition, -FRESH_SECONDS) >= FRESH_SECONDS:
            return order
        leader = self.leaders.leader_of(partition)
        return (leader, *(node_id for node_id in order if node_id != leader))

    def _route_eventual(self, routed: Routed) -> None:
        """Send a read to the nearest live replica; each further attempt to another one."""
        live: list[int] = []
        for node_id in self._eventual_order(routed.partition):
            stream = self._streams.get(node_id)
            if stream is not None and stream.connected:
                if not stream.stalled and routed.attempts == 0:
                    self._send(routed, node_id, stream)
                    return
                live.append(node_id)
        if not live:
            self._wait(routed)
            return
        node_id = self._next_replica(routed, live)
        self._send(routed, node_id, self._streams[node_id])

    def _next_replica(self, routed: Routed, live: Sequence[int]) -> int:
        """Choose among connected replicas: not the last one asked, and none that hangs."""
        quick = [node_id for node_id in live if not self._streams[node_id].stalled] or live
        others = [node_id for node_id in quick if node_id != routed.node_id] or quick
        return others[routed.attempts % len(others)]

    def _send(self, routed: Routed, node_id: int, stream: NodeStream) -> None:
        if routed.attempts:
            # A new number, so that a late answer to the old attempt is not taken for this one's.
            self._renumber(routed)
            self.counters.retries += 1
        if routed.stage is Stage.WAITING:
            self._forget_waiter(routed)
        routed.attempts += 1
        routed.node_id = node_id
        routed.stage = Stage.AT_NODE
        routed.sent = False
        routed.sent_at = now = self._clock()
        routed.retry_at = now + EVENTUAL_PATIENCE_SECONDS if routed.eventual else NEVER
        stream.send(routed)

    def _renumber(self, routed: Routed) -> None:
        del self._pending[routed.slot]
        self._last_slot = slot = self._last_slot + 1
        routed.slot = slot
        self._pending[slot] = routed

    def _again(self, routed: Routed) -> None:
        """Send a request again whose newest attempt has an unknown end."""
        if routed.is_write and routed.sent:
            routed.maybe_proposed = True
        routed.sent = False
        self._route(routed)

    def _wait(self, routed: Routed) -> None:
        if routed.stage is Stage.WAITING:
            return
        routed.stage = Stage.WAITING
        routed.retry_at = NEVER
        waiters = self._waiters.get(routed.partition)
        if waiters is None:
            waiters = self._waiters[routed.partition] = _Waiters()
        waiters.requests[routed] = None

    def _back_off(self, routed: Routed, pause_seconds: float) -> None:
        assert routed.stage is Stage.AT_NODE
        routed.stage = Stage.BACKING_OFF
        routed.retry_at = self._clock() + pause_seconds

    def _forget_waiter(self, routed: Routed) -> None:
        del self._waiters[routed.partition].requests[routed]

    def _release(self, partition: int) -> None:
        """Route all that wait for one partition; without a leader only eventual reads can go."""
        waiters = self._waiters.get(partition)
        if waiters is None or not waiters.requests:
            return
        is_led = self.is_led(partition)
        for routed in list(waiters.requests):
            if is_led or routed.eventual:
                self._route(routed)

    def _probe(self, partition: int, waiters: _Waiters) -> None:
        """Ask one replica after the other with the first request that waits."""
        self._release(partition)  # a stream may have come back, or a hung replica gone on
        if not waiters.requests:
            return
        order = self._read_order.get(partition, ())
        for _ in order:
            node_id = order[waiters.probe_turn % len(order)]
            waiters.probe_turn += 1
            stream = self._streams.get(node_id)
            if stream is not None and stream.connected:
                self._send(next(iter(waiters.requests)), node_id, stream)
                return

    def _confirm_leader(self, routed: Routed, node_id: int) -> None:
        waiters = self._waiters.get(routed.partition)
        if waiters is not None and waiters.requests and not routed.eventual:
            self.leaders.confirm(routed.partition, node_id)
            self._release(routed.partition)

    def _refused(self, routed: Routed, node_id: int, outcome: int, payload: bytes) -> None:
        """Act on an answer that is not OK."""
        if outcome == Outcome.UNKNOWN:
            routed.maybe_proposed = True
        if outcome in (Outcome.CONDITION_FAILED, Outcome.INVALID):
            self._fail(routed, error_of(outcome, payload, maybe_proposed=routed.maybe_proposed))
            return
        if routed.stage is not Stage.AT_NODE:
            return  # of an attempt that was given up: it stays "maybe", and the next one goes on
        routed.sent = False
        if outcome in (Outcome.NOT_LEADER, Outcome.UNKNOWN, Outcome.STORAGE_FULL):
            # A node whose disk is full has given up leadership: another may lead soon.
            routed.storage_full = routed.storage_full or outcome == Outcome.STORAGE_FULL
            self.leaders.deny(routed.partition, node_id)
            if routed.eventual:
                self._back_off(routed, RETRY_SECONDS)
            else:
                self._route(routed)
        elif outcome in (Outcome.NOT_REPLICA, Outcome.STALE_CATALOG, Outcome.TOO_OLD):
            self._out_of_step(routed, outcome)
        elif outcome == Outcome.OVERLOADED:
            self._refused_overloaded(routed)
        elif outcome == Outcome.THROTTLED:
            self._refused_throttled(routed)
        elif outcome == Outcome.EXPIRED:
            self._expire(routed)
        else:
            if outcome == Outcome.NO_TABLE:
                self._on_stale_catalog()
            self._fail(routed, error_of(outcome, payload, maybe_proposed=routed.maybe_proposed))

    def _out_of_step(self, routed: Routed, outcome: int) -> None:
        """Go on when router and node know the same catalog, and have heard each other, again."""
        if outcome == Outcome.NOT_REPLICA:
            self._on_stale_catalog()
        key = routed.token_key()
        if key and self._ring is not None:
            self._pending_by_partition[routed.partition] -= 1
            routed.partition = self._ring.partition_of(token_of(key)).id
            count = self._pending_by_partition.get(routed.partition, 0)
            self._pending_by_partition[routed.partition] = count + 1
        self._back_off(routed, RETRY_SECONDS)

    def _refused_overloaded(self, routed: Routed) -> None:
        """Try again a few times, slower each time; then let the client slow down."""
        routed.refusals += 1
        if routed.refusals >= OVERLOADED_ATTEMPTS_MAX and not routed.maybe_proposed:
            self._fail(routed, overloaded())
        else:
            doublings = min(routed.refusals, OVERLOADED_ATTEMPTS_MAX) - 1
            self._back_off(routed, OVERLOADED_BACKOFF_SECONDS * (1 << doublings))

    def _refused_throttled(self, routed: Routed) -> None:
        """Let the client slow down; an earlier attempt's outcome must be found out first."""
        if routed.maybe_proposed:
            self._back_off(routed, RETRY_SECONDS)
        else:
            self._fail(routed, routed.owner.throttled(routed))

    def _expire(self, routed: Routed) -> None:
        unknown = routed.is_write and (routed.maybe_proposed or routed.sent)
        if unknown:
            routed.maybe_proposed = True
            self.counters.unknown_outcomes += 1
            self._fail(routed, outcome_unknown())
        elif routed.storage_full:
            self._fail(routed, storage_full())
        else:
            self._fail(routed, no_answer_in_time(led=self.is_led(routed.partition)))

    def _fail(self, routed: Routed, error: ModelError) -> None:
        self._remove(routed)
        routed.owner.failed(routed, error)

    def _remove(self, routed: Routed) -> None:
        del self._pending[routed.slot]
        self._pending_bytes -= routed.size_bytes
        self._pending_by_partition[routed.partition] -= 1
        if routed.stage is Stage.WAITING:
            self._forget_waiter(routed)
        routed.stage = Stage.DONE

    def check(self) -> None:
        """Assert the invariants; for tests."""
        waiting = [routed for waiters in self._waiters.values() for routed in waiters.requests]
        assert all(routed.stage is Stage.WAITING for routed in waiting)
        assert len(waiting) == sum(
            routed.stage is Stage.WAITING for routed in self._pending.values()
        )
        for slot, routed in self._pending.items():
            assert routed.slot == slot
            assert routed.stage in (Stage.AT_NODE, Stage.WAITING, Stage.BACKING_OFF)
            assert routed.stage is not Stage.BACKING_OFF or routed.retry_at < NEVER
        assert self._pending_bytes == sum(routed.size_bytes for routed in self._pending.values())
        counts = Counter(routed.partition for routed in self._pending.values())
        assert counts == +Counter(self._pending_by_partition)


def is_unknown(routed: Routed) -> bool:
    """Return whether a failed request may have taken effect all the same."""
    return isinstance(routed, RoutedWrite) and routed.maybe_proposed
