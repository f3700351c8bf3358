"""A leader's view of one member: what it surely has, what is on the way, how to send."""

from collections import deque
from enum import Enum, unique


@unique
class Flow(Enum):
    """How a leader may send to one follower."""

    PROBE = "probe"  # match unknown: one append in flight
    REPLICATE = "replicate"  # match known: a window of appends in flight
    SNAPSHOT = "snapshot"  # behind the log: nothing until the snapshot has arrived


class Progress:
    """One member as the leader of this term sees it; the leader itself is one, too.

    Invariants, in every flow: 0 <= match < next <= the leader's last index + 1. `in_flight` is
    empty except in REPLICATE; there its indexes rise from above `match` to below `next`. The
    leader's own `match` is what its log has on disk; its flow stays PROBE, nothing is sent to it.
    """

    __slots__ = (
        "commit_told",
        "flow",
        "heard",
        "in_flight",
        "in_flight_bytes",
        "joined",
        "match",
        "match_at_heartbeat",
        "next",
        "node_id",
        "nudge",
        "probe_sent",
        "sequence",
        "snapshot_index",
    )

    def __init__(self, node_id: int, *, next_index: int, heard: int, joined: int = 0) -> None:
        self.node_id = node_id
        self.joined = joined  # index of the configuration that added it; 0: a member all the term
        self.match = 0  # highest index known to be durable there
        self.next = next_index  # the first index not yet sent
        self.flow = Flow.PROBE
        self.probe_sent = False  # PROBE: the one append is on the way
        self.in_flight: deque[tuple[int, int]] = deque()  # (last index, bytes) of each append
        self.in_flight_bytes = 0
        self.nudge = False  # REPLICATE: an empty append is due, to find out what was lost
        self.match_at_heartbeat = 0
        self.snapshot_index = 0  # SNAPSHOT: what it will have
        self.heard = heard  # the leader's clock when the member last answered
        self.sequence = 0  # newest read round the member has answered
        self.commit_told = 0

    def become_probe(self, next_index: int) -> None:
        """Fall back to one append at a time, from `next_index`."""
        assert next_index > self.match
        self.flow = Flow.PROBE
        self.next = next_index
        self.probe_sent = False
        self._forget_in_flight()

    def become_replicate(self) -> None:
        """Open the window just past the known match."""
        assert self.flow is not Flow.REPLICATE
        self.flow = Flow.REPLICATE
        self.next = self.match + 1
        self.match_at_heartbeat = self.match
        self._forget_in_flight()

    def become_snapshot(self, index: int) -> None:
        """Wait for the snapshot at `index` to arrive."""
        assert index > self.match
        self.flow = Flow.SNAPSHOT
        self.snapshot_index = index
        self._forget_in_flight()

    def sent(self, last: int, size_bytes: int) -> None:
        """Count one append of entries up to `last` as on the way. Only in REPLICATE."""
        assert self.flow is Flow.REPLICATE
        assert last >= self.next
        self.in_flight.append((last, size_bytes))
        self.in_flight_bytes += size_bytes
        self.next = last + 1

    def acknowledged(self, index: int) -> bool:
        """Take the member's word that it has everything up to `index`; False if old news."""
        in_flight = self.in_flight
        while in_flight and in_flight[0][0] <= index:
            self.in_flight_bytes -= in_flight.popleft()[1]
        if index <= self.match:
            return False
        self.match = index
        if self.next <= index:
            self.next = index + 1
        return True

    def _forget_in_flight(self) -> None:
        self.in_flight.clear()
        self.in_flight_bytes = 0
        self.nudge = False
