"""Rebuilding the log's index from its head and records, oldest first. Knows no LMDB.

Records below the head's `first_sequence` may be gone, so a replay may start in the middle of a
group's history: with entries that were truncated or cut later, and whose predecessors are gone.
Up to the head's `as_of` such a gap is therefore allowed; at the end there must be none.
"""

from __future__ import annotations

from node.storage import layout
from node.storage.layout import Head, Malformed, Section
from node.storage.log_index import GroupIndex


class Replay:
    """Takes records in order of sequence, without gaps; ends with the index of every group."""

    __slots__ = ("_as_of", "_starts", "groups", "next_sequence")

    def __init__(self, head: Head) -> None:
        self._as_of = head.as_of
        self._starts: dict[int, int] = {}  # group -> index of the first entry in its arrays
        self.groups: dict[int, GroupIndex] = {}
        self.next_sequence = head.first_sequence
        for kept in head.groups:
            index = self._group(kept.group)
            index.hard_state = kept.hard_state
            index.cut_index, index.cut_term = kept.cut_index, kept.cut_term

    def record(self, sequence: int, raw: layout.Buffer) -> None:
        """Replay one record. Raises Malformed."""
        if sequence != self.next_sequence:
            raise Malformed(f"record {self.next_sequence} is missing")
        for section in layout.decode_record(raw, sequence):
            self._section(sequence, section)
        self.next_sequence += 1

    def finish(self) -> dict[int, GroupIndex]:
        """Return the index of every group. Raises Malformed if anything is missing."""
        if self.next_sequence <= self._as_of:
            raise Malformed(f"records {self.next_sequence} to {self._as_of} are missing")
        for group, index in self.groups.items():
            if index.terms and self._starts[group] != index.first_index:
                raise Malformed(f"group {group}: no entry {index.first_index}")
        return self.groups

    def _group(self, group: int) -> GroupIndex:
        index = self.groups.get(group)
        if index is None:
            index = self.groups[group] = GroupIndex(group)
        return index

    def _section(self, sequence: int, section: Section) -> None:
        known_to_head = sequence <= self._as_of
        if known_to_head and section.group not in self.groups:
            raise Malformed(f"group {section.group} is not in the head")
        index = self._group(section.group)
        if section.reset is not None:
            self._reset(index, section.reset, known_to_head=known_to_head)
        if section.truncate_from is not None:
            self._truncate(index, section.truncate_from, known_to_head=known_to_head)
        if section.run is not None:
            self._append(index, sequence, section.run, known_to_head=known_to_head)
        if section.hard_state is not None:  # at or below as_of: what the head has, or a step to it
            index.hard_state = section.hard_state

    def _reset(self, index: GroupIndex, reset: tuple[int, int], *, known_to_head: bool) -> None:
        if known_to_head:  # the head's cut is at or above it
            if reset[0] > index.cut_index:
                raise Malformed(f"group {index.group}: reset to {reset[0]} above the head's cut")
            self._forget(index, 0)
        else:
            if reset[0] < index.cut_index:
                raise Malformed(f"group {index.group}: reset to {reset[0]} below the cut")
            index.reset(*reset)

    def _truncate(self, index: GroupIndex, first: int, *, known_to_head: bool) -> None:
        if not known_to_head and not index.cut_index < first <= index.last_index + 1:
            raise Malformed(f"group {index.group}: truncated from {first}, outside its log")
        if index.terms:
            self._forget(index, max(first - self._starts[index.group], 0))

    def _append(
        self, index: GroupIndex, sequence: int, run: layout.EntryRun, *, known_to_head: bool
    ) -> None:
        skip = max(index.first_index - run.first_index, 0)
        if skip and not known_to_head:
            raise Malformed(f"group {index.group}: entry {run.first_index} is below the cut")
        terms = run.terms[skip:]
        if not terms:
            return
        first = run.first_index + skip
        if not index.terms:
            if first != index.first_index and not known_to_head:
                raise Malformed(f"group {index.group}: no entry {index.first_index}")
            self._starts[index.group] = first
        elif first != self._starts[index.group] + len(index.terms):
            raise Malformed(f"group {index.group}: entry {first} does not follow its log")
        step = layout.DESCRIPTOR.size
        index.append(sequence, terms, run.descriptor_offset + step * skip, step)

    @staticmethod
    def _forget(index: GroupIndex, keep: int) -> None:
        del index.terms[keep:], index.sequences[keep:], index.offsets[keep:]
