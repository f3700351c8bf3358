"""Who leads each partition, as far as the nodes have told. A cache: wrong answers cost a retry."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Leadership:
    """The newest known leader of one partition; node 0 = nobody is known to lead in this term."""

    term: int
    node_id: int
    node_id_before: int = 0  # the last node known to lead, to tell a change from a confirmation


class LeaderCache:
    """Keeps the hint with the highest term for each partition."""

    __slots__ = ("_by_partition", "changes")

    def __init__(self) -> None:
        self._by_partition: dict[int, Leadership] = {}
        self.changes = 0  # how often a known leader was replaced by another

    def leader_of(self, partition: int) -> int:
        """Return the node id of the leader, 0 if none is known."""
        known = self._by_partition.get(partition)
        return 0 if known is None else known.node_id

    def learn(self, partition: int, term: int, node_id: int) -> bool:
        """Take a hint; return whether it moved the leadership to a node (not to nobody)."""
        known = self._by_partition.get(partition)
        if known is None:
            self._by_partition[partition] = Leadership(term, node_id, node_id)
            return node_id != 0
        if term < known.term:
            return False
        if term == known.term and (node_id == 0 or known.node_id != 0):
            return False
        moved = node_id not in (0, known.node_id)
        known.term = term
        known.node_id = node_id
        if node_id != 0:
            self.changes += known.node_id_before not in (0, node_id)
            known.node_id_before = node_id
        return moved

    def deny(self, partition: int, node_id: int) -> None:
        """Take a node's word that it does not lead, if it was thought to."""
        known = self._by_partition.get(partition)
        if known is not None and known.node_id == node_id:
            known.node_id = 0

    def confirm(self, partition: int, node_id: int) -> None:
        """Take a leader's answer as a sign that it leads, if nobody else is known to."""
        known = self._by_partition.get(partition)
        if known is None:
            self._by_partition[partition] = Leadership(0, node_id, node_id)
        elif known.node_id == 0:
            known.node_id = node_id
