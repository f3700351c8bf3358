"""Sees the entries that this node's leaders make: how long their writes wait, and for what.

Everything is done once an entry or a turn, never once a write. The stages of a write at its leader:
`queue`, from its arrival to the turn that takes it; `quorum`, from there until its entry is
committed; `apply`, until it is applied and answered. `log_commit` is a part of `quorum`: until this
node's own disk has the turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from node.machine.leadership import Proposal, WaitingWrite
from quorate.buckets import STAGE_SECONDS, Buckets
from quorate.logs import LineLimit

if TYPE_CHECKING:
    from node.codec import RoutedWrites
    from node.storage.log import GroupWrite
    from node.tracing import NodeTracing, TracedEntry
    from raft.types import Entry

BATCH_WRITES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
"""Writes in one entry. Ours."""

SLOW_LINES_PER_SECOND_MAX: Final = 10
"""Most slow entries that are logged in a second; the next line tells how many were not. Ours."""

SLOW_IDS_MAX: Final = 16
"""Most write ids in such a line. Ours."""

_arrived_at: Final = itemgetter(7)


class WriteWatch:
    """The histograms of one node, and its log of slow entries."""

    __slots__ = (
        "_limit", "_log", "_slow_seconds", "apply", "batch", "log_commit", "now", "queue", "quorum",
        "tracing",
    )  # fmt: skip

    def __init__(
        self,
        log: Callable[..., None] = lambda *_, **__: None,
        wall_clock: Callable[[], float] = lambda: 0.0,
        *,
        slow_seconds: float = inf,
        tracing: NodeTracing | None = None,
    ) -> None:
        """`log` is told of entries whose first write has waited for longer than `slow_seconds`."""
        self._log = log
        self.tracing = tracing
        self._limit = LineLimit(SLOW_LINES_PER_SECOND_MAX, wall_clock)
        self._slow_seconds = slow_seconds
        self.now = 0.0  # when the host's turn has begun, on its clock
        self.queue = Buckets(STAGE_SECONDS)
        self.log_commit = Buckets(STAGE_SECONDS)
        self.quorum = Buckets(STAGE_SECONDS)
        self.apply = Buckets(STAGE_SECONDS)
        self.batch = Buckets(BATCH_WRITES)

    def arrived(self, writes: RoutedWrites, now: float) -> None:
        """A router's writes are taken in; `now` is on the host's clock."""
        if self.tracing is not None and writes.traced:
            self.tracing.arrived(writes, now)

    def taken(self, writes: Sequence[WaitingWrite], now: float) -> None:
        """A turn has taken these writes."""
        if writes[0][7] == writes[-1][7]:  # in order of arrival, so all came in one batch
            self.queue.observe(now - writes[0][7], len(writes))
            return
        for arrived_at, count in Counter(map(_arrived_at, writes)).items():
            self.queue.observe(now - arrived_at, count)

    def evaluated(self, group: int, proposal: Proposal) -> None:
        """An entry is about to be made of these writes."""
        if self.tracing is not None:
            self.tracing.evaluated(group, proposal, self.now)

    def proposed(self, proposal: Proposal, arrived_at: float) -> None:
        """An entry is in the leader's log; the first of its writes has come at `arrived_at`."""
        proposal.arrived_at = arrived_at
        proposal.proposed_at = self.now
        self.batch.observe(len(proposal.slots))

    def committed(self, group: int, proposal: Proposal) -> None:
        """A quorum has an entry."""
        self.quorum.observe(self.now - proposal.proposed_at, len(proposal.slots))
        if self.now - proposal.arrived_at > self._slow_seconds:
            self._tell_slow(group, proposal)
        if proposal.spans and self.tracing is not None:
            self.tracing.committed(proposal, self.now)

    def writing(self, writes: Sequence[GroupWrite]) -> Sequence[TracedEntry]:
        """A log commit begins; return those of its entries that `log_written` wants to hear of."""
        return () if self.tracing is None else self.tracing.writing(writes)

    def log_written(self, began_at: float, ended_at: float, traced: Sequence[TracedEntry]) -> None:
        """A log commit is durable here."""
        self.log_commit.observe(ended_at - began_at)
        if traced and self.tracing is not None:
            self.tracing.durable(traced, began_at, ended_at)

    def applied(
        self, group: int, entries: Sequence[Entry], began_at: float, ended_at: float
    ) -> None:
        """Entries were applied here, and those that were proposed here answered."""
        self.apply.observe(ended_at - began_at, len(entries))
        if self.tracing is not None:
            self.tracing.applied(group, entries, began_at, ended_at)

    def _tell_slow(self, group: int, proposal: Proposal) -> None:
        admitted, left_out = self._limit.admit()
        if not admitted:
            return
        more = {"left_out": left_out} if left_out else {}
        ids = proposal.columns.request_ids
        self._log(
            "slow_entry",
            group=group,
            index=proposal.index,
            term=proposal.term,
            queue_ms=round((proposal.proposed_at - proposal.arrived_at) * 1000, 1),
            quorum_ms=round((self.now - proposal.proposed_at) * 1000, 1),
            writes=len(ids),
            ids=",".join(request_id.hex() for request_id in ids[:SLOW_IDS_MAX]),
            **more,
        )
