"""Heartbeats of idle groups: together, and heard without a message when they say nothing new."""

from collections.abc import Callable
from random import Random

import pytest

from raft.core import RaftCore
from raft.types import (
    Configuration,
    HardState,
    Message,
    MessageType,
    RaftConfig,
    Role,
    Ticks,
    heartbeat_message,
)
from tests.raft.cluster import Cluster, MemoryLog
from tests.raft.stories import messages_of

CONFIG = RaftConfig(node_id=1)
LEADER, OTHER = 1, 2
STEPS = 60


def followed() -> Cluster:
    """A leader of three, one entry committed everywhere, nothing on its way."""
    cluster = Cluster()
    cluster.elect(LEADER)
    cluster.propose(LEADER, b"x")
    cluster.tick(CONFIG.heartbeat_ticks)
    return cluster


def hear(core: RaftCore, *, sender: int = LEADER, term: int = 0, commit: int = 0) -> bool:
    """Let a heartbeat be heard whose term and commit index are so far from the core's own."""
    return core.hear_heartbeat(sender, core.term + term, core.commit + commit)


def test_leaders_that_share_a_count_of_ticks_send_heartbeats_in_the_same_tick() -> None:
    """However far apart they were elected; and each still at its usual pace."""
    ticks = Ticks()
    cores: list[RaftCore] = []

    def pass_tick() -> list[bool]:
        """Let a tick pass; who sent a heartbeat in it."""
        ticks.now += 1
        for core in cores:
            core.ring()
        return [
            any(m.type == MessageType.HEARTBEAT and m.sequence for m in core.take_messages())
            for core in cores
        ]

    for _ in range(5):
        core = RaftCore(
            CONFIG,
            hard_state=HardState(),
            configuration=Configuration((1,), learners=(2,)),
            log=MemoryLog(),
            applied=0,
            rng=Random(1),
            ticks=ticks,
        )
        core.campaign()
        core.persisted(core.take_ready().ticket)
        core.persisted(core.take_ready().ticket)
        assert core.role is Role.LEADER
        cores.append(core)
        pass_tick()

    beats = []
    for _ in range(4 * CONFIG.heartbeat_ticks):
        sent = pass_tick()
        assert all(sent) or not any(sent)
        beats += [ticks.now] * sent[0]

    assert beats == list(range(beats[0], beats[0] + 13, CONFIG.heartbeat_ticks))


def test_nothing_is_due_before_the_alarm() -> None:
    """A host need not look at a replica before."""
    cluster = followed()
    for node in cluster.nodes.values():
        core = node.core
        before = core.status()
        while core.ticks.now + 1 < core.alarm:
            core.tick()

        assert core.status() == before
        assert not core.has_ready()


def test_heartbeat_that_says_nothing_new_keeps_a_follower_quiet() -> None:
    """S04: it counts as a sign of the leader, for the election timer and against candidates."""
    cluster = followed()
    core = cluster.core(OTHER)
    for _ in range(4 * CONFIG.election_ticks_min):
        core.tick()
        assert hear(core)

    assert core.role is Role.FOLLOWER
    assert core.leader_is_near()
    assert not core.has_ready()


@pytest.mark.parametrize(
    ("what", "sender", "term", "commit"),
    [
        ("another leader", 3, 0, 0),
        ("an older term", LEADER, -1, 0),
        ("a newer term", LEADER, 1, 0),
        ("a commit that is news", LEADER, 0, 1),
    ],
)
def test_heartbeat_with_news_is_left_to_step(
    what: str, sender: int, term: int, commit: int
) -> None:
    core = followed().core(OTHER)
    core.tick(3)
    before = core.status(), core.since

    heard = hear(core, sender=sender, term=term, commit=commit)

    assert not heard, what
    assert (core.status(), core.since) == before


def test_heartbeat_of_a_term_that_is_not_on_disk_is_left_to_step() -> None:
    """S40: the answer promises the term."""
    cluster = followed()
    core = cluster.core(OTHER)
    core.step(heartbeat_message(MessageType.HEARTBEAT, 3, OTHER, core.term + 1, 0, 1))

    assert core.leader == 3
    assert not hear(core, sender=3)


def test_vote_that_is_not_on_disk_leaves_the_heartbeat_to_step() -> None:
    """S40: a candidate's vote in this term, and then its rival's heartbeat."""
    cluster = followed()
    core = cluster.core(OTHER)
    core.step(Message(MessageType.VOTE, 3, OTHER, core.term + 1, index=9, log_term=9, hint=1))
    ready = core.take_ready()
    core.saved_term = core.term  # as if an earlier write had brought the term alone
    core.step(heartbeat_message(MessageType.HEARTBEAT, 3, OTHER, core.term, 0, 1))

    assert ready.hard_state is not None
    assert core.leader == 3
    assert not hear(core, sender=3)


def test_leader_hears_no_heartbeat_of_its_own_term() -> None:
    core = followed().core(LEADER)

    assert not hear(core, sender=LEADER)


def test_answers_that_say_nothing_new_keep_a_leader() -> None:
    """S12: they count for the quorum."""
    core = followed().core(LEADER)
    sequence = core.read_sequence
    for _ in range(4 * CONFIG.election_ticks_min):
        core.tick()
        assert core.hear_reply(OTHER, core.term, sequence)

    assert core.role is Role.LEADER


def _lagging(cluster: Cluster) -> None:
    cluster.drop = lambda m: m.type == MessageType.APPEND
    cluster.propose(LEADER, b"y")


def _probing(cluster: Cluster) -> None:
    cluster.core(LEADER).peer_unreachable(OTHER)


def _transferring(cluster: Cluster) -> None:
    cluster.drop = lambda m: True
    cluster.core(LEADER).transfer_leader(3)


def _reading(cluster: Cluster) -> None:
    cluster.core(LEADER).read_index()


@pytest.mark.parametrize("change", [_lagging, _probing, _transferring, _reading])
def test_answer_that_means_more_is_left_to_step(change: Callable[[Cluster], None]) -> None:
    """It finds a lost append, frees a probe, repeats a hand-over, confirms a read."""
    cluster = followed()
    core = cluster.core(LEADER)
    change(cluster)

    assert not core.hear_reply(OTHER, core.term, core.read_sequence)


def test_answers_of_strangers_and_other_terms_are_left_to_step() -> None:
    cluster = followed()
    core = cluster.core(LEADER)

    assert not core.hear_reply(9, core.term, 1)
    assert not core.hear_reply(OTHER, core.term - 1, 1)
    assert not core.hear_reply(LEADER, core.term, 1)
    assert not cluster.core(OTHER).hear_reply(3, core.term, 1)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_heard_is_what_step_would_have_done(seed: int) -> None:
    """Two replicas live the same random life; one hears what it can, the other steps it all."""
    hearing, stepping = followed(), followed()
    rng = Random(seed)
    heard = 0
    for _ in range(STEPS):
        node_id = rng.randrange(1, 4)
        one, two = hearing.core(node_id), stepping.core(node_id)
        sender = rng.choice([n for n in (1, 1, 1, 2, 3, 4) if n != node_id])
        term = max(1, one.term + rng.choice((*[0] * 40, -1, 1)))
        commit = max(0, one.commit + rng.choice((0, 0, 0, 0, -1, 1)))
        sequence = rng.randrange(1, 4)
        kind = rng.choice((MessageType.HEARTBEAT, MessageType.HEARTBEAT_REPLY))
        if kind == MessageType.HEARTBEAT:
            message = heartbeat_message(kind, sender, node_id, term, commit, sequence)
            done = one.hear_heartbeat(sender, term, commit)
            answer = [heartbeat_message(
                MessageType.HEARTBEAT_REPLY, node_id, sender, term, 0, sequence
            )] * done  # fmt: skip
        else:
            message = heartbeat_message(kind, sender, node_id, term, 0, sequence)
            done = one.hear_reply(sender, term, sequence)
            answer = []
        if done:
            heard += 1
            one.send_now += answer  # the host's part
        else:
            one.step(message)
        two.step(message)
        ticks = rng.randrange(4)
        one.tick(ticks)
        two.tick(ticks)

        assert one.status() == two.status()
        assert (one.since, one.timeout) == (two.since, two.timeout)
        assert [*one.send_now] == [*two.send_now]
        hearing.settle()
        stepping.settle()
        assert [n.core.status() for n in hearing.nodes.values()] == [
            n.core.status() for n in stepping.nodes.values()
        ]

    assert heard > 1
    assert messages_of(hearing, MessageType.HEARTBEAT) == messages_of(
        stepping, MessageType.HEARTBEAT
    )
