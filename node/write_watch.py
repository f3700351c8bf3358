"""Sees the entries that this node's leaders make: how long their writes wait, and for what.

Everything is done once an entry or a turn, never once a write. The stages of a write at its leader:
`queue`, from its arrival to the turn that takes it; `quorum`, from there until its entry is
committed; `apply`, until it is applied and answered. `log_commit` is a part of `quorum`: until this
node's own disk has the turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from node.machine.leadership import Proposal, WaitingWrite
from quorate.buckets import STAGE_SECONDS, Buckets

BATCH_WRITES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
"""Writes in one entry. Ours."""

_arrived_at: Final = itemgetter(7)


class WriteWatch:
    """The histograms of one node."""

    __slots__ = ("apply", "batch", "log_commit", "now", "queue", "quorum")

    def __init__(self) -> None:
        """Start with nothing observed."""
        self.now = 0.0  # when the host's turn has begun, on its clock
        self.queue = Buckets(STAGE_SECONDS)
        self.log_commit = Buckets(STAGE_SECONDS)
        self.quorum = Buckets(STAGE_SECONDS)
        self.apply = Buckets(STAGE_SECONDS)
        self.batch = Buckets(BATCH_WRITES)

    def taken(self, writes: Sequence[WaitingWrite], now: float) -> None:
        """A turn has taken these writes."""
        for arrived_at, count in Counter(map(_arrived_at, writes)).items():
            self.queue.observe(now - arrived_at, count)

    def proposed(self, proposal: Proposal) -> None:
        """An entry is in the leader's log."""
        proposal.proposed_at = self.now
        self.batch.observe(len(proposal.slots))

    def committed(self, proposal: Proposal) -> None:
        """A quorum has an entry."""
        self.quorum.observe(self.now - proposal.proposed_at, len(proposal.slots))
