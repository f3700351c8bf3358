"""A whole group under one seed: chance decides who moves, what is lost and who crashes.

After every step each core is checked by itself, and all of them against each other. A failing
seed replays exactly: `python -m tests.raft.simulation SEED`, or COUNT seeds from there with
`python -m tests.raft.simulation SEED COUNT`.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from random import Random

from raft.check import check_core
from raft.configuration import ConfigurationChange
from raft.core import RaftCore
from raft.types import (
    Configuration,
    Entry,
    EntryKind,
    Message,
    MessageType,
    NotLeader,
    ProposalRefused,
    RaftConfig,
    Role,
)
from tests.raft.cluster import Disk, Node, Settings, State

STEPS = 5000
"""Steps of chance a seed. Ours: some 70 ms."""

Committed = tuple[int, int, bytes]  # term, kind, payload


class SimulatedNode(Node):
    """A node that reports what it applies to the world."""

    def __init__(self, world: "World", config: RaftConfig, disk: Disk) -> None:
        self.world = world
        super().__init__(config, disk, world.rng, tells_news=world.rng.random() < 0.5)

    def apply(self, entry: Entry) -> None:
        """Apply one entry after comparing it with what others have applied there."""
        self.world.compare_committed(self, entry)
        super().apply(entry)

    def may_know(self) -> Iterator[Configuration]:
        """Yield the configurations that this node holds, or may come back to after a crash."""
        yield self.core.configurations.current
        yield self.disk.configuration
        for entry in self.disk.log.entries_held:
            if entry.kind == EntryKind.CONFIGURATION:
                yield Configuration.decode(entry.payload)


class World:
    """Nodes, disks and the network of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.voters = tuple(range(1, rng.choice((1, 2, 3, 3, 3, 4, 5, 7)) + 1))
        self.ids = tuple(range(1, min(7, len(self.voters) + rng.choice((0, 0, 1, 2))) + 1))
        self.network: list[tuple[int, Message]] = []  # (not before this step, message)
        self.cuts: dict[tuple[int, int], bool] = {}
        self.loss = rng.choice((0.0, 0.02, 0.2))
        self.duplication = rng.choice((0.0, 0.02, 0.2))
        self.delay_steps = rng.choice((1, 10, 60))
        self.crashes = rng.choice((0.0, 0.3, 1.0))
        self.changes = len(self.ids) > len(self.voters) or rng.random() < 0.3
        self.stalls = rng.choice((0.0, 0.0, 0.3))
        self.stalled: set[int] = set()  # whose disks do not answer
        self.reborn: set[int] = set()  # who was removed, and is back with an empty disk
        self.newest = (0, Configuration(self.voters))  # committed, with its index
        self.now = 0
        self.payloads = 0
        self.counts: Counter[str] = Counter()
        self.committed: dict[int, Committed] = {}  # what anybody has applied
        self.commit_terms: dict[int, int] = {}  # of every index anybody has called committed
        self.commit_max = 0
        self.commits_seen = dict.fromkeys(self.ids, 0)
        self.leaders: dict[int, int] = {}  # by term
        self.states: dict[int, State] = {}  # of snapshots, by index
        self.read_floors: dict[tuple[int, int, int], int] = {}
        self.starts: Counter[int] = Counter()
        self.nodes: dict[int, SimulatedNode] = {}
        configuration = Configuration(self.voters)
        settings: Settings = {
            "election_ticks_min": rng.choice((5, 10, 20)),
            "heartbeat_ticks": rng.choice((1, 2, 4)),
            "append_bytes_max": rng.choice((1, 20, 1000)),
            "in_flight_count_max": rng.choice((1, 2, 256)),
            "in_flight_bytes_max": rng.choice((1, 60, 10000)),
            "committed_bytes_max": rng.choice((1, 10, 10000)),
            "uncommitted_bytes_max": rng.choice((1, 100, 100000)),
            "cache_bytes_max": rng.choice((0, 2000, 1000000)),
        }
        for node_id in self.ids:
            known = configuration if node_id in self.voters else Configuration(())
            config = RaftConfig(node_id=node_id, **settings)
            self.nodes[node_id] = SimulatedNode(self, config, Disk(known))
        self.actions: tuple[tuple[Callable[[], None], float], ...] = (
            (self.deliver, 50),
            (self.tick, 12),
            (self.turn, 30),
            (self.finish_write, 22),
            (self.propose, 6),
            (self.read, 3),
            (self.crash, 0.5 * self.crashes),
            (self.restart, 1.2),
            (self.checkpoint, 1),
            (self.cut_log, 0.7),
            (self.cut_link, 0.4),
            (self.heal_links, 0.4),
            (self.install, 3),
            (self.interfere, 0.7),
            (self.change_members, 1.5 if self.changes else 0),
            (self.rebirth, 0.3 if self.changes else 0),
            (self.stall, self.stalls),
        )
        self.weights = [weight for _, weight in self.actions]

    # The steps

    def run(self, steps: int) -> None:
        """Let chance rule for so many steps, then heal everything and expect agreement."""
        for _ in range(steps):
            self.now += 1
            action = self.rng.choices(self.actions, self.weights)[0][0]
            action()
        self.heal()

    def some(self, *, alive: bool = True) -> SimulatedNode | None:
        """Pick a node."""
        nodes = [node for node in self.nodes.values() if node.alive is alive]
        return self.rng.choice(nodes) if nodes else None

    def send(self, messages: Iterable[Message]) -> None:
        """Put messages on the network: some are lost, some come twice, all come late."""
        for message in messages:
            copies = 1
            if (message.sender, message.to) in self.cuts or self.rng.random() < self.loss:
                copies = 0
            elif self.rng.random() < self.duplication:
                copies = 2
            if not copies and message.type == MessageType.SNAPSHOT:
                self.snapshot_ended(message, ok=False)
            for _ in range(copies):
                due = self.now + self.rng.randrange(self.delay_steps)
                self.network.append((due, replace(message)))

    def snapshot_ended(self, message: Message, *, ok: bool) -> None:
        """Tell the sender how the transfer of a snapshot went."""
        sender = self.nodes[message.sender]
        if sender.alive:
            sender.core.snapshot_sent(message.to, ok=ok)
            self.observe(sender)

    def deliver(self) -> None:
        """Deliver any message whose time has come; the order is chance's."""
        if not self.network:
            return
        place = self.rng.randrange(len(self.network))
        due, message = self.network[place]
        if due > self.now:
            return
        self.network[place] = self.network[-1]
        self.network.pop()
        node = self.nodes[message.to]
        if message.type == MessageType.SNAPSHOT and self.rng.random() < 0.8:
            self.snapshot_ended(message, ok=node.alive)
        if node.alive:
            self.counts[MessageType(message.type).name] += 1
            node.core.step(message)
            self.observe(node)

    def tick(self) -> None:
        """Let time pass, mostly for everybody alike, sometimes for one clock only."""
        if self.rng.random() < 0.7:
            for node in self.nodes.values():
                if node.alive:
                    node.core.tick(self.rng.choice((1, 1, 2)))
                    self.observe(node)
        else:
            chosen = self.some()
            if chosen is not None:
                chosen.core.tick(self.rng.choice((1, 3)))
                self.observe(chosen)

    def turn(self) -> None:
        """Let one node take what is ready."""
        node = self.some()
        if node is not None and node.core.has_ready():
            self.take(node)

    def take(self, node: SimulatedNode) -> None:
        """Take one Ready, and check the reads it has confirmed."""
        self.send(node.take())
        for read_id, index in node.reads.items():
            floor = self.read_floors[node.config.node_id, self.starts[node.config.node_id], read_id]
            assert index >= floor, f"a read at {index} misses what was committed before: {floor}"
            self.counts["read"] += 1
        node.reads.clear()
        self.observe(node)

    def finish_write(self) -> None:
        """The write in flight of one node succeeds."""
        node = self.some()
        if node is None or node.writing is None or node.config.node_id in self.stalled:
            return
        self.send(node.sync())
        self.observe(node)

    def stall(self) -> None:
        """Let a disk hang, which its host may notice; or let those that hang answer again."""
        if self.stalled:
            self.stalled.clear()
            return
        node = self.some()
        if node is not None:
            self.counts["stall"] += 1
            self.stalled.add(node.config.node_id)
            if self.rng.random() < 0.5:
                node.core.step_down()
                self.observe(node)

    def propose(self) -> None:
        """Propose a few commands at whoever thinks it leads."""
        for node in self.nodes.values():
            if node.alive and node.core.role is Role.LEADER:
                payloads = []
                for _ in range(self.rng.choice((1, 1, 2, 5))):
                    self.payloads += 1
                    payloads.append(b"%d" % self.payloads + b"." * self.rng.choice((0, 0, 40)))
                try:
                    indexes = node.core.propose(payloads)
                except ProposalRefused as refused:
                    self.counts[refused.reason.name] += 1
                else:
                    assert len(indexes) == len(payloads)
                self.observe(node)

    def read(self) -> None:
        """Ask everybody for a linearizable read."""
        for node_id, node in self.nodes.items():
            if node.alive:
                try:
                    read_id = node.core.read_index()
                except NotLeader:
                    continue
                self.read_floors[node_id, self.starts[node_id], read_id] = self.commit_max
                self.observe(node)

    def crash(self) -> None:
        """Kill one node, before or after its write in flight has reached the disk."""
        node = self.some()
        if node is not None and node.config.node_id not in self.reborn:
            if node.writing is not None and self.rng.random() < 0.5:
                node.write_to_disk()
            elif node.installing is not None and node.writing is None and self.rng.random() < 0.5:
                node.install(self.states[node.installing.index], reset_log=False)
            node.crash()
            self.counts["crash"] += 1
            for other in self.nodes.values():
                if other.alive and self.rng.random() < 0.5:
                    other.core.peer_unreachable(node.config.node_id)
                    self.observe(other)

    def restart(self) -> None:
        """Start one dead node from its disk."""
        node = self.some(alive=False)
        if node is not None:
            self.start(node)

    def start(self, node: SimulatedNode) -> None:
        """Start a node; all it still calls committed is compared again."""
        node.start()
        self.starts[node.config.node_id] += 1
        self.commits_seen[node.config.node_id] = 0
        self.observe(node)

    def rebirth(self) -> None:
        """Empty the disk of a node that surely is no member any more; it may be added again.

        It does not crash afterwards: it would forget which commits it has heard of, and with them
        that the configurations on its way are old. Hosts never give an id twice.
        """
        node = self.some()
        if node is None or node.config.node_id in self.newest[1].members():
            return
        node_id = node.config.node_id
        # Who lags behind might still ask it for its vote, and it has forgotten what it promised.
        others = (other for other in self.nodes.values() if other is not node)
        if any(node_id in known.members() for other in others for known in other.may_know()):
            return
        if node.core.role is Role.LEADER:
            return
        node.crash()
        node.disk = Disk(Configuration(()))
        node.snapshots.clear()
        self.reborn.add(node_id)
        self.counts["rebirth"] += 1
        self.start(node)

    def checkpoint(self) -> None:
        """Make one node's applied state durable."""
        node = self.some()
        if node is not None and node.installing is None:
            node.checkpoint()

    def cut_log(self) -> None:
        """Checkpoint one node and cut its log at, or some way below, what is applied."""
        node = self.some()
        if node is not None and node.installing is None and node.configuration.voters:
            self.cut_node_log(node, self.rng.choice((0, 0, 5)))

    def cut_node_log(self, node: SimulatedNode, kept: int) -> None:
        """Cut a node's log but for `kept` applied entries."""
        node.cut(max(node.disk.log.cut_index, node.core.applied - kept))
        state = self.states.setdefault(node.disk.applied, node.disk.state)
        assert state == node.disk.state
        self.observe(node)

    def cut_link(self) -> None:
        """Cut one direction between two nodes, or one node off entirely."""
        low, high = self.rng.choice(self.ids), self.rng.choice(self.ids)
        if self.rng.random() < 0.5:
            self.cuts[low, high] = True
        else:
            for other in self.ids:
                self.cuts[low, other] = self.cuts[other, low] = True

    def heal_links(self) -> None:
        """Mend all links."""
        self.cuts.clear()

    def install(self) -> None:
        """Finish the installation of a snapshot, or fail it."""
        node = self.some()
        if node is not None and node.installing is not None and node.writing is None:
            if self.rng.random() < 0.2:
                node.installing = None
                node.core.snapshot_failed()
            else:
                self.counts["install"] += 1
                node.install(self.states[node.installing.index])
                self.commits_seen[node.config.node_id] = node.core.commit
            self.observe(node)

    def interfere(self) -> None:
        """Do what operators and transports do."""
        node = self.some()
        if node is None:
            return
        other = self.rng.choice(self.ids)
        what = self.rng.randrange(4)
        if what == 0:
            node.core.campaign()
        elif what == 1:
            node.core.peer_unreachable(other)
        elif what == 2:
            node.core.step_down()
        else:
            for leader in self.nodes.values():
                if leader.alive and leader.core.role is Role.LEADER:
                    try:
                        leader.core.transfer_leader(other)
                    except ProposalRefused as refused:
                        self.counts[refused.reason.name] += 1
                    self.observe(leader)
        self.observe(node)

    def change_members(self) -> None:
        """Ask a leader for other members, chosen by chance."""
        for node in self.nodes.values():
            if node.alive and node.core.role is Role.LEADER:
                ids = list(self.ids)
                self.rng.shuffle(ids)
                voters = ids[: self.rng.randrange(1, len(ids) + 1)]
                learners = [i for i in ids if i not in voters and self.rng.random() < 0.5]
                automatic = self.rng.random() < 0.7
                change = ConfigurationChange(tuple(voters), tuple(learners), automatic)
                try:
                    if node.core.configuration.joint and self.rng.random() < 0.7:
                        node.core.propose_leave_joint()
                    else:
                        node.core.propose_configuration(change)
                    self.counts["change"] += 1
                except ProposalRefused as refused:
                    self.counts[refused.reason.name] += 1
                self.observe(node)

    # What must hold

    def observe(self, node: SimulatedNode) -> None:
        """Check one node by itself and against what has been seen of the others."""
        core = node.core
        check_core(core)
        node_id = node.config.node_id
        if core.role is Role.LEADER:
            if self.leaders.setdefault(core.term, node_id) != node_id:
                raise AssertionError(f"two leaders in term {core.term}")
            self.check_leader_completeness(core)
        seen = self.commits_seen[node_id]
        if core.commit > seen:
            self.commits_seen[node_id] = core.commit
            for index in range(max(seen + 1, core.log.first_index()), core.commit + 1):
                term = core.log.term(index)
                if self.commit_terms.setdefault(index, term) != term:
                    raise AssertionError(f"entry {index} was committed with another term")
            if core.commit > self.commit_max:
                self.commit_max = core.commit
                self.check_commit_is_durable(core)

    def check_leader_completeness(self, core: RaftCore) -> None:
        """A leader of a term at or above a commit's has what is committed.

        Leaders of older terms may still believe in themselves; they are not asked.
        """
        if self.commit_max and core.term == max(self.leaders):
            assert core.log.last_index >= self.commit_max
            if self.commit_max >= core.log.first_index():
                assert core.log.term(self.commit_max) == self.commit_terms[self.commit_max]

    def check_commit_is_durable(self, core: RaftCore) -> None:
        """Who calls an entry committed first does so with a quorum of disks."""
        configuration = core.configuration
        for voters in (configuration.voters, configuration.voters_outgoing):
            holders = [i for i in voters if self.disk_holds(i, core.commit)]
            assert not voters or len(holders) > len(voters) // 2, f"{core.commit} in {holders}"

    def disk_holds(self, node_id: int, index: int) -> bool:
        """Whether a node's disk has the entry committed at `index`."""
        disk = self.nodes[node_id].disk
        log = disk.log
        if index <= max(disk.applied, log.cut_index):
            return True
        return index <= log.last_index() and log.term(index) == self.commit_terms[index]

    def compare_committed(self, node: Node, entry: Entry) -> None:
        """What one node applies is what every node applies at that index."""
        fact = (entry.term, entry.kind, entry.payload)
        if entry.kind == EntryKind.CONFIGURATION and entry.index > self.newest[0]:
            self.newest = (entry.index, Configuration.decode(entry.payload))
        if self.committed.setdefault(entry.index, fact) != fact:
            raise AssertionError(f"node {node.config.node_id} applies another {entry.index}")

    def check_log_matching(self) -> None:
        """If two logs have an entry of the same index and term, they agree up to it."""
        logs = [node.disk.log for node in self.nodes.values()]
        for place, one in enumerate(logs):
            for other in logs[place + 1 :]:
                low = max(one.first_index(), other.first_index())
                agree = False
                for index in range(min(one.last_index(), other.last_index()), low - 1, -1):
                    mine = one.entries_held[index - one.cut_index - 1]
                    theirs = other.entries_held[index - other.cut_index - 1]
                    if agree:
                        assert mine == theirs
                    elif mine.term == theirs.term:
                        agree = True
                        assert mine == theirs

    # The end

    def heal(self) -> None:
        """Mend everything; the group must agree, serve and bring everybody up to date."""
        self.check_log_matching()
        self.stalled.clear()
        self.cuts.clear()
        self.loss = self.duplication = 0.0
        self.delay_steps = 1
        for node in self.nodes.values():
            if not node.alive:
                self.start(node)
        for node in self.nodes.values():
            for other in self.ids:
                node.core.snapshot_sent(other, ok=False)
        for round_number in range(600):
            self.now += 100
            self.round()
            if round_number % 10 == 9 and self.agreed():
                break
        else:
            raise AssertionError("the group does not come to agree")
        self.check_log_matching()
        for node in self.nodes.values():
            assert all(event != "log_is_missing" for event, _, _ in node.core.trace)

    def round(self) -> None:
        """One tick and all that follows from it, in order, without chance but for timeouts."""
        for node in self.nodes.values():
            node.core.tick()
        for _ in range(5000):
            for node in self.nodes.values():
                while node.core.has_ready() or node.writing is not None:
                    self.take(node)
                    if node.writing is not None:
                        self.send(node.sync())
                    if node.installing is not None:
                        node.install(self.states[node.installing.index])
                        self.commits_seen[node.config.node_id] = node.core.commit
                    if node.snapshot_wanted:
                        node.snapshot_wanted = False
                        self.cut_node_log(node, 5)
                    self.observe(node)
            if not self.network:
                return
            messages, self.network = self.network, []
            for _, message in messages:
                if message.type == MessageType.SNAPSHOT:
                    self.snapshot_ended(message, ok=True)
                receiver = self.nodes[message.to]
                receiver.core.step(message)
                self.observe(receiver)
        raise AssertionError("messages without end")

    def agreed(self) -> bool:
        """Whether one leader leads, all members follow, and a new command gets to all of them."""
        leaders = [node for node in self.nodes.values() if node.core.role is Role.LEADER]
        if len(leaders) != 1:
            return False
        leader = leaders[0]
        if leader.core.configuration.joint:
            if leader.core.may_evaluate and not leader.core.configuration.auto_leave:
                try:
                    leader.core.propose_leave_joint()
                except ProposalRefused:
                    return False
            return False
        try:
            index = leader.core.propose([b"last"])[0]
        except ProposalRefused:
            return False
        for _ in range(5):
            self.now += 100
            self.round()
        members = [self.nodes[i] for i in leader.core.configuration.members()]
        if any(node.core.applied < index for node in members):
            return False
        states = [node.state for node in members]
        return all(state == states[0] for state in states)


def run_seed(seed: int, steps: int = STEPS) -> Counter[str]:
    """Run one seed; an AssertionError names it."""
    world = World(seed)
    try:
        world.run(steps)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, step {world.now}: {error}") from error
    assert world.committed
    world.counts["commit"] = world.commit_max
    world.counts["terms"] = max(world.leaders)
    world.counts["configurations"] = sum(
        kind == EntryKind.CONFIGURATION for _, kind, _ in world.committed.values()
    )
    return world.counts


def main(arguments: list[str]) -> None:
    """Run seeds from the command line and show what happened in them."""
    first = int(arguments[0]) if arguments else 0
    count = int(arguments[1]) if len(arguments) > 1 else 1
    steps = int(arguments[2]) if len(arguments) > 2 else STEPS
    total: Counter[str] = Counter()
    for seed in range(first, first + count):
        total += run_seed(seed, steps)
    sys.stdout.write(f"{dict(sorted(total.items()))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
