"""Linearizable reads that wait for proof that this leader still leads.

Every read belongs to a round. Rounds are numbered by the leader itself, and the number travels
with heartbeats and back: an answer proves leadership for rounds up to its number and no other.
A late answer can therefore never confirm a read that was asked for after it was sent.
Source: Raft thesis, section 6.4.
"""

from collections import deque
from itertools import chain


class ReadQueue:
    """The reads a leader has not answered. Invariant: sequences rise along `_asked`."""

    __slots__ = ("_asked", "_early")

    def __init__(self) -> None:
        self._early: list[int] = []  # asked before an entry of the leader's own term is committed
        self._asked: deque[tuple[int, int, int]] = deque()  # (sequence, read id, index)

    def __len__(self) -> int:
        return len(self._early) + len(self._asked)

    def add_early(self, read_id: int) -> None:
        """Take a read that has to wait for the leader's first commit."""
        self._early.append(read_id)

    def add(self, sequence: int, read_id: int, index: int) -> None:
        """Take a read that may be served at `index` once round `sequence` is confirmed."""
        assert not self._asked or self._asked[-1][0] <= sequence
        self._asked.append((sequence, read_id, index))

    def take_early(self) -> list[int]:
        """Hand over the reads that waited for the first commit."""
        early, self._early = self._early, []
        return early

    def confirm(self, sequence: int) -> list[tuple[int, int]]:
        """Hand over (read id, index) of the reads of rounds up to `sequence`."""
        asked = self._asked
        confirmed: list[tuple[int, int]] = []
        while asked and asked[0][0] <= sequence:
            _, read_id, index = asked.popleft()
            confirmed.append((read_id, index))
        return confirmed

    def abandon(self) -> list[int]:
        """Hand over all reads, unanswered: this replica leads no more."""
        abandoned = list(chain((read_id for _, read_id, _ in self._asked), self._early))
        self._asked.clear()
        self._early = []
        return abandoned
