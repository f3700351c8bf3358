"""Snapshots and what was cut: scenarios S58-S66."""

import pytest

from raft.types import Configuration, Message, MessageType, SnapshotMeta
from tests.raft.cluster import Cluster, Node
from tests.raft.stories import (
    append,
    entries_of,
    lone_node,
    messages_of,
    settle,
    step_synced,
    terms_of,
)

THREE = Configuration((1, 2, 3))


def snapshot(index: int, term: int, *, message_term: int, sender: int = 2) -> Message:
    """Build a SNAPSHOT whose data have arrived."""
    meta = SnapshotMeta(index, term, THREE)
    return Message(MessageType.SNAPSHOT, sender, 1, message_term, snapshot=meta)


def cluster_with_cut_log() -> Cluster:
    """Make a cluster whose leader 1 has cut all that node 3 lacks."""
    cluster = Cluster(cache_bytes_max=0)
    cluster.elect(1)
    cluster.cut_off = [3]
    cluster.propose(1, b"a", b"b", b"c")
    cluster.nodes[1].cut()
    cluster.cut_off = []
    return cluster


def test_follower_behind_the_log_gets_a_snapshot_and_then_entries() -> None:
    """S58: it ends in REPLICATE without any proposal."""
    cluster = cluster_with_cut_log()
    cluster.propose(1, b"d")

    cluster.tick(8)

    assert len(messages_of(cluster, MessageType.SNAPSHOT, to=3)) == 1
    assert cluster.commands(3) == [b"a", b"b", b"c", b"d"]
    assert cluster.core(3).log.first_index() == 5
    assert [p.flow for p in cluster.core(1).status().progress] == ["replicate", "replicate"]


def test_follower_whose_next_entries_were_cut_meanwhile_gets_a_snapshot() -> None:
    """S58: it was in REPLICATE with a full window, and the log was cut above it."""
    cluster = Cluster(cache_bytes_max=0, in_flight_count_max=1)
    cluster.elect(1)
    held: list[Message] = []

    def hold(message: Message) -> bool:
        if message.sender == 3 and message.index == 2:
            held.append(message)
        return message.sender == 3

    cluster.drop = hold
    for payload in (b"a", b"b", b"c"):
        cluster.propose(1, payload)
    cluster.nodes[1].cut()
    cluster.drop = lambda m: False

    cluster.send(held)
    cluster.settle()

    assert len(messages_of(cluster, MessageType.SNAPSHOT, to=3)) == 1
    assert cluster.commands(3) == [b"a", b"b", b"c"]


def test_late_acknowledgement_does_not_end_the_wait_for_a_snapshot() -> None:
    """S58: what the follower has does not meet the log."""
    cluster = cluster_with_cut_log()
    cluster.drop = lambda m: m.type == MessageType.SNAPSHOT
    cluster.core(1).peer_unreachable(3)
    cluster.tick(1)

    cluster.core(1).step(Message(MessageType.APPEND_REPLY, 3, 1, 1, index=1))
    cluster.settle()

    assert cluster.core(1).status().progress[1].flow == "snapshot"


def test_entries_still_in_memory_need_no_snapshot() -> None:
    """The cache may reach further back than the log on disk."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.cut_off = [3]
    cluster.propose(1, b"a", b"b")
    cluster.nodes[1].cut()
    cluster.cut_off = []

    cluster.tick(8)

    assert messages_of(cluster, MessageType.SNAPSHOT) == []
    assert cluster.commands(3) == [b"a", b"b"]


def wait_for_snapshot() -> Cluster:
    """Make a cluster whose leader has cut its log and holds no snapshot."""
    cluster = Cluster(cache_bytes_max=0)
    cluster.elect(1)
    cluster.cut_off = [3]
    cluster.propose(1, b"a", b"b")
    cluster.nodes[1].cut()
    cluster.core(1).snapshot = None
    cluster.cut_off = []
    cluster.core(1).peer_unreachable(3)
    cluster.tick(8)
    return cluster


def test_leader_without_a_snapshot_asks_its_host_for_one() -> None:
    """S58: and goes on as soon as it is there."""
    cluster = wait_for_snapshot()
    wanted = cluster.nodes[1].snapshot_wanted
    before = cluster.commands(3)

    cluster.nodes[1].cut()
    cluster.settle()

    assert wanted
    assert before == []
    assert cluster.commands(3) == [b"a", b"b"]


def test_leader_keeps_asking_while_none_comes() -> None:
    """With every answered heartbeat."""
    cluster = wait_for_snapshot()
    cluster.nodes[1].snapshot_wanted = False

    cluster.tick(8)

    assert cluster.nodes[1].snapshot_wanted


def test_snapshot_that_does_not_meet_the_log_is_not_sent() -> None:
    """Between it and the first entry there would be a gap."""
    cluster = wait_for_snapshot()
    cluster.core(1).set_snapshot(SnapshotMeta(1, 1, THREE))

    cluster.tick(4)

    assert messages_of(cluster, MessageType.SNAPSHOT) == []
    assert cluster.nodes[1].snapshot_wanted


def test_follower_may_keep_a_snapshot_ready_too() -> None:
    """It has nobody to send it to until it leads."""
    cluster = Cluster()
    cluster.elect(1)
    cluster.propose(1, b"a")
    cluster.tick(1)

    cluster.nodes[2].cut()

    assert cluster.core(2).snapshot is not None
    assert not cluster.core(2).has_ready()


def test_failed_transfer_of_a_snapshot_is_tried_again() -> None:
    """S65: after the follower's next sign of life."""
    cluster = cluster_with_cut_log()
    cluster.drop = lambda m: m.type == MessageType.SNAPSHOT
    cluster.core(1).peer_unreachable(3)
    cluster.tick(1)
    leader = cluster.core(1)
    flow = leader.status().progress[1].flow
    cluster.drop = lambda m: False

    leader.snapshot_sent(3, ok=False)
    cluster.tick(8)

    assert flow == "snapshot"
    assert len(messages_of(cluster, MessageType.SNAPSHOT)) == 2
    assert cluster.commands(3) == [b"a", b"b", b"c"]


def test_follower_that_lost_a_sent_snapshot_gets_it_again() -> None:
    """S65: the host believed it had arrived."""
    cluster = cluster_with_cut_log()
    cluster.drop = lambda m: m.type == MessageType.SNAPSHOT
    cluster.core(1).peer_unreachable(3)
    cluster.tick(1)
    cluster.drop = lambda m: False

    cluster.core(1).snapshot_sent(3, ok=True)
    cluster.tick(12)

    assert cluster.commands(3) == [b"a", b"b", b"c"]


def test_word_of_a_snapshot_nobody_waits_for_is_ignored() -> None:
    """Late, or for somebody who was removed, or at a replica that does not lead."""
    cluster = Cluster()
    leader = cluster.elect(1)

    leader.snapshot_sent(2, ok=True)
    leader.snapshot_sent(9, ok=False)
    cluster.core(2).snapshot_sent(3, ok=True)

    assert leader.status().progress[0].flow == "replicate"
    assert not leader.has_ready()


def test_follower_in_snapshot_flow_gets_nothing_else() -> None:
    """S66: and the others are served as ever."""
    cluster = cluster_with_cut_log()
    cluster.drop = lambda m: m.type == MessageType.SNAPSHOT
    cluster.core(1).peer_unreachable(3)
    cluster.tick(1)
    cluster.log_of_messages.clear()

    index = cluster.propose(1, b"d")[0]
    reject = Message(MessageType.APPEND_REPLY, 3, 1, 1, index=3, reject=True)
    cluster.core(1).step(reject)
    cluster.tick(8)

    assert messages_of(cluster, MessageType.APPEND, to=3) == []
    assert messages_of(cluster, MessageType.HEARTBEAT, to=3) != []
    assert cluster.core(1).commit == index


def test_snapshot_older_than_the_commit_is_answered_with_the_commit() -> None:
    """S59: nothing is installed."""
    node = lone_node(1, entries=entries_of(1, 1, 1), term=1, commit=3)
    settle(node)

    sent = step_synced(node, snapshot(2, 1, message_term=1))

    assert [(m.type, m.index, m.reject) for m in sent] == [(MessageType.APPEND_REPLY, 3, False)]
    assert node.installing is None


def test_snapshot_of_what_the_log_has_only_commits_it() -> None:
    """S59: entries up to it are here and the same."""
    node = lone_node(1, entries=entries_of(1, 1, 1), term=1)

    sent = step_synced(node, snapshot(2, 1, message_term=1))

    assert [(m.type, m.index) for m in sent] == [(MessageType.APPEND_REPLY, 2)]
    assert (node.core.commit, node.core.last_index) == (2, 3)


@pytest.mark.parametrize(
    "meta",
    [
        None,
        SnapshotMeta(5, 0, THREE),
        SnapshotMeta(5, 2, THREE),
        SnapshotMeta(5, 1, Configuration(())),
    ],
)
def test_malformed_snapshot_is_ignored(meta: SnapshotMeta | None) -> None:
    """The network cannot make a core raise."""
    node = lone_node(1)

    step_synced(node, Message(MessageType.SNAPSHOT, 2, 1, 1, snapshot=meta))

    assert node.core.installing is None
    assert node.core.trace[-1] == ("ignored_malformed", 1, 2)


def installing_node() -> Node:
    """Make a node with an uncommitted tail that has been given a snapshot at 5 to install."""
    node = lone_node(1, entries=entries_of(1, 1, 1), term=1, commit=1)
    settle(node)
    node.core.step(snapshot(5, 2, message_term=2))
    settle(node)
    assert node.installing is not None
    return node


def test_conflicting_tail_is_gone_after_an_install() -> None:
    """S61: then the node acknowledges and takes what follows."""
    node = installing_node()

    node.install(((1, b"x"),))
    sent = settle(node)
    more = step_synced(node, append(entries_of(2, low=6), index=5, log_term=2, term=2, commit=6))

    assert [(m.type, m.index) for m in sent] == [(MessageType.APPEND_REPLY, 5)]
    assert [(m.type, m.index, m.reject) for m in more] == [(MessageType.APPEND_REPLY, 6, False)]
    assert terms_of(node) == [2]
    assert node.state == ((1, b"x"), (6, b"6.2"))
    assert node.core.configuration == THREE


def test_crash_before_an_install_leaves_the_old_state() -> None:
    """S61: nothing mixed."""
    node = installing_node()

    node.crash()
    node.start()

    assert terms_of(node) == [1, 1, 1]
    assert (node.core.applied, node.core.last_index) == (0, 3)


def test_crash_in_the_middle_of_an_install_leaves_the_new_state() -> None:
    """S61: the items are there, and the log is reset at the next start."""
    node = installing_node()

    node.install(((1, b"x"),), reset_log=False)
    node.crash()
    node.start()

    assert terms_of(node) == []
    assert (node.core.applied, node.core.commit, node.core.last_index) == (5, 5, 5)
    assert node.state == ((1, b"x"),)


def test_crash_in_the_middle_of_an_install_below_a_conflicting_tail() -> None:
    """S61: the log is longer than the snapshot, but of another history. Found by simulation."""
    node = lone_node(1, entries=entries_of(1, 1, 1), term=1)
    node.core.step(snapshot(2, 2, message_term=2))
    settle(node)

    node.install(((1, b"x"),), reset_log=False)
    node.crash()
    node.start()

    assert terms_of(node) == []
    assert (node.core.applied, node.core.last_index, node.core.log.last_term) == (2, 2, 2)


def test_nothing_is_appended_during_an_install() -> None:
    """Neither entries nor commits nor another snapshot; but votes and heartbeats are answered."""
    node = installing_node()

    ignored = [
        *step_synced(node, append(entries_of(2, low=2), index=1, log_term=1, term=2)),
        *step_synced(node, snapshot(9, 2, message_term=2)),
    ]
    answered = step_synced(node, Message(MessageType.HEARTBEAT, 2, 1, 2, commit=3, sequence=1))
    node.core.campaign()
    node.core.step(Message(MessageType.TIMEOUT_NOW, 2, 1, 2))

    assert ignored == []
    assert [m.type for m in answered] == [MessageType.HEARTBEAT_REPLY]
    assert node.core.commit == 1
    assert node.core.term == 2
    assert node.core.status().installing


def test_failed_install_leaves_the_replica_as_it_was() -> None:
    """S65: it takes appends, or the next snapshot, again."""
    node = installing_node()
    node.installing = None

    node.core.snapshot_failed()
    sent = step_synced(node, append(entries_of(2, low=2), index=1, log_term=1, term=2))

    assert [(m.type, m.index, m.reject) for m in sent] == [(MessageType.APPEND_REPLY, 2, False)]


def test_install_waits_until_the_old_log_is_at_rest() -> None:
    """What was to be written and applied comes first, so that the reset is the last word."""
    node = lone_node(1)
    node.core.step(append(entries_of(1, 1), index=0, log_term=0, term=1, commit=1))
    node.core.step(snapshot(5, 1, message_term=1))

    now = node.take()
    first = node.installing
    during = node.core.take_ready(persist=False)
    acknowledged = node.sync()
    node.take()

    assert now == []
    assert first is None
    assert during.snapshot is None
    assert [m.index for m in acknowledged] == [2]
    assert node.installing is not None
    assert node.core.applied == 1


def test_write_in_flight_during_an_install_is_no_trouble() -> None:
    """A vote may be written in the same log commit as the reset."""
    node = installing_node()
    node.core.peer_unreachable(2)
    node.core.step(Message(MessageType.VOTE, 3, 1, 7, index=9, log_term=6))
    ready = node.core.take_ready()
    node.disk.hard_state = ready.hard_state or node.disk.hard_state

    node.install(())
    node.core.persisted(ready.ticket)
    sent = settle(node)

    assert (node.core.last_index, node.core.log.durable) == (5, 5)
    assert [m.type for m in ready.send_after] == [MessageType.VOTE_REPLY]
    assert sent == []


def test_host_must_not_offer_a_snapshot_it_has_not_applied() -> None:
    """Nor one that does not say whose it is."""
    node = lone_node(1)

    with pytest.raises(AssertionError):
        node.core.set_snapshot(SnapshotMeta(5, 1, THREE))
    with pytest.raises(AssertionError):
        node.core.set_snapshot(SnapshotMeta(0, 0, Configuration(())))
