"""What must hold, whatever happens: watched from outside, event by event.

The cheap checks run after every event of a node; whole replicas are compared now and then with
a shadow, a dumb model that takes every committed entry once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from node.codec import decode_write_entry
from node.replica import PartitionReplica, PendingRead, Replica
from node.storage.log import GroupWrite
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.outcome import Outcome
from raft.check import check_core
from raft.types import Entry, EntryKind, Message, MessageType, Role
from tests.sim.clients import state_of
from tests.sim.history import Operation
from tests.sim.schedule import Violation

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

COMPARED_EVERY = 2
"""Applications of a replica between two comparisons with the shadow."""

CORES_EVERY = 32
"""Events between two whole checks of one node's cores."""

IDS_COMPARED = 12
"""How many of the newest request ids every replica must remember."""


class WatchedRead:
    """A strong read, and what was committed anywhere when it came: it must see that."""

    __slots__ = ("_floor", "_node", "_read")

    def __init__(self, node: SimulatedNode, read: PendingRead, floor: int) -> None:
        self._node = node
        self._read = read
        self._floor = floor

    def serve(self, replica: Replica) -> None:
        if replica.core.applied < self._floor:
            raise Violation(
                f"{self._node.name} serves a strong read of group {replica.group} at "
                f"{replica.core.applied}, after {self._floor} was committed"
            )
        self._read.serve(replica)

    def refuse(self, outcome: Outcome) -> None:
        self._read.refuse(outcome)


class Shadow:
    """One partition by its committed entries: every image a key ever had, and every request id."""

    def __init__(self) -> None:
        self.applied = 0
        self.versions: dict[bytes, tuple[list[int], list[bytes]]] = {}
        self.ids: dict[bytes, int] = {}
        self.id_list: list[tuple[int, bytes]] = []

    def apply(self, entry: Entry) -> None:
        self.applied = entry.index
        if entry.kind != EntryKind.COMMAND:
            return
        columns = decode_write_entry(entry.payload)
        for key, image in zip(columns.keys, columns.images, strict=True):
            indexes, images = self.versions.setdefault(key, ([], []))
            indexes.append(entry.index)
            images.append(image)
        for request_id in columns.request_ids:
            if request_id in self.ids:
                raise Violation(
                    f"request {request_id.hex()[-6:]} took effect twice: "
                    f"at {self.ids[request_id]} and {entry.index}"
                )
            self.ids[request_id] = entry.index
            self.id_list.append((entry.index, request_id))

    def image_at(self, key: bytes, index: int) -> bytes:
        indexes, images = self.versions[key]
        place = bisect_right(indexes, index)
        return images[place - 1] if place else b""


class Checker:
    """All invariants of one run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.shadows: dict[int, Shadow] = {}
        self._facts: dict[int, list[tuple[int, int, bytes]]] = {}  # committed entries, from 1
        self._commit_terms: dict[int, dict[int, int]] = {}
        self._commit_max: dict[int, int] = {}
        self._leaders: dict[tuple[int, int], int] = {}
        self._grants: dict[tuple[int, int, int], int] = {}
        self._durable: dict[tuple[int, int, int], tuple[bytes, int]] = {}
        self._seen: dict[tuple[int, int], tuple[int, Role, int]] = {}
        self._applications: dict[tuple[int, int], int] = {}
        self._hard_terms: dict[tuple[int, int], tuple[int, int]] = {}
        self._watched: dict[int, Replica] = {}

    # What nodes do

    def started(self, node: SimulatedNode) -> None:
        """Forget what a dead process believed."""
        for group in range(self._world.options.partitions + 1):
            self._seen.pop((node.id, group), None)

    def watch_replicas(self, node: SimulatedNode) -> None:
        """Look at everything that new replicas apply, and at what they have recovered."""
        for replica in node.host.replicas.values():
            if "apply" not in replica.__dict__:
                watched = self._watching(node, replica, replica.apply)
                replica.__dict__["apply"] = watched
                replica.__dict__["read"] = self._watching_reads(node, replica, replica.read)
                self.compare(node, replica)

    def _watching(
        self, node: SimulatedNode, replica: Replica, apply: Callable[[Sequence[Entry]], None]
    ) -> Callable[[Sequence[Entry]], None]:
        place = (node.id, replica.group)

        def watched(entries: Sequence[Entry]) -> None:
            for entry in entries:
                self._committed(node, replica.group, entry)
            apply(entries)
            count = self._applications.get(place, 0) + 1
            self._applications[place] = count
            if count % COMPARED_EVERY == 0:
                self.compare(node, replica)

        return watched

    def _watching_reads(
        self, node: SimulatedNode, replica: Replica, read: Callable[[PendingRead], None]
    ) -> Callable[[PendingRead], None]:
        group = replica.group

        def watched(pending: PendingRead) -> None:
            read(WatchedRead(node, pending, self._commit_max.get(group, 0)))

        return watched

    def _committed(self, node: SimulatedNode, group: int, entry: Entry) -> None:
        """What one node applies is what every node applies there, and a quorum has it on disk."""
        facts = self._facts.setdefault(group, [])
        fact = (entry.term, entry.kind, entry.payload)
        place = entry.index - 1
        if place < len(facts):
            if facts[place] != fact:
                raise Violation(f"{node.name} applies another entry {entry.index} of group {group}")
            return
        if place > len(facts):
            raise Violation(f"{node.name} applies {entry.index} of group {group} before its time")
        self._check_quorum(node, group, entry.index, entry.term)
        facts.append(fact)
        if group != CATALOG_GROUP:
            self.shadows.setdefault(group, Shadow()).apply(entry)

    def _check_quorum(self, node: SimulatedNode, group: int, index: int, term: int) -> None:
        holders = [n.id for n in self._world.nodes.values() if n.holds(group, index, term)]
        if len(holders) * 2 <= len(self._world.nodes):
            raise Violation(
                f"{node.name} calls {index} of group {group} committed in term {term}, but it is "
                f"durable only at {holders}"
            )

    def after(self, node: SimulatedNode) -> None:
        """Check a node after an event."""
        if not node.is_up:
            return
        seen = self._seen
        for group, replica in node.host.replicas.items():
            core = replica.core
            now = (core.term, core.role, core.commit)
            place = (node.id, group)
            before = seen.get(place)
            if now == before:
                continue
            seen[place] = now
            if before is not None and (now[0] < before[0] or now[2] < before[2]):
                raise Violation(f"{node.name}: group {group} goes back from {before} to {now}")
            if not core.applied <= core.commit or core.applied > core.log.durable:
                raise Violation(f"{node.name}: group {group} applied more than is committed")
            if core.role is Role.LEADER and (before is None or before[1] is not Role.LEADER):
                self._elected(node, replica)
            if before is None or now[2] > before[2]:
                self._commit_advanced(node, replica, before)
        if self._world.schedule.steps % CORES_EVERY == 0:
            for replica in node.host.replicas.values():
                check_core(replica.core)

    def _elected(self, node: SimulatedNode, replica: Replica) -> None:
        core, group = replica.core, replica.group
        if self._leaders.setdefault((group, core.term), node.id) != node.id:
            raise Violation(f"two leaders of group {group} in term {core.term}")
        self._world.counts["elected"] += 1
        index = self._commit_max.get(group, 0)
        term = self._commit_terms[group][index] if index else 0
        if core.term < term or index < core.log.first_index():
            return  # an election that came late; or all of that is cut off already
        if core.log.last_index < index or core.log.term(index) != term:
            raise Violation(
                f"{node.name} leads group {group} in term {core.term} without the committed "
                f"entry {index} of term {term}"
            )

    def _commit_advanced(
        self, node: SimulatedNode, replica: Replica, before: tuple[int, Role, int] | None
    ) -> None:
        core, group = replica.core, replica.group
        index = core.commit
        if not index or index < core.log.first_index():
            return
        term = core.log.term(index)
        if before == (core.term, Role.LEADER, before and before[2]) and term != core.term:
            raise Violation(
                f"{node.name}, leader of group {group} in term {core.term}, commits {index} of "
                f"term {term} by counting"
            )
        terms = self._commit_terms.setdefault(group, {})
        if terms.setdefault(index, term) != term:
            raise Violation(
                f"{node.name} calls entry {index} of group {group} committed with term {term}, "
                f"another had term {terms[index]}"
            )
        if index > self._commit_max.get(group, 0):
            self._commit_max[group] = index
            self._check_quorum(node, group, index, term)

    # What reaches disks and the network

    def log_written(self, node: SimulatedNode, write: GroupWrite) -> None:
        """Log matching: index and term decide an entry and all before it; terms do not go back."""
        group = write.group
        log = node.log_disk.groups[group]
        if write.entries:
            before = log.term(write.entries[0].index - 1)
            for entry in write.entries:
                fact = (entry.payload, before)
                place = (group, entry.index, entry.term)
                if self._durable.setdefault(place, fact) != fact:
                    raise Violation(f"{node.name}: logs differ at {place}")
                before = entry.term
        state = write.hard_state
        if state is not None:
            term, vote = self._hard_terms.get((node.id, group), (0, 0))
            if state.term < term or (state.term == term and vote not in (0, state.vote)):
                raise Violation(
                    f"{node.name}, group {group}: term {term}, vote {vote} on disk become "
                    f"{state.term}, {state.vote}"
                )
            self._hard_terms[node.id, group] = (state.term, state.vote)

    def sent(self, sender: SimulatedNode, outbox: Sequence[tuple[int, Message]]) -> None:
        """One vote a term; acknowledgements only of what is durable."""
        for group, message in outbox:
            kind = message.type
            if kind == MessageType.APPEND_REPLY:
                if not message.reject and message.index:
                    log = sender.log_disk.groups.get(group)
                    if log is None or log.last_index() < message.index:
                        raise Violation(
                            f"{sender.name} acknowledges {message.index} of group {group} before "
                            "it is durable"
                        )
            elif kind == MessageType.VOTE_REPLY and not message.reject:
                place = (sender.id, group, message.term)
                if self._grants.setdefault(place, message.to) != message.to:
                    raise Violation(f"{sender.name} votes twice in term {message.term}")

    # Whole replicas

    def compare(self, node: SimulatedNode, replica: Replica) -> None:
        """A replica is what the entries up to its applied index make of it."""
        if not isinstance(replica, PartitionReplica) or replica.installing:
            return
        shadow = self.shadows.get(replica.group)
        if shadow is None:
            return
        machine, applied = replica.machine, replica.core.applied
        if applied > shadow.applied:
            raise Violation(f"{node.name} has applied {applied} of group {replica.group} alone")
        held = 0
        for key in shadow.versions:
            expected, found = shadow.image_at(key, applied), machine.image(key)
            held += expected != b""
            if expected != found:
                raise Violation(
                    f"{node.name}, group {replica.group} at {applied}: key {key.hex()} is "
                    f"{state_of(found)}, not {state_of(expected)}"
                )
        count = sum(size[0] for size in machine.table_sizes.values())
        if count != held:
            raise Violation(
                f"{node.name}, group {replica.group} at {applied} counts {count} items, not {held}"
            )
        compared = 0
        for index, request_id in reversed(shadow.id_list):
            if index <= applied:
                compared += 1
                if machine.answered(request_id) is None:
                    raise Violation(
                        f"{node.name}, group {replica.group} at {applied} has forgotten request "
                        f"{request_id.hex()[-6:]} of {index}"
                    )
                if compared == IDS_COMPARED:
                    return

    def check_equal(self) -> None:
        """In the end all replicas are the same, and as large as they say."""
        for group, shadow in self.shadows.items():
            for node in self._world.nodes.values():
                replica = node.host.replicas[group]
                assert isinstance(replica, PartitionReplica)
                if replica.core.applied != shadow.applied:
                    raise Violation(f"{node.name} lags behind in group {group}")
                self.compare(node, replica)
        catalogs = [node.host.catalog for node in self._world.nodes.values()]
        if any(catalog != catalogs[0] for catalog in catalogs):
            raise Violation("the catalogs differ")

    # What clients are told

    def acknowledged(self, operation: Operation) -> None:
        """What a client is told has happened is committed, and what it reads was written."""
        if operation.kind == "get":
            return
        if operation.kind == "get_eventual":
            if operation.result is not None and not any(
                state_of(image) == operation.result
                for shadow in self.shadows.values()
                for _, images in shadow.versions.values()
                for image in images
            ):
                raise Violation(f"nobody wrote what was read: {operation}")
            return
        if not any(operation.request_id in shadow.ids for shadow in self.shadows.values()):
            raise Violation(f"acknowledged, but not committed anywhere: {operation}")


class SilentChecker(Checker):
    """Looks at nothing: what is wrong must then show at the clients."""

    def watch_replicas(self, node: SimulatedNode) -> None: ...

    def after(self, node: SimulatedNode) -> None: ...

    def log_written(self, node: SimulatedNode, write: GroupWrite) -> None: ...

    def sent(self, sender: SimulatedNode, outbox: Sequence[tuple[int, Message]]) -> None: ...

    def check_equal(self) -> None: ...

    def acknowledged(self, operation: Operation) -> None: ...
