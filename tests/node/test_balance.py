"""Leadership goes where it belongs: back to the preferred replica, and away from a stopping node.

Source: design.md, section 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.host import TICK_SECONDS
from node.leaderships import FIRST_CAMPAIGN_TICKS, SETTLED_SECONDS
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.outcome import Outcome
from raft.types import Role
from tests.node.builders import key, put
from tests.node.harness import NODES, PARTITION, Cluster, outcomes

SETTLED_TICKS = round(SETTLED_SECONDS / TICK_SECONDS)


@pytest.fixture
def three(directory: Path) -> Iterator[Cluster]:
    """Three partitions, led by one node each."""
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=3)
    yield cluster
    cluster.close()


def led_by(cluster: Cluster, node_id: int) -> list[int]:
    replicas = cluster.nodes[node_id].host.replicas
    return [group for group, replica in replicas.items() if replica.core.role is Role.LEADER]


def test_leadership_returns_to_the_preferred_replica(cluster: Cluster) -> None:
    cluster.crash(1)
    other = cluster.wait_for_other_leader(1)
    cluster.done(put("a"), at=other.id)
    cluster.restart(1)

    cluster.tick(SETTLED_TICKS // 2)
    assert cluster.leader().id == other.id
    cluster.tick(SETTLED_TICKS + 40)

    assert cluster.leader().id == 1
    assert cluster.leader().replica().core.may_evaluate


def test_leadership_does_not_return_before_the_preferred_replica_has_caught_up(
    cluster: Cluster,
) -> None:
    cluster.crash(1)
    other = cluster.wait_for_other_leader(1)
    cluster.restart(1)
    cluster.nodes[1].log_held = True
    cluster.done(put("a"), at=other.id)

    cluster.tick(2 * SETTLED_TICKS)
    assert cluster.leader().id == other.id
    cluster.nodes[1].log_held = False
    cluster.tick(2 * SETTLED_TICKS)

    assert cluster.leader().id == 1


def test_no_write_fails_while_leadership_returns(cluster: Cluster) -> None:
    """A write that comes while leadership is handed over is told to ask the other, at worst."""
    cluster.crash(1)
    other = cluster.wait_for_other_leader(1)
    cluster.restart(1)

    requests = []
    for place in range(2 * SETTLED_TICKS):
        requests += cluster.do(put(f"k{place}"), at=other.id)
        cluster.tick()

    assert cluster.leader().id == 1
    assert set(outcomes(requests)) == {Outcome.OK, Outcome.NOT_LEADER}


def test_draining_node_hands_all_leaderships_over(three: Cluster) -> None:
    """SIGTERM: a rolling restart loses no request."""
    node = three.nodes[1]
    assert led_by(three, 1) == [0, 1]

    assert not node.host.drain()
    three.run()

    assert node.host.drain()
    assert led_by(three, 1) == []
    three.tick(2)
    assert three.leader(PARTITION).id in (2, 3)


def test_drain_lasts_until_the_new_leader_serves(cluster: Cluster) -> None:
    """Here it needs the old one's vote, which is not on disk yet: the third node is down."""
    cluster.crash(3)
    cluster.tick(25)
    old, new = cluster.nodes[1], cluster.nodes[2]
    old.host.drain()
    old.log_held = True
    cluster.run()
    assert old.replica().core.role is Role.FOLLOWER
    assert not old.host.drain()

    old.log_held = False
    cluster.tick()

    assert old.host.drain()
    assert new.replica().core.may_evaluate


def test_leadership_goes_to_the_other_replica_if_the_first_one_dies_meanwhile(
    cluster: Cluster,
) -> None:
    cluster.hold((1, 2), (1, 3))
    cluster.nodes[1].host.drain()
    heir = cluster.nodes[1].replica().core.status().transferee
    cluster.crash(heir)
    cluster.release()
    for _ in range(3):
        cluster.nodes[1].host.drain()
        cluster.tick()

    assert cluster.leader().id == ({2, 3} - {heir}).pop()


def test_drained_node_gets_no_leadership_back_by_itself(three: Cluster) -> None:
    """It is about to stop, and does not hand its groups out twice."""
    three.nodes[1].host.drain()
    three.run()
    led = led_by(three, 1)

    three.tick(20)

    assert led == led_by(three, 1) == []


def test_write_that_waits_during_a_hand_over_is_told_to_ask_the_new_leader(
    three: Cluster,
) -> None:
    three.hold((1, 2), (1, 3))
    three.nodes[1].host.drain()
    three.run()
    name = next(name for name in map(str, range(100)) if three.partition_of(key(name)) == 1)
    (request,) = three.do(put(name), at=1)
    assert request.outcome is None

    three.release()
    three.tick(2)

    assert request.outcome is Outcome.NOT_LEADER


def test_nodes_that_drain_together_end(three: Cluster) -> None:
    """When all stop at once, leaderships must not go in circles."""
    for _ in range(60):
        done = [node.host.drain() for node in three.up()]
        if all(done):
            break
        three.tick()

    assert all(done)


def test_drain_without_a_live_peer_ends(cluster: Cluster) -> None:
    cluster.crash(2, 3)
    cluster.tick(25)

    assert cluster.nodes[1].host.drain()


def test_leadership_is_handed_over_on_request(cluster: Cluster) -> None:
    assert cluster.nodes[1].host.transfer_leadership(PARTITION, 3)
    cluster.run()

    assert cluster.leader().id == 3


@pytest.mark.parametrize(("at", "group", "to"), [(2, PARTITION, 3), (1, 99, 3), (1, PARTITION, 9)])
def test_leadership_that_cannot_be_handed_over_stays(
    cluster: Cluster, at: int, group: int, to: int
) -> None:
    """Not the leader, not a group here, not a voter."""
    assert not cluster.nodes[at].host.transfer_leadership(group, to)
    cluster.tick()

    assert cluster.leader().id == 1


def test_preferred_leaders_are_elected_at_the_start(three: Cluster) -> None:
    """So that a new cluster is balanced without any move."""
    assert [three.leader(group).id for group in (1, 2, 3)] == list(NODES)


def test_a_preferred_leader_campaigns_again_soon_if_its_peers_cannot_answer_yet(
    directory: Path,
) -> None:
    """In a new cluster they may not have heard of the group, nor have a stream to it."""
    cluster = Cluster(directory)
    cluster.cut(1, broken=False)
    cluster.tick(2 * FIRST_CAMPAIGN_TICKS)
    assert not cluster.serving(CATALOG_GROUP)

    cluster.heal()
    cluster.tick(FIRST_CAMPAIGN_TICKS)

    assert cluster.serving(CATALOG_GROUP)
    assert cluster.leader(CATALOG_GROUP).id == 1
    cluster.close()
