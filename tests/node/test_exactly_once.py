"""Exactly once: a request id is applied once, and a retry gets the first attempt's answer.

`ADD n 1` retried across the death of a leader counts once.
"""

from __future__ import annotations

import pytest

from node.machine import dedupe
from quorate.cluster.outcome import Outcome
from tests.node.builders import (
    add,
    attributes,
    delete_returning_old,
    key,
    new_id,
    number,
    put,
    put_if_absent,
    put_returning_old,
)
from tests.node.harness import NODES, PARTITION, Cluster, outcomes

ONE = {"n": {"N": "1"}}


def restart_all(cluster: Cluster) -> None:
    cluster.crash(*NODES)
    cluster.restart(*NODES)
    cluster.tick_until(cluster.serving)


def test_repeated_request_gets_the_first_answer(cluster: Cluster) -> None:
    write = add("counter")
    first = cluster.done(write)

    again = cluster.done(write)

    assert (again.units, again.payload) == (first.units, first.payload)
    assert number(cluster.read(key("counter"))) == 1


def test_repeated_request_in_flight_gets_the_same_answer_later(cluster: Cluster) -> None:
    """The first attempt is proposed and not committed: the second waits for it."""
    cluster.hold((2, 1), (3, 1))
    write = add("counter")

    requests = [*cluster.do(write), *cluster.do(write)]
    assert outcomes(requests) == [None, None]
    cluster.release()

    assert outcomes(requests) == [Outcome.OK, Outcome.OK]
    assert [attributes(request.payload) for request in requests] == [ONE, ONE]
    assert number(cluster.read(key("counter"))) == 1


def test_request_repeated_within_a_turn_is_applied_once(cluster: Cluster) -> None:
    write = add("counter")

    requests = cluster.do(write, write)

    assert [attributes(request.payload) for request in requests] == [ONE, ONE]
    assert number(cluster.read(key("counter"))) == 1


def test_repeated_conditional_put_that_succeeded_succeeds_again(cluster: Cluster) -> None:
    """Evaluated anew its condition would fail: the first answer is the true one."""
    write = put_if_absent("a", n=1)
    cluster.done(write)

    assert cluster.done(write).outcome is Outcome.OK


def test_repeated_delete_returns_the_item_it_deleted(cluster: Cluster) -> None:
    cluster.done(put("a", n=1))
    write = delete_returning_old("a")
    first = cluster.done(write)
    cluster.done(put("a", n=2))

    again = cluster.done(write)

    assert again.payload == first.payload
    assert number(cluster.read(key("a"))) == 2


def test_retry_at_the_new_leader_gets_the_first_answer_if_the_entry_survived(
    cluster: Cluster,
) -> None:
    """The old leader died before it could answer; its entry was on a follower."""
    cluster.hold((2, 1), (3, 1))
    write = add("counter")
    (lost,) = cluster.do(write, at=1)
    cluster.crash(1)
    cluster.release()
    other = cluster.wait_for_other_leader(1)

    again = cluster.done(write, at=other.id)

    assert lost.outcome is None
    assert attributes(again.payload) == ONE
    assert number(cluster.read(key("counter"), at=other.id)) == 1


def test_retry_at_the_new_leader_is_applied_if_the_entry_did_not_survive(
    cluster: Cluster,
) -> None:
    cluster.cut(1, broken=False)
    write = add("counter")
    (unknown,) = cluster.do(write, at=1)
    other = cluster.wait_for_other_leader(1)

    again = cluster.done(write, at=other.id)
    cluster.heal()
    cluster.tick(10)

    assert unknown.outcome is Outcome.UNKNOWN
    assert attributes(again.payload) == ONE
    assert number(cluster.read(key("counter"))) == 1
    cluster.assert_replicas_equal()


def test_retry_at_a_new_leader_that_has_not_applied_the_entry_waits_for_it(
    cluster: Cluster,
) -> None:
    """The new leader has the entry but may not yet know that it is committed."""
    cluster.hold((2, 1), (3, 1))
    write = add("counter")
    cluster.do(write, at=1)
    cluster.crash(1)
    cluster.release()

    requests = []
    for _ in range(60):
        cluster.tick()
        requests += [*cluster.do(write, at=2), *cluster.do(write, at=3)]

    answered = [request for request in requests if request.outcome is Outcome.OK]
    assert answered
    assert {attributes(request.payload)["n"]["N"] for request in answered} == {"1"}


def test_retry_after_a_restart_of_all_nodes_gets_the_first_answer(cluster: Cluster) -> None:
    """The ids are in the log: replaying it brings them back."""
    write = add("counter")
    first = cluster.done(write)

    restart_all(cluster)
    again = cluster.done(write)

    assert again.payload == first.payload
    assert number(cluster.read(key("counter"))) == 1


def test_retry_after_checkpoint_and_restart_gets_the_first_answer(cluster: Cluster) -> None:
    """Above the checkpoint nothing is replayed: the ids come from the items store."""
    write, later = add("counter"), add("counter")
    first = cluster.done(write)
    cluster.tick()
    cluster.checkpoint()
    second = cluster.done(later)

    restart_all(cluster)
    assert cluster.leader().applied_at_start[PARTITION] > 0
    again, later_again = cluster.done(write), cluster.done(later)

    assert (again.payload, again.units) == (first.payload, first.units)
    assert (later_again.payload, later_again.units) == (second.payload, second.units)
    assert number(cluster.read(key("counter"))) == 2


def test_retry_while_a_checkpoint_is_written_gets_the_first_answer(cluster: Cluster) -> None:
    write = add("counter")
    cluster.done(write)
    cluster.nodes[1].items_held = True
    cluster.checkpoint()

    assert attributes(cluster.done(write).payload) == ONE


def test_retry_of_an_expired_request_is_applied_once(cluster: Cluster) -> None:
    """EXPIRED says that it was surely not proposed."""
    write = add("counter")
    write.deadline_ms = 0
    (expired,) = cluster.do(write)
    write.deadline_ms = 1000

    cluster.done(write)

    assert expired.outcome is Outcome.EXPIRED
    assert number(cluster.read(key("counter"))) == 1


def test_ids_are_forgotten_after_the_window(cluster: Cluster) -> None:
    """The window is bounded in time; after it a repeated id is a new request."""
    write = add("counter")
    cluster.done(write)
    for _ in range(4):
        cluster.now += 40.0
        cluster.done(put("other"))
        cluster.checkpoint()

    again = cluster.done(write)

    assert attributes(again.payload) == {"n": {"N": "2"}}


def test_ids_within_the_window_are_not_forgotten_by_checkpoints(cluster: Cluster) -> None:
    write = add("counter")
    cluster.done(write)
    for _ in range(8):
        cluster.now += 5.0
        cluster.done(put("other"))
        cluster.checkpoint()

    restart_all(cluster)

    assert attributes(cluster.done(write).payload) == ONE


def test_forgotten_ids_are_deleted_from_the_items_store(cluster: Cluster) -> None:
    for _ in range(6):
        cluster.now += 40.0
        cluster.done(put("a"))
        cluster.tick()
        cluster.checkpoint()

    assert len(cluster.nodes[2].items.generations(PARTITION)) <= 3


def test_large_answers_of_other_writes_do_not_shorten_the_window(cluster: Cluster) -> None:
    """90 answers of 200 KB are more than is kept of answers; the ids stay, all of them."""
    write = add("counter")
    first = cluster.done(write)
    cluster.checkpoint()
    text = "x" * 200_000
    for number_ in range(90):
        cluster.done(put_returning_old("other", text=text, n=number_))
        if number_ % 20 == 0:
            cluster.now += 5.0
            cluster.checkpoint()

    again = cluster.done(write)

    assert (again.outcome, again.units, again.payload) == (Outcome.OK, first.units, b"")
    assert number(cluster.read(key("counter"))) == 1


def test_refusal_whose_item_is_forgotten_stays_a_refusal(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dedupe, "ANSWERS_BYTES_MAX", 100)
    cluster.done(put("a", n=1))
    write = put_if_absent("a", old=True, n=2)
    (first,) = cluster.do(write)
    cluster.done(put("a", text="x" * 100))
    cluster.done(delete_returning_old("a"))

    (again,) = cluster.do(write)

    assert (first.outcome, again.outcome) == (Outcome.CONDITION_FAILED, Outcome.CONDITION_FAILED)
    assert first.payload
    assert not again.payload
    assert cluster.read(key("a")) == b""


def test_partition_whose_window_is_full_refuses_until_ids_are_old_enough(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids are not forgotten early to make room; what is refused may be sent again later."""
    monkeypatch.setattr(dedupe, "IDS_MAX", 10)
    write = add("counter")
    cluster.done(write)
    for number_ in range(9):
        cluster.done(put("other", n=number_))
    cluster.checkpoint()

    (refused,) = cluster.do(put("a"))
    assert refused.outcome is Outcome.OVERLOADED
    assert attributes(cluster.done(write).payload) == ONE
    cluster.now += dedupe.WINDOW_SECONDS + 1  # nothing is applied meanwhile, so no checkpoint

    cluster.done(put("a"))
    assert number(cluster.read(key("counter"))) == 1


def test_two_requests_with_one_id_on_other_keys_are_one_request(cluster: Cluster) -> None:
    """An id names a write, whatever it holds: it is the router's to give others to other writes."""
    first, second = put("a", n=1), put("b", n=2)
    first.request_id = second.request_id = new_id()

    cluster.done(first)
    cluster.done(second)

    assert cluster.read(key("b")) == b""
