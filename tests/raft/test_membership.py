"""Membership and quorums: scenarios S71-S78 and the lessons of raft.md 4.1."""

from itertools import product
from random import Random

import pytest

from raft.configuration import (
    ConfigurationChange,
    ConfigurationHistory,
    change_configuration,
    leave_joint,
)
from raft.quorum import Tally, majority_value, tally
from raft.types import (
    BadConfiguration,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageType,
    ProposalRefused,
    RaftConfig,
    Refusal,
    Role,
)
from tests.raft.cluster import Cluster, Disk, MemoryLog, Node
from tests.raft.stories import append, entries_of, lone_node, messages_of, step_synced


def test_majority_value_is_the_highest_that_a_majority_has_reached() -> None:
    """A dumb model checks the clever code."""
    for count in range(1, 6):
        for values in product(range(4), repeat=count):
            reached = [v for v in range(4) if sum(x >= v for x in values) > count // 2]

            assert majority_value(list(values)) == max(reached)


@pytest.mark.parametrize(
    "configuration",
    [
        Configuration((1,)),
        Configuration((1, 2, 3)),
        Configuration((1, 2, 3, 4)),
        Configuration((1, 2), voters_outgoing=(3, 4, 5)),
        Configuration((1, 2, 3), voters_outgoing=(3, 4)),
    ],
)
def test_tally_needs_a_majority_of_each_half(configuration: Configuration) -> None:
    """Won in both halves, lost as soon as one half cannot be won; strangers do not count."""
    halves = [h for h in (configuration.voters, configuration.voters_outgoing) if h]
    for answers in product((True, False, None), repeat=6):
        votes = {node_id: answer for node_id, answer in enumerate(answers, 1) if answer is not None}
        won = all(sum(votes.get(v, False) for v in half) > len(half) // 2 for half in halves)
        open_or_won = all(sum(votes.get(v, True) for v in half) > len(half) // 2 for half in halves)
        expected = Tally.WON if won else Tally.PENDING if open_or_won else Tally.LOST

        assert tally(configuration, votes) is expected


def test_configuration_survives_its_bytes() -> None:
    """Stable for ever: this is what logs on disk hold."""
    configuration = Configuration((1, 2, 9), (2, 3), (4,), (3,), auto_leave=True)

    raw = configuration.encode()

    assert Configuration.decode(raw) == configuration
    assert raw == bytes.fromhex(
        "0101000300020001000100000001000000020000000900000002000000030000000400000003"
    )
    assert Configuration.decode(Configuration(()).encode()) == Configuration(())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x02" + Configuration((1,)).encode()[1:],
        b"\x01\x02" + Configuration((1,)).encode()[2:],
        Configuration((1,)).encode() + b"\x00",
        Configuration((2, 1)).encode(),
        Configuration((1, 1)).encode(),
        Configuration((0, 1)).encode(),
        Configuration((1,), learners=(1,)).encode(),
        Configuration((1,), learners_next=(2,)).encode(),
    ],
)
def test_bytes_that_are_no_configuration_are_refused(raw: bytes) -> None:
    """What comes from a disk or a peer is checked."""
    with pytest.raises(BadConfiguration):
        Configuration.decode(raw)


def test_change_of_one_voter_is_simple_and_of_two_is_joint() -> None:
    """Raft thesis, sections 4.1 and 4.3."""
    current = Configuration((1, 2, 3), learners=(4,))

    added = change_configuration(current, ConfigurationChange((4, 3, 2, 1)))
    replaced = change_configuration(current, ConfigurationChange((1, 2, 4), learners=(3, 5)))

    assert added == Configuration((1, 2, 3, 4))
    assert replaced == Configuration((1, 2, 4), (1, 2, 3), (5,), (3,), auto_leave=True)
    assert leave_joint(replaced) == Configuration((1, 2, 4), learners=(3, 5))


@pytest.mark.parametrize(
    "change",
    [
        ConfigurationChange(()),
        ConfigurationChange((1, 1)),
        ConfigurationChange((1, 2), learners=(2,)),
        ConfigurationChange((0, 1)),
    ],
)
def test_impossible_membership_is_refused(change: ConfigurationChange) -> None:
    """And the group stays as it was."""
    cluster = Cluster()
    leader = cluster.elect(1)

    with pytest.raises(ProposalRefused) as refused:
        leader.propose_configuration(change)

    assert refused.value.reason is Refusal.BAD_CHANGE
    assert not leader.has_ready()


def test_learner_is_added_catches_up_and_is_promoted() -> None:
    """S71: it never counts before."""
    cluster = Cluster(strangers=(4,))
    leader = cluster.elect(1)
    cluster.propose(1, b"old")
    leader.propose_configuration(ConfigurationChange((1, 2, 3), learners=(4,)))
    cluster.tick(8)
    caught_up = cluster.commands(4)
    cluster.cut_off = [2, 3]
    index = cluster.propose(1, b"new")[0]
    without_quorum = leader.commit
    cluster.cut_off = []
    cluster.tick(8)

    leader.propose_configuration(ConfigurationChange((1, 2, 3, 4)))
    cluster.tick(8)

    assert caught_up == [b"old"]
    assert without_quorum < index
    assert leader.configuration == Configuration((1, 2, 3, 4))
    assert cluster.commands(4) == [b"old", b"new"]
    leader.transfer_leader(4)
    cluster.settle()
    assert cluster.leaders() == [4]


def test_only_one_change_is_in_flight() -> None:
    """S73: the second is refused with a reason, and allowed after the commit."""
    cluster = Cluster(strangers=(4, 5))
    leader = cluster.elect(1)
    cluster.cut_off = [2, 3]
    leader.propose_configuration(ConfigurationChange((1, 2, 3), learners=(4,)))
    cluster.settle()

    with pytest.raises(ProposalRefused) as refused:
        leader.propose_configuration(ConfigurationChange((1, 2, 3), learners=(5,)))
    cluster.cut_off = []
    cluster.tick(8)
    leader.propose_configuration(ConfigurationChange((1, 2, 3), learners=(5,)))
    cluster.tick(8)

    assert refused.value.reason is Refusal.CHANGE_IN_FLIGHT
    assert leader.configuration.learners == (5,)


def test_removed_leader_leads_until_its_removal_itself_is_committed() -> None:
    """S78: a commit below that entry is not enough."""
    cluster = Cluster()
    leader = cluster.elect(1)
    leader.propose([b"x"])
    leader.propose_configuration(ConfigurationChange((2, 3)))
    cluster.nodes[1].take()
    for sender in (2, 3):
        leader.step(Message(MessageType.APPEND_REPLY, sender, 1, 1, index=2))

    assert leader.commit == 2
    assert leader.role is Role.LEADER


def test_change_waits_for_a_commit_of_the_leaders_own_term() -> None:
    """Ongaro's correction of 2015: else two changes of different terms might not overlap."""
    cluster = Cluster()
    cluster.drop = lambda m: m.type == MessageType.APPEND
    leader = cluster.elect(1)

    with pytest.raises(ProposalRefused) as refused:
        leader.propose_configuration(ConfigurationChange((1, 2)))

    assert refused.value.reason is Refusal.NO_OWN_COMMIT


def test_replica_is_replaced_through_a_joint_configuration() -> None:
    """S75: majorities of both halves commit it, and the leader leaves it by itself."""
    cluster = Cluster(strangers=(4,))
    leader = cluster.elect(1)
    leader.propose_configuration(ConfigurationChange((1, 2, 3), learners=(4,)))
    cluster.tick(8)
    leader.propose_configuration(ConfigurationChange((1, 2, 4)))
    joint = leader.configuration
    cluster.tick(8)

    assert joint == Configuration((1, 2, 4), (1, 2, 3), auto_leave=True)
    assert leader.configuration == Configuration((1, 2, 4))
    assert cluster.core(4).configuration == Configuration((1, 2, 4))


@pytest.mark.parametrize("away", [(2, 3), (4, 5)])
def test_joint_configuration_commits_only_with_both_majorities(away: tuple[int, ...]) -> None:
    """S75: neither the old nor the new half decides alone."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    change = ConfigurationChange((1, 4, 5), auto_leave=False)
    index = leader.propose_configuration(change)
    cluster.cut_off = list(away)
    cluster.settle()
    without = leader.commit

    read_id = leader.read_index()
    cluster.settle()
    reads_without = dict(cluster.nodes[1].reads)
    cluster.tick(12)
    cluster.cut_off = []
    cluster.tick(12)

    assert without < index
    assert reads_without == {}
    assert leader.commit == index
    assert read_id in cluster.nodes[1].reads


@pytest.mark.parametrize("away", [(2, 3), (4, 5)])
def test_joint_configuration_elects_and_keeps_a_leader_only_with_both_majorities(
    away: tuple[int, ...],
) -> None:
    """S75: votes and CheckQuorum count both halves."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    leader.propose_configuration(ConfigurationChange((1, 4, 5), auto_leave=False))
    cluster.tick(8)

    cluster.cut_off = list(away)
    cluster.tick(100)
    leaders = cluster.leaders()
    cluster.cut_off = []
    cluster.tick(120)

    assert leaders == []
    assert len(cluster.leaders()) == 1


def test_joint_configuration_without_auto_leave_is_left_when_asked() -> None:
    """And nothing else may change meanwhile."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    with pytest.raises(ProposalRefused) as not_joint:
        leader.propose_leave_joint()
    leader.propose_configuration(ConfigurationChange((1, 4, 5), (3,), auto_leave=False))
    cluster.tick(8)
    with pytest.raises(ProposalRefused) as in_flight:
        leader.propose_configuration(ConfigurationChange((1,)))

    leader.propose_leave_joint()
    cluster.tick(8)

    assert not_joint.value.reason is Refusal.NOT_JOINT
    assert in_flight.value.reason is Refusal.CHANGE_IN_FLIGHT
    assert leader.configuration == Configuration((1, 4, 5), learners=(3,))


def test_new_leader_leaves_a_joint_configuration_it_inherits() -> None:
    """The leader that entered it is gone."""
    cluster = Cluster((1, 2, 3), learners=(4, 5))
    leader = cluster.elect(1)
    cluster.tick(8)
    cluster.drop = lambda m: any(
        e.kind == EntryKind.CONFIGURATION and b"\x00\x00\x00\x00\x00" not in e.payload
        for e in m.entries
    )
    leader.propose_configuration(ConfigurationChange((1, 4, 5)))
    cluster.nodes[1].take()
    cluster.send(cluster.nodes[1].sync())
    cluster.drop = lambda m: False
    cluster.core(1).peer_unreachable(2)
    cluster.run(cluster.nodes[1])
    cluster.deliver()
    cluster.run(cluster.nodes[2])
    cluster.nodes[1].crash()
    cluster.messages.clear()
    assert cluster.core(2).configuration.joint

    cluster.tick(80)

    assert cluster.leaders() != []
    current = cluster.core(cluster.leaders()[0]).configuration
    assert current == Configuration((1, 4, 5))


def test_leave_joint_passes_the_bound_on_uncommitted_bytes() -> None:
    """S33: a group must be repairable when it is full."""
    cluster = Cluster((1, 2, 3), learners=(4, 5), uncommitted_bytes_max=10)
    leader = cluster.elect(1)
    cluster.tick(8)

    leader.propose([b"x" * 100])
    leader.propose_configuration(ConfigurationChange((1, 4, 5)))
    cluster.tick(8)

    assert leader.configuration == Configuration((1, 4, 5))


def test_removed_leader_commits_its_removal_without_itself_and_hands_over() -> None:
    """S78: then it is an ordinary stranger, and another leads at once."""
    cluster = Cluster()
    leader = cluster.elect(1)
    cluster.propose(1, b"x")
    index = leader.propose_configuration(ConfigurationChange((2, 3)))
    cluster.cut_off = [2, 3]
    cluster.settle()
    alone = leader.commit
    cluster.cut_off = []
    cluster.tick(8)

    assert alone < index
    assert leader.role is Role.FOLLOWER
    assert leader.commit == index
    assert cluster.leaders() != []
    assert 1 not in cluster.leaders()
    cluster.tick(100)
    assert leader.role is Role.FOLLOWER


def test_leader_that_becomes_a_learner_steps_down_too() -> None:
    """S78: a learner does not lead."""
    cluster = Cluster()
    leader = cluster.elect(1)

    leader.propose_configuration(ConfigurationChange((2, 3), learners=(1,)))
    cluster.tick(8)

    assert leader.role is Role.FOLLOWER
    assert cluster.leaders() in ([2], [3])


def test_replica_whose_removal_is_uncommitted_may_still_be_elected() -> None:
    """Thesis 4.2.2: it may be the only one that has the entry. Found by simulation."""
    removal = Entry(2, 1, EntryKind.CONFIGURATION, Configuration((2,), learners=(1,)).encode())
    disk = Disk(Configuration((1, 2)), HardState(1, 1), MemoryLog([*entries_of(1), removal]))
    node = Node(RaftConfig(node_id=1), disk, Random(1))

    node.core.campaign()
    asked = [(m.type, m.to) for m in node.take()]
    step_synced(node, Message(MessageType.PRE_VOTE_REPLY, 2, 1, 2))
    step_synced(node, Message(MessageType.VOTE_REPLY, 2, 1, 2))
    roles = [node.core.role]
    step_synced(node, Message(MessageType.APPEND_REPLY, 2, 1, 2, index=3))
    roles.append(node.core.role)

    assert asked == [(MessageType.PRE_VOTE, 2)]
    assert roles == [Role.LEADER, Role.FOLLOWER]
    assert node.core.commit == 3


def test_configuration_is_in_effect_on_append_and_goes_back_on_truncation() -> None:
    """Raft thesis, section 4.1."""
    node = lone_node(1)
    four = Configuration((1, 2, 3, 4))
    entry = Entry(2, 1, EntryKind.CONFIGURATION, four.encode())
    step_synced(node, append([*entries_of(1), entry], index=0, log_term=0, term=1))
    in_effect = node.core.configuration

    step_synced(node, append(entries_of(2, low=2), index=1, log_term=1, term=2))

    assert in_effect == four
    assert node.core.configuration == Configuration((1, 2, 3))


def test_configuration_that_comes_twice_is_in_effect_once() -> None:
    """An append that overlaps what is here."""
    node = lone_node(1)
    four = Entry(1, 1, EntryKind.CONFIGURATION, Configuration((1, 2, 3, 4)).encode())
    five = Entry(2, 1, EntryKind.CONFIGURATION, Configuration((1, 2, 3, 4, 5)).encode())
    step_synced(node, append([four], index=0, log_term=0, term=1))

    step_synced(node, append([four, five], index=0, log_term=0, term=1))
    voters = [node.core.configuration.voters]
    step_synced(node, append(entries_of(2, low=2), index=1, log_term=1, term=2))
    voters.append(node.core.configuration.voters)

    assert voters == [(1, 2, 3, 4, 5), (1, 2, 3, 4)]


def test_history_forgets_what_cannot_come_back() -> None:
    """Once a newer one is committed."""
    history = ConfigurationHistory(0, Configuration((1,)))
    history.append(3, Configuration((1, 2)))
    history.append(5, Configuration((1, 2, 3)))

    history.settle(4)

    assert not history.truncate(6)
    assert history.truncate(5)
    assert history.current == Configuration((1, 2))
    with pytest.raises(AssertionError):
        history.truncate(3)


def test_configurations_in_the_log_are_found_again_at_start() -> None:
    """They may be above what was applied; the log is read in pages."""
    four = Configuration((1, 2, 3, 4))
    log = [*entries_of(1, 1), Entry(3, 1, EntryKind.CONFIGURATION, four.encode())]
    node = lone_node(1, entries=log, term=1, commit=1)

    assert node.core.configuration == four


def test_new_voter_does_not_cost_the_leader_its_quorum_at_once() -> None:
    """CheckQuorum gives a new member an election timeout to answer."""
    cluster = Cluster((1, 2, 3), strangers=(4,))
    leader = cluster.elect(1)
    cluster.tick(100)
    cluster.cut_off = [3]

    leader.propose_configuration(ConfigurationChange((1, 2, 3, 4)))
    cluster.tick(100)

    assert cluster.leaders() == [1]
    assert messages_of(cluster, MessageType.SNAPSHOT) == []
