"""Where each entry of each group's log lies, in memory: 20 bytes an entry.

Rebuilt at open; changed only when a commit is published. Knows no LMDB.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from raft.types import Compacted


class GroupIndex:
    """One group's published log: hard state, cut point, and a place for each entry.

    Invariant: the three arrays have one element for each index in (cut_index, last_index].
    """

    __slots__ = ("cut_index", "cut_term", "group", "hard_state", "offsets", "sequences", "terms")

    def __init__(self, group: int) -> None:
        self.group = group
        self.hard_state = (0, 0, 0)  # term, vote, commit
        self.cut_index = 0
        self.cut_term = 0
        self.terms = array("Q")
        self.sequences = array("Q")  # of the record that holds the entry; never descends
        self.offsets = array("I")  # of the entry's descriptor in its record

    @property
    def first_index(self) -> int:
        """Index of the first entry, or where it would be."""
        return self.cut_index + 1

    @property
    def last_index(self) -> int:
        """Index of the last entry, or the cut index."""
        return self.cut_index + len(self.terms)

    def term(self, index: int) -> int:
        """Return the term at an index in [cut_index, last_index]. Raises Compacted."""
        position = index - self.cut_index
        if position <= 0:
            if position == 0:
                return self.cut_term
            raise Compacted(index)
        assert position <= len(self.terms), "raft asks for an entry that is not in the log"
        return self.terms[position - 1]

    def append(self, sequence: int, terms: Sequence[int], offset: int, step: int) -> None:
        """Add consecutive entries whose descriptors begin at `offset`, `step` bytes apart."""
        assert not self.sequences or self.sequences[-1] <= sequence
        count = len(terms)
        self.terms.extend(terms)
        if count == 1:
            self.sequences.append(sequence)
            self.offsets.append(offset)
        else:
            self.sequences.extend([sequence] * count)
            self.offsets.extend(range(offset, offset + step * count, step))

    def truncate_from(self, index: int) -> None:
        """Forget entries >= index."""
        keep = max(index - self.first_index, 0)
        del self.terms[keep:], self.sequences[keep:], self.offsets[keep:]

    def reset(self, index: int, term: int) -> None:
        """Forget all entries; the log now starts after `index`."""
        assert index >= self.cut_index
        self.truncate_from(0)
        self.cut_index = index
        self.cut_term = term

    def cut(self, index: int) -> None:
        """Forget entries <= index and keep the term of the last of them."""
        assert self.cut_index <= index <= self.last_index
        count = index - self.cut_index
        if count:
            self.cut_term = self.terms[count - 1]
            self.cut_index = index
            del self.terms[:count], self.sequences[:count], self.offsets[:count]
