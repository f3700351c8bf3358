"""Hundreds of groups on three nodes: elections without a storm, shared commits, fair heartbeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.codec import decode_raft_batch
from node.host import TICK_SECONDS
from node.peer_batch import PeerBatch
from quorate.cluster.outcome import Outcome
from quorate.v1 import node_pb2
from raft.types import MessageType, RaftConfig, Role
from tests.node.builders import put
from tests.node.harness import NODES, Cluster, Request

GROUPS = 500
ELECTION_TICKS = RaftConfig(node_id=1).election_ticks_min


class CountingCluster(Cluster):
    """A cluster that counts what nodes send to each other, and when each leader was last heard."""

    def __init__(self, directory: Path) -> None:
        self.batches = 0
        self.sent: Counter[MessageType] = Counter()
        self.heard_at: dict[tuple[int, int], float] = {}  # (group, follower) -> time
        self.silence_seconds = 0.0
        super().__init__(directory)

    def send(self, outbox: PeerBatch) -> None:
        if self.connected(outbox.sender, outbox.to):
            self.batches += 1
            self.sent.update(message.type for _, message in outbox)
        super().send(outbox)

    def deliver(self, link: tuple[int, int], *, held: bool = False) -> bool:
        if self.links[link] and (link not in self.held_links or held):
            batch = node_pb2.RaftBatch.FromString(self.links[link][0])
            for group, message in decode_raft_batch(batch, sender=link[0], receiver=link[1]):
                if message.type in (MessageType.APPEND, MessageType.HEARTBEAT):
                    silence = self.now - self.heard_at.get((group, link[1]), self.now)
                    self.silence_seconds = max(self.silence_seconds, silence)
                    self.heard_at[group, link[1]] = self.now
        return super().deliver(link, held=held)

    def count_anew(self) -> None:
        self.batches = 0
        self.sent.clear()
        self.heard_at.clear()
        self.silence_seconds = 0.0

    def terms(self) -> dict[int, int]:
        """The newest term of every group."""
        groups = self.nodes[NODES[0]].host.replicas
        return {
            group: max(node.host.replicas[group].core.term for node in self.up())
            for group in groups
        }


@pytest.fixture
def many(directory: Path) -> Iterator[CountingCluster]:
    """500 groups on three nodes, led by all alike, at rest."""
    cluster = CountingCluster(directory)
    cluster.bootstrap(partitions=GROUPS)
    cluster.tick(10)
    cluster.count_anew()
    yield cluster
    cluster.close()


def test_death_of_a_node_re_elects_all_its_groups_without_a_storm(many: CountingCluster) -> None:
    """S91: within an election timeout, in a few messages a group, and batched."""
    led = [g for g, r in many.nodes[1].host.replicas.items() if r.core.role is Role.LEADER]
    before = many.now

    many.crash(1)
    many.tick_until(lambda: all(map(many.serving, led)))

    assert len(led) > GROUPS // 4
    assert many.now - before <= ELECTION_TICKS * TICK_SECONDS
    votes = sum(
        many.sent[kind]
        for kind in (
            MessageType.PRE_VOTE,
            MessageType.PRE_VOTE_REPLY,
            MessageType.VOTE,
            MessageType.VOTE_REPLY,
        )
    )
    # Each of two survivors asks two peers, one of them dead, twice and is answered twice; a tie
    # is tried again.
    assert votes <= 16 * len(led)
    ticks = round((many.now - before) / TICK_SECONDS)
    assert many.batches <= 40 * ticks


def test_silence_of_a_node_re_elects_all_its_groups_at_the_shortest_timeout(
    many: CountingCluster,
) -> None:
    """S91: its streams stay open. The first group to give it up speaks for all of them."""
    led = [g for g, r in many.nodes[1].host.replicas.items() if r.core.role is Role.LEADER]
    before = many.now
    many.cut(1, broken=False)
    many.nodes[2].host.tick(1)  # no two machines' ticks come in the same moment

    others = [many.nodes[2], many.nodes[3]]
    many.tick_until(
        lambda: all(
            any(node.host.replicas[group].core.role is Role.LEADER for node in others)
            for group in led
        )
    )

    ticks = round((many.now - before) / TICK_SECONDS)
    assert ELECTION_TICKS <= ticks < ELECTION_TICKS + 10


def test_idle_groups_hold_no_elections_and_share_their_messages(many: CountingCluster) -> None:
    """S91: at rest there are heartbeats and nothing else, in a batch or two a tick and peer."""
    terms = many.terms()

    many.tick(2 * ELECTION_TICKS)

    assert many.terms() == terms
    assert set(many.sent) == {MessageType.HEARTBEAT, MessageType.HEARTBEAT_REPLY}
    heartbeats = 2 * ELECTION_TICKS // RaftConfig(node_id=1).heartbeat_ticks
    assert many.sent[MessageType.HEARTBEAT] == (GROUPS + 1) * 2 * heartbeats
    assert many.batches <= 2 * 6 * 2 * ELECTION_TICKS


def test_return_of_a_dead_node_disturbs_no_group(many: CountingCluster) -> None:
    """S91: it follows 500 leaders; balance then moves leaderships back one at a time."""
    many.crash(1)
    many.tick(2 * ELECTION_TICKS)
    terms = many.terms()

    many.restart(1)
    many.tick(2 * ELECTION_TICKS)

    assert many.terms() == terms
    followed = many.nodes[1].host.replicas.values()
    assert all(replica.core.leader in (2, 3) for replica in followed)


def test_writes_to_many_groups_share_the_commits_of_a_node(many: CountingCluster) -> None:
    """S94: entries by the hundred, one fsync a turn and node."""
    before = {node.id: node.log_store.commit_count() for node in many.up()}
    groups = {many.partition_of(put(f"k{n}").key) for n in range(300)}
    led = {node.id: {g for g in groups if many.leader(g).id == node.id} for node in many.up()}

    for node in many.up():
        writes = [put(f"k{n}") for n in range(300)]
        many.write(*(w for w in writes if many.partition_of(w.key) in led[node.id]), at=node.id)
    many.run()

    entries = len(groups)
    assert entries > 200
    for node in many.up():
        # Its own groups' entries, and one batch of each of the two others.
        assert node.log_store.commit_count() - before[node.id] <= 4


def test_hot_group_delays_no_other_groups_heartbeat(many: CountingCluster) -> None:
    """Half an election timeout is the bound, also while its node always waits for its disk."""
    terms = many.terms()
    hot = many.leader(many.partition_of(put("hot").key))
    many.count_anew()
    requests: list[Request] = []

    hot.log_held = True
    for number in range(4 * ELECTION_TICKS):
        if hot.log_write is not None and number % ELECTION_TICKS == 0:
            hot.finish_log_write()
        requests += many.write(*(put("hot", text="x" * 5000) for _ in range(200)), at=hot.id)
        many.tick()

    assert sum(request.outcome is Outcome.OK for request in requests) > 1000
    assert many.silence_seconds <= ELECTION_TICKS * TICK_SECONDS / 2
    assert many.terms() == terms
