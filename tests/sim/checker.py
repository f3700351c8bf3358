"""What must hold, whatever happens: watched from outside, event by event.

The cheap checks run after every event of a node; whole replicas are compared now and then with
a shadow, a dumb model that takes every committed entry once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from node import memberships
from node.peer_batch import PeerBatch
from node.replica import PartitionReplica, PendingRead, RangeRead, Replica
from node.storage.layout import table_of
from node.storage.log import GroupWrite
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.outcome import Outcome
from raft.check import check_core
from raft.configuration import ConfigurationHistory
from raft.types import Configuration, Entry, EntryKind, MessageType, Role
from tests.sim.history import Operation
from tests.sim.operations import state_of
from tests.sim.schedule import Violation
from tests.sim.shadow import Shadow

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode
    from tests.sim.world import World

COMPARED_EVERY = 4
"""Applications of a replica between two comparisons with the shadow."""

CORES_EVERY = 32
"""Events between two whole checks of one node's cores."""

QUORUM_LOST_SECONDS = 2.2
"""A leader that has not heard a majority for so long must have stepped down: after 24 ticks, to be
seen at the next 8, by the slowest clock."""

IDS_COMPARED = 12

CLOCKS_APART = 1.2
"""How much faster a node's clock may run than the world's, at most."""

"""How many of the newest request ids every replica must remember."""


class WatchedRead:
    """A strong read, and what was committed anywhere when it came: it must see that."""

    __slots__ = ("_checker", "_floor", "_node", "_read")

    def __init__(
        self, checker: Checker, node: SimulatedNode, read: PendingRead, floor: int
    ) -> None:
        self._checker = checker
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
        if isinstance(self._read, RangeRead):
            self._checker.check_page(self._node, replica, self._read)

    def refuse(self, outcome: Outcome) -> None:
        self._read.refuse(outcome)


class Checker:
    """All invariants of one run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.shadows: dict[int, Shadow] = {}
        self._facts: dict[int, list[tuple[int, int, bytes]]] = {}  # committed entries, from 1
        self._commit_terms: dict[int, dict[int, int]] = {}
        self.commit_max: dict[int, int] = {}
        self._leaders: dict[tuple[int, int], int] = {}
        self._grants: dict[tuple[int, int, int], int] = {}
        self._encouraged: dict[tuple[int, int, int], set[int]] = {}  # by pre-votes
        self._heirs: set[tuple[int, int, int]] = set()  # told by their leader to campaign
        self._durable: dict[tuple[int, int, int], tuple[bytes, int]] = {}
        self._seen: dict[Replica, tuple[int, Role, int, int]] = {}
        self._leading: dict[Replica, tuple[float, int, int]] = {}  # since when, term, configuration
        self._applications: dict[tuple[int, int], int] = {}
        self._hard_terms: dict[tuple[int, int], tuple[int, int]] = {}
        self._committed_ids: set[bytes] = set()
        self._events = 0

    # What nodes do

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
                self._committed(node, replica, entry)
            apply(entries)
            count = self._applications.get(place, 0) + 1
            self._applications[place] = count
            if count % COMPARED_EVERY == 0:
                with node.unharmed():
                    self.compare(node, replica)

        return watched

    def _watching_reads(
        self, node: SimulatedNode, replica: Replica, read: Callable[[PendingRead], None]
    ) -> Callable[[PendingRead], None]:
        group = replica.group

        def watched(pending: PendingRead) -> None:
            read(WatchedRead(self, node, pending, self.commit_max.get(group, 0)))

        return watched

    def _committed(self, node: SimulatedNode, replica: Replica, entry: Entry) -> None:
        """What one node applies is committed, and what every node applies there."""
        group = replica.group
        facts = self._facts.setdefault(group, [])
        fact = (entry.term, entry.kind, entry.payload)
        place = entry.index - 1
        if place < len(facts):
            if facts[place] != fact:
                raise Violation(f"{node.name} applies another entry {entry.index} of group {group}")
            return
        if place > len(facts):
            raise Violation(f"{node.name} applies {entry.index} of group {group} before its time")
        if entry.index > self.commit_max.get(group, 0):
            raise Violation(f"{node.name} applies {entry.index} of group {group} uncommitted")
        facts.append(fact)
        if group != CATALOG_GROUP:
            shadow = self.shadows.get(group)
            if shadow is None:
                shadow = self.shadows[group] = Shadow()
            self._committed_ids.update(shadow.apply(entry, self._world.schedule.now))

    def _check_quorum(
        self,
        node: SimulatedNode,
        replica: Replica,
        index: int,
        term: int,
        configuration: Configuration,
    ) -> None:
        """Whoever calls something committed first is its leader, and knows who has a say."""
        nodes = self._world.nodes
        have_it = {
            voter
            for voter in {*configuration.voters, *configuration.voters_outgoing}
            if nodes[voter].holds(replica.group, index, term)
        }
        for voters, holders in _minorities(configuration, have_it):
            raise Violation(
                f"{node.name} calls {index} of group {replica.group} committed in term {term}, "
                f"but of {voters} it is durable only at {holders}"
            )

    def after(self, node: SimulatedNode, touched: dict[int, Replica]) -> None:
        """Check what an event may have changed at a node."""
        if not touched or not node.is_up:
            return
        seen = self._seen
        for replica in touched.values():
            core = replica.core
            now = (core.term, core.role, core.commit, core.configurations.index)
            before = seen.get(replica)
            if now == before:
                continue
            group = replica.group
            seen[replica] = now
            if before is not None and (now[0] < before[0] or now[2] < before[2]):
                raise Violation(f"{node.name}: group {group} goes back from {before} to {now}")
            if not core.applied <= core.commit or core.applied > core.log.durable:
                raise Violation(f"{node.name}: group {group} applied more than is committed")
            if before is None or now[0] != before[0] or now[3] < before[3]:
                self._term_changed(node, replica)  # or a configuration was truncated
            if core.role is Role.LEADER and core.configurations.index > core.commit:
                self._check_new_voters(node, replica)
            if core.role is Role.LEADER and (before is None or before[1] is not Role.LEADER):
                self._elected(node, replica)
            if before is None or now[2] > before[2]:
                self._commit_advanced(node, replica, before)
        self._events += 1
        if self._events % CORES_EVERY == 0:
            for replica in touched.values():
                check_core(replica.core)
                self._check_configuration(node, replica)

    def _term_changed(self, node: SimulatedNode, replica: Replica) -> None:
        self._check_configuration(node, replica)  # a new leader may have truncated some
        if replica.core.role is Role.CANDIDATE:
            self._check_may_campaign(node, replica)

    def _check_configuration(self, node: SimulatedNode, replica: Replica) -> None:
        """In effect is the newest configuration in the log, or that of the state below it."""
        core = replica.core
        log = core.log
        wanted = replica.configuration
        low = core.applied + 1
        while low <= log.last_index and core.installing is None:
            entries = log.entries(low, log.last_index + 1, 1 << 62)
            low += len(entries)
            for entry in entries:
                if entry.kind == EntryKind.CONFIGURATION:
                    wanted = Configuration.decode(entry.payload)
        if core.configuration != wanted and core.installing is None and not replica.installing:
            raise Violation(
                f"{node.name}, group {replica.group}: {core.configuration} is in effect, though "
                f"the log says {wanted}"
            )

    def _check_new_voters(self, node: SimulatedNode, replica: Replica) -> None:
        """Who becomes a voter nearly has all: else a group of three could wait for it."""
        history = replica.core.configurations._history
        if len(history) < 2:
            return
        (_, before), (index, configuration) = history[-2:]
        for voter in configuration.voters:
            if not before.is_voter(voter) and not before.joint:
                durable = self._world.nodes[voter].last_index_ever(replica.group)
                if durable + memberships.LAG_ENTRIES_MAX < index - 1:
                    raise Violation(
                        f"{node.name} makes node {voter} a voter of group {replica.group} at "
                        f"{index}, which has {durable}"
                    )

    def _elected(self, node: SimulatedNode, replica: Replica) -> None:
        core, group = replica.core, replica.group
        if self._leaders.setdefault((group, core.term), node.id) != node.id:
            raise Violation(f"two leaders of group {group} in term {core.term}")
        self._world.counts["elected"] += 1
        self._check_votes(node, replica)
        index = self.commit_max.get(group, 0)
        term = self._commit_terms[group][index] if index else 0
        if core.term < term or index < core.log.first_index():
            return  # an election that came late; or all of that is cut off already
        if core.log.last_index < index or core.log.term(index) != term:
            raise Violation(
                f"{node.name} leads group {group} in term {core.term} without the committed "
                f"entry {index} of term {term}"
            )

    def check_leaders_are_heard(self, node: SimulatedNode) -> None:
        """Nobody leads on who has not heard a majority for long, pauses not counted."""
        now = self._world.schedule.now
        leading, heard_at = self._leading, node.heard_at
        for replica in node.host.replicas.values():
            core = replica.core
            if core.role is not Role.LEADER:
                continue
            since = leading.get(replica)
            if since is None or since[1:] != (core.term, core.configurations.index):
                leading[replica] = (now, core.term, core.configurations.index)
                continue
            limit = now - QUORUM_LOST_SECONDS
            if since[0] > limit or node.resumed_at > limit:
                continue
            recent = {node.id, *(voter for voter, at in heard_at.items() if at > limit)}
            for voters, heard in _minorities(core.configuration, recent):
                raise Violation(
                    f"{node.name} still leads group {replica.group}, though of {voters} it "
                    f"has heard only {heard} for {QUORUM_LOST_SECONDS} s"
                )

    def _check_may_campaign(self, node: SimulatedNode, replica: Replica) -> None:
        """Whoever disturbs others with a new term could win it, or its leader has asked for it."""
        group, term = replica.group, replica.core.term
        place = (group, term, node.id)
        if place in self._heirs:
            return
        encouraged = {node.id, *self._encouraged.get(place, ())}
        for voters, some in _minorities(replica.core.configuration, encouraged):
            raise Violation(
                f"{node.name} begins term {term} of group {group}, though of {voters} only "
                f"{some} would vote for it"
            )

    def _check_votes(self, node: SimulatedNode, replica: Replica) -> None:
        """Whoever leads has the votes of a majority of all that have a say."""
        group, term = replica.group, replica.core.term
        configuration = replica.core.configuration
        have_granted = {
            voter
            for voter in (*configuration.voters, *configuration.voters_outgoing)
            if voter == node.id or self._grants.get((voter, group, term)) == node.id
        }
        for voters, granted in _minorities(configuration, have_granted):
            raise Violation(
                f"{node.name} leads group {group} in term {term} with the votes of {granted} "
                f"of {voters}"
            )

    def _commit_advanced(
        self, node: SimulatedNode, replica: Replica, before: tuple[int, Role, int, int] | None
    ) -> None:
        core, group = replica.core, replica.group
        index = core.commit
        if not index or index < core.log.first_index():
            return
        term = core.log.term(index)
        if before and before[:2] == (core.term, Role.LEADER) and term != core.term:
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
        if index > self.commit_max.get(group, 0):
            self.commit_max[group] = index
            committed_before = before[2] if before else 0
            left = _joint_that_was_left(core.configurations, committed_before, index)
            self._check_quorum(node, replica, index, term, left or core.configuration)

    def logged(self, node: SimulatedNode, event: str, facts: Mapping[str, object]) -> None:
        """No honest run has a message of a second leader of a term."""
        if event == "second_leader_refused":
            raise Violation(f"{node.name} refuses a second leader: {facts}")

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

    def sent(self, sender: SimulatedNode, outbox: PeerBatch) -> None:
        """One vote a term; promises only of what is durable. Remember who may campaign."""
        for group, message in outbox.messages:
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
                _check_vote_is_durable(sender, group, message.term, message.to)
            elif kind == MessageType.VOTE:
                _check_vote_is_durable(sender, group, message.term, sender.id)
            elif kind == MessageType.PRE_VOTE_REPLY and not message.reject:
                place = (group, message.term, message.to)
                self._encouraged.setdefault(place, set()).add(sender.id)
            elif kind == MessageType.TIMEOUT_NOW:
                self._heirs.add((group, message.term + 1, message.to))

    # Whole replicas

    def compare(self, node: SimulatedNode, replica: Replica) -> None:
        """A replica is what the entries up to its applied index make of it."""
        if not isinstance(replica, PartitionReplica) or replica.installing:
            return
        shadow = self.shadows.get(replica.group)
        if shadow is None:
            return
        machine, applied = replica.machine, replica.core.applied
        where = f"{node.name}, group {replica.group} at {applied}"
        if applied > shadow.applied:
            raise Violation(f"{where} has applied that alone")
        dropped = self._world.catalog_client.dropped_ids
        held: Counter[int] = Counter()
        for key in shadow.versions:
            table = table_of(key)
            if table in dropped:
                continue
            expected, found = shadow.image_at(key, applied), machine.image(key)
            held[table] += expected != b""
            if expected != found:
                raise Violation(
                    f"{where}: key {key.hex()} is {state_of(found)}, not {state_of(expected)}"
                )
        for table, count in held.items():
            counted = machine.table_sizes.get(table, (0, 0))[0]
            if count != counted:
                raise Violation(f"{where} counts {counted} items of table {table}, not {count}")
        self._compare_request_ids(where, shadow, replica)

    def _compare_request_ids(self, where: str, shadow: Shadow, replica: PartitionReplica) -> None:
        compared = 0
        young = self._world.schedule.now - self._world.options.window / CLOCKS_APART
        for index, request_id in reversed(shadow.id_list):
            if shadow.applied_at[index] < young:
                return  # it may be forgotten
            if index <= replica.core.applied:
                compared += 1
                if replica.machine.answered(request_id) is None:
                    raise Violation(
                        f"{where} has forgotten request {request_id.hex()[-6:]} of {index}"
                    )
                if compared == IDS_COMPARED:
                    return

    def check_page(self, node: SimulatedNode, replica: Replica, read: RangeRead) -> None:
        """A page has what its range had at the applied index: no more, no less, in order."""
        shadow = self.shadows.get(replica.group)
        page, request = read._stream._pages[-1], read._request
        items = shadow.items_at(request.low, request.high, replica.core.applied) if shadow else []
        if request.backwards:
            items.reverse()
        count = request.items_max or len(items)
        expected = items[:count], len(items) > count
        if (list(zip(page.keys, page.images, strict=True)), page.more) != expected:
            raise Violation(
                f"{node.name}, group {replica.group} at {replica.core.applied}: a page has "
                f"{len(page.keys)} items, more {page.more}; {len(items)} items in its range"
            )

    def check_equal(self) -> None:
        """In the end all replicas are the same, and as large as they say."""
        world = self._world
        for group in self.shadows:
            for node in world.members_of(group):
                replica = node.host.replicas[group]
                if replica.core.applied != self.shadows[group].applied:
                    raise Violation(f"{node.name} lags behind in group {group}")
                self.compare(node, replica)
        catalogs = [node.host.catalog for node in world.nodes.values() if node.is_up]
        if any(catalog != catalogs[0] for catalog in catalogs):
            raise Violation("the catalogs differ")

    def order_of_writes(self) -> dict[bytes, int]:
        """Return where each request id stands in its partition's log."""
        return {
            request_id: place
            for shadow in self.shadows.values()
            for place, (_, request_id) in enumerate(shadow.id_list)
        }

    # What clients are told

    def acknowledged(self, operation: Operation, key: bytes) -> None:
        """What a client is told has happened is committed, and what it reads was written there."""
        if operation.kind == "get":
            return
        if operation.kind == "get_eventual":
            if operation.result is not None and not any(
                state_of(image) == operation.result
                for shadow in self.shadows.values()
                if key in shadow.versions
                for image in shadow.versions[key][1]
            ):
                raise Violation(f"nobody wrote what was read: {operation}")
            return
        if operation.write_id not in self._committed_ids:
            raise Violation(f"acknowledged, but not committed anywhere: {operation}")


def _joint_that_was_left(
    configurations: ConfigurationHistory, above: int, up_to: int
) -> Configuration | None:
    """Return the joint configuration whose commit let the leader append what follows it."""
    for index, configuration in configurations._history:
        if configuration.joint and above < index <= up_to:
            return configuration
    return None


class SilentChecker(Checker):
    """Looks at nothing: what is wrong must then show at the clients."""

    def watch_replicas(self, node: SimulatedNode) -> None: ...

    def after(self, node: SimulatedNode, touched: dict[int, Replica]) -> None: ...

    def check_leaders_are_heard(self, node: SimulatedNode) -> None: ...

    def logged(self, node: SimulatedNode, event: str, facts: Mapping[str, object]) -> None: ...

    def log_written(self, node: SimulatedNode, write: GroupWrite) -> None: ...

    def sent(self, sender: SimulatedNode, outbox: PeerBatch) -> None: ...

    def check_equal(self) -> None: ...

    def acknowledged(self, operation: Operation, key: bytes) -> None: ...


def _check_vote_is_durable(node: SimulatedNode, group: int, term: int, vote: int) -> None:
    """A vote leaves, and a candidate asks for others', once it is on the disk."""
    log = node.log_disk.groups.get(group)
    on_disk = (0, 0) if log is None else (log.hard_state.term, log.hard_state.vote)
    if on_disk < (term, 0) or (on_disk[0] == term and on_disk[1] != vote):
        raise Violation(
            f"{node.name} promises node {vote} its vote in term {term} of group {group} before "
            f"that is durable: on disk are term and vote {on_disk}"
        )


def _minorities(
    configuration: Configuration, some: Container[int]
) -> Iterator[tuple[Sequence[int], list[int]]]:
    """Yield each half of which `some` are no majority, with its members that are of them."""
    for voters in (configuration.voters, configuration.voters_outgoing):
        members = [voter for voter in voters if voter in some]
        if voters and len(members) * 2 <= len(voters):
            yield voters, members
