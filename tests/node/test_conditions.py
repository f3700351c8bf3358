"""Conditions: a failed one is logged with its answer, and given when that is applied.

Source: design.md, section 5, "Rules that are easy to get wrong".
"""

from __future__ import annotations

from model.errors import decode_error
from quorate.cluster.outcome import Outcome
from tests.node.builders import (
    add,
    attributes,
    key,
    number,
    put,
    put_if,
    put_if_absent,
    set_name_to_path_of_number,
)
from tests.node.harness import Cluster, outcomes


def test_condition_that_holds_writes(cluster: Cluster) -> None:
    cluster.done(put_if_absent("a", n=1))

    assert number(cluster.read(key("a"))) == 1


def test_condition_that_fails_writes_nothing(cluster: Cluster) -> None:
    cluster.done(put("a", n=1))

    (failed,) = cluster.do(put_if_absent("a", n=2))

    assert failed.outcome is Outcome.CONDITION_FAILED
    assert number(cluster.read(key("a"))) == 1
    cluster.assert_replicas_equal()


def test_failed_condition_returns_the_old_item_if_asked(cluster: Cluster) -> None:
    """ReturnValuesOnConditionCheckFailure."""
    cluster.done(put("a", n=1))

    (plain,) = cluster.do(put_if_absent("a"))
    (with_item,) = cluster.do(put_if_absent("a", old=True))

    assert plain.payload == b""
    assert attributes(with_item.payload)["n"] == {"N": "1"}


def test_condition_is_evaluated_against_an_image_in_flight(cluster: Cluster) -> None:
    """Two conditional puts of one turn: the second sees the first, and only one succeeds."""
    first, second = cluster.do(put_if_absent("a", n=1), put_if_absent("a", n=2))

    assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.CONDITION_FAILED)
    assert number(cluster.read(key("a"))) == 1


def test_failed_condition_waits_for_the_write_it_was_evaluated_on(cluster: Cluster) -> None:
    """It was evaluated on an image that is not committed: it may not be answered before that."""
    cluster.hold((2, 1), (3, 1))

    requests = cluster.do(put("a", n=1), put_if_absent("a", n=2))
    later = cluster.do(put_if_absent("a", n=3))
    assert outcomes(requests + later) == [None, None, None]
    cluster.release()

    assert outcomes(requests) == [Outcome.OK, Outcome.CONDITION_FAILED]
    assert outcomes(later) == [Outcome.CONDITION_FAILED]


def test_failed_condition_waits_for_proof_of_leadership(cluster: Cluster) -> None:
    """With nothing else in flight its own entry is the proof."""
    cluster.done(put("a", n=1))
    cluster.hold((2, 1), (3, 1))

    (request,) = cluster.do(put_if_absent("a", n=2))
    assert request.outcome is None
    cluster.release()

    assert request.outcome is Outcome.CONDITION_FAILED


def test_failed_condition_is_proved_by_the_commit_of_the_same_turn(cluster: Cluster) -> None:
    """Another write's entry of the same turn commits after the evaluation: that is proof."""
    cluster.done(put("a", n=1))
    cluster.hold((2, 1), (3, 1))

    failed, other = cluster.do(put_if_absent("a"), put("b"))
    assert outcomes([failed, other]) == [None, None]
    cluster.release()

    assert outcomes([failed, other]) == [Outcome.CONDITION_FAILED, Outcome.OK]


def test_deposed_leader_does_not_say_that_a_condition_failed(cluster: Cluster) -> None:
    """Cut off, it evaluates on what may be old news, and never says CONDITION_FAILED."""
    cluster.done(put("a", n=1))
    cluster.cut(1, broken=False)
    (stale,) = cluster.do(put_if("a", "n > :zero"), at=1)
    (held,) = cluster.do(put_if_absent("a"), at=1)

    new_leader = cluster.wait_for_other_leader(1)
    cluster.do(put("a", n=-1), at=new_leader.id)
    cluster.tick(60)

    assert outcomes([stale, held]) == [Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert cluster.nodes[1].replica().core.leadership is None


def test_failed_condition_behind_a_write_that_is_lost_is_not_answered_failed(
    cluster: Cluster,
) -> None:
    """The write it was evaluated on never commits: the condition did not fail."""
    cluster.cut(1, broken=False)
    write, failed = cluster.do(put("a", n=1), put_if_absent("a", n=2), at=1)

    new_leader = cluster.wait_for_other_leader(1)
    cluster.heal()
    cluster.tick(10)

    assert (write.outcome, failed.outcome) == (Outcome.UNKNOWN, Outcome.UNKNOWN)
    (retried,) = cluster.do(put_if_absent("a", n=2), at=new_leader.id)
    assert retried.outcome is Outcome.OK


def test_failed_condition_on_a_cut_off_leader_is_never_answered_by_a_late_reply(
    cluster: Cluster,
) -> None:
    """A heartbeat answered before the request came proves nothing about later."""
    cluster.done(put("a", n=1))
    cluster.hold((2, 1), (3, 1))
    cluster.tick(4)
    assert cluster.links[2, 1]

    (request,) = cluster.do(put_if_absent("a"), at=1)
    late = len(cluster.links[2, 1])
    cluster.hold((1, 2), (1, 3))
    assert late >= 1
    cluster.deliver((2, 1), held=True)
    cluster.run()

    assert request.outcome is None


def test_update_that_cannot_apply_is_invalid_and_proved_too(cluster: Cluster) -> None:
    """It depends on the stored item as a failed condition does."""
    cluster.done(put("a", n=1))
    cluster.hold((2, 1), (3, 1))

    (request,) = cluster.do(set_name_to_path_of_number("a"))
    assert request.outcome is None
    cluster.release()

    assert request.outcome is Outcome.INVALID
    assert decode_error(request.payload).code == "ValidationException"


def test_failed_condition_does_not_stop_the_writes_around_it(cluster: Cluster) -> None:
    cluster.done(put("a", n=1))

    requests = cluster.do(add("a"), put_if_absent("a"), add("a"))

    assert outcomes(requests) == [Outcome.OK, Outcome.CONDITION_FAILED, Outcome.OK]
    assert number(cluster.read(key("a"))) == 3


def test_failed_condition_stays_failed_for_another_attempt_of_the_request(
    cluster: Cluster,
) -> None:
    """An attempt that was slow on its way must not take effect after the client was told."""
    cluster.done(put("a", n=1))
    write = put_if("a", "n = :zero", n=7, old=True)
    (failed,) = cluster.do(write)
    cluster.done(put("a", n=0))

    (retried,) = cluster.do(write)

    assert outcomes([failed, retried]) == [Outcome.CONDITION_FAILED] * 2
    assert retried.payload == failed.payload
    assert number(cluster.read(key("a"))) == 0


def test_failed_condition_stays_failed_over_leader_change_checkpoint_and_restart(
    cluster: Cluster,
) -> None:
    cluster.done(put("a", n=1))
    write = put_if("a", "n = :zero", n=7)
    cluster.do(write)
    cluster.done(put("a", n=0))
    cluster.checkpoint()
    cluster.crash(1, 2, 3)
    cluster.restart(1, 2, 3)
    cluster.tick_until(cluster.serving)

    (retried,) = cluster.do(write)

    assert retried.outcome is Outcome.CONDITION_FAILED
