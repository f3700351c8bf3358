"""The write path: what is durable where before a write is answered, and what an entry holds.

Source: design.md, section 5.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from node.machine import leadership
from node.write_watch import WriteWatch
from quorate.cluster.outcome import Outcome
from tests.node.builders import (
    add,
    attributes,
    delete,
    delete_returning_old,
    key,
    number,
    put,
    put_returning_old,
)
from tests.node.harness import NODES, Cluster, outcomes


def last_index(cluster: Cluster) -> int:
    return cluster.leader().replica().core.last_index


def hold_all_logs(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        node.log_held = True


def test_put_is_answered_after_own_log_write_and_one_followers(cluster: Cluster) -> None:
    """Section 5, rule 1: an ack counts a replica only after its own log commit returned."""
    hold_all_logs(cluster)

    (request,) = cluster.do(put("a"))
    assert request.outcome is None
    cluster.nodes[1].finish_log_write()
    cluster.run()
    assert request.outcome is None
    cluster.nodes[2].finish_log_write()
    cluster.run()

    assert request.outcome is Outcome.OK
    assert cluster.nodes[3].log_write is not None


def test_put_is_answered_after_two_followers_log_writes_before_own(cluster: Cluster) -> None:
    """S38: a quorum without the leader's own slow disk commits; it applies what it has durable."""
    hold_all_logs(cluster)

    (request,) = cluster.do(put("a", n=1))
    cluster.nodes[2].finish_log_write()
    cluster.nodes[3].finish_log_write()
    cluster.run()
    assert cluster.leader().replica().core.commit == last_index(cluster)
    cluster.nodes[1].finish_log_write()
    cluster.run()

    assert request.outcome is Outcome.OK


def test_put_is_not_answered_by_one_followers_log_write_alone(cluster: Cluster) -> None:
    """One of three is no quorum, whichever it is."""
    hold_all_logs(cluster)

    (request,) = cluster.do(put("a"))
    cluster.nodes[2].finish_log_write()
    cluster.run()

    assert request.outcome is None
    assert cluster.leader().replica().machine.image(key("a")) == b""


def test_append_leaves_before_the_leaders_own_log_write(cluster: Cluster) -> None:
    """Section 5, step 3: replication and the own fsync run side by side."""
    hold_all_logs(cluster)

    cluster.do(put("a"))

    assert cluster.nodes[1].log_write is not None
    assert cluster.nodes[2].log_write is not None
    assert cluster.nodes[3].log_write is not None


def test_writes_of_one_turn_share_one_entry(cluster: Cluster) -> None:
    """Section 5, step 2: all images of the turn make one log entry for that partition."""
    before = last_index(cluster)

    requests = cluster.do(*(put(f"k{n}", n=n) for n in range(50)))

    assert outcomes(requests) == [Outcome.OK] * 50
    assert last_index(cluster) == before + 1


def test_writes_during_a_log_write_become_the_next_entry(cluster: Cluster) -> None:
    """Section 7: a turn starts only when the log writer is idle; it then takes all that waits."""
    before = last_index(cluster)
    cluster.nodes[1].log_held = True

    first = cluster.do(put("a"))
    later = [*cluster.do(put("b")), *cluster.do(put("c")), *cluster.do(put("d"))]
    assert last_index(cluster) == before + 1
    cluster.nodes[1].log_held = False
    cluster.run()

    assert last_index(cluster) == before + 2
    assert outcomes(first + later) == [Outcome.OK] * 4


def test_one_log_write_covers_all_groups_of_a_node(directory: Path) -> None:
    """S94: section 7: a turn submits one log commit for all groups, however many it touches."""
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=3)
    for group in (2, 3):
        assert cluster.leader(group).host.transfer_leadership(group, 1)
    cluster.tick(10)
    node = cluster.nodes[1]
    before = node.log_store.commit_count()

    requests = cluster.write(*(put(f"k{n}") for n in range(20)), at=1)
    assert {cluster.partition_of(key(f"k{n}")) for n in range(20)} == {1, 2, 3}
    node.turn()
    node.finish_log_write()
    cluster.run()

    assert outcomes(requests) == [Outcome.OK] * 20
    assert node.log_store.commit_count() == before + 1
    cluster.close()


def test_batch_is_accepted_only_while_the_log_writer_is_idle(cluster: Cluster) -> None:
    """Section 7: a router keeps one message outstanding until the node's beat takes it in."""
    cluster.do(put("a"))
    router = cluster.nodes[1].router
    cluster.nodes[1].log_held = True
    cluster.do(put("b"))
    assert router.accepted == router.sequence

    cluster.do(put("c"))
    assert router.accepted == router.sequence - 1
    cluster.nodes[1].log_held = False
    cluster.run()

    assert router.accepted == router.sequence


def test_two_updates_of_one_turn_see_each_other(cluster: Cluster) -> None:
    """Section 5, step 2: evaluation is against the newest image, in order of arrival."""
    first, second = cluster.do(add("counter"), add("counter"))

    assert attributes(first.payload) == {"n": {"N": "1"}}
    assert attributes(second.payload) == {"n": {"N": "2"}}
    assert number(cluster.read(key("counter"))) == 2


def test_update_sees_the_image_of_an_entry_in_flight(cluster: Cluster) -> None:
    """An image that is proposed and not committed is the newest one for evaluation."""
    cluster.cut(1, broken=False)
    first = cluster.do(add("counter"))
    second = cluster.do(add("counter"))
    assert outcomes(first + second) == [None, None]

    cluster.heal()
    cluster.tick(10)

    assert attributes(second[0].payload) == {"n": {"N": "2"}}
    assert number(cluster.read(key("counter"))) == 2


def test_update_sees_a_delete_in_flight_behind_an_older_delete(cluster: Cluster) -> None:
    """Applying an older delete must not uncover a put between it and a newer delete."""
    cluster.done(put("a", n=5))
    cluster.hold((2, 1), (3, 1))
    for write in (delete("a"), put("a", n=7), delete("a")):
        cluster.do(write)

    # Two of the three entries are committed, one by one, before the next write comes.
    for _ in range(2):
        assert cluster.deliver((2, 1), held=True)
        cluster.run()
    assert number(cluster.leader().replica().machine.image(key("a"))) == 7
    cluster.do(add("a"))
    cluster.release()

    assert number(cluster.read(key("a"))) == 1


def test_write_units_are_of_the_larger_image(cluster: Cluster) -> None:
    """Developer Guide: a write costs the larger of the item before and after, per 1 KB."""
    small, large = "x" * 10, "x" * 3000

    units = [
        cluster.done(put("a", text=small)).units,
        cluster.done(put("a", text=large)).units,
        cluster.done(put("a", text=small)).units,
        cluster.done(put("a", text=large)).units,
        cluster.done(delete("a")).units,
        cluster.done(delete("a")).units,
    ]

    assert units == [1, 3, 3, 3, 3, 1]


def test_update_costs_units_as_a_put_does(cluster: Cluster) -> None:
    """The same rule on the way through a program."""
    cluster.done(put("a", text="x" * 5000))

    assert cluster.done(add("a")).units == 5


def test_old_attributes_are_returned(cluster: Cluster) -> None:
    """ReturnValues ALL_OLD of puts and deletes; nothing if there was no item."""
    assert cluster.done(put_returning_old("a", n=1)).payload == b""
    put_old = cluster.done(put_returning_old("a", n=2))
    delete_old = cluster.done(delete_returning_old("a"))

    assert attributes(put_old.payload)["n"] == {"N": "1"}
    assert attributes(delete_old.payload)["n"] == {"N": "2"}
    assert cluster.read(key("a")) == b""


def test_full_entry_leaves_the_rest_for_the_next_turn(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry is bounded in bytes; what does not fit is not refused but waits."""
    monkeypatch.setattr(leadership, "ENTRY_BYTES_MAX", 2000)
    before = last_index(cluster)

    requests = cluster.do(*(put(f"k{n}", text="x" * 900) for n in range(7)))

    assert outcomes(requests) == [Outcome.OK] * 7
    assert last_index(cluster) == before + 3


def test_followers_apply_the_same_images_and_sizes(cluster: Cluster) -> None:
    """Section 5: followers get images and never evaluate, so every replica is the same."""
    for number_ in range(20):
        cluster.do(add(f"k{number_ % 5}"), put(f"p{number_}", n=number_))
    cluster.do(delete("p3"), delete("p3"), delete("nobody"))
    cluster.tick()

    cluster.assert_replicas_equal()
    sizes = cluster.nodes[2].replica().machine.table_sizes[1]
    assert sizes[0] == len(cluster.items_at(2)) == 5 + 19


def test_every_node_hears_who_leads(cluster: Cluster) -> None:
    """Section 4: routers learn leaders from the nodes' streams."""
    assert [cluster.nodes[node_id].router.leaders[1][1] for node_id in NODES] == [1, 1, 1]


def test_write_that_waits_shows_in_its_stages_and_a_slow_one_in_the_log(cluster: Cluster) -> None:
    lines: list[dict[str, object]] = []
    watch = WriteWatch(lambda event, **facts: lines.append({"event": event, **facts}), lambda: 0.0)
    leader = cluster.leader()
    leader.replica()._watch = leader.host.watch = watch
    watch._slow_seconds = 0.75
    write = put("a")

    cluster.do(put("quick"))
    assert lines == []
    hold_all_logs(cluster)
    cluster.do(write, put("b"))
    cluster.now += 1.0  # nobody's clock ticks: no heartbeat is missed
    for node in cluster.nodes.values():
        node.finish_log_write()
    cluster.run()

    (line,) = lines
    assert line["event"] == "slow_entry"
    assert (line["group"], line["index"]) == (leader.replica().group, last_index(cluster))
    assert (line["queue_ms"], line["quorum_ms"], line["writes"]) == (0.0, 1000.0, 2)
    assert str(line["ids"]).split(",")[0] == write.request_id.hex()
    assert [watch.queue.count, watch.quorum.count, watch.batch.count] == [3, 3, 2]
    assert watch.quorum.read()[1] == pytest.approx(2.0)
