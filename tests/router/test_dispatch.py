"""The dispatcher's decisions, driven without sockets, tasks or a real clock."""

from __future__ import annotations

import pytest

from model.errors import (
    ConditionFailed,
    InternalServerError,
    ModelError,
    ProvisionedThroughputExceeded,
    ResourceNotFound,
    ServiceUnavailable,
    Throttled,
    ValidationError,
    encode_error,
)
from quorate.cluster.outcome import Outcome
from router.dispatch import is_unknown
from router.in_flight import COUNT_MIN
from tests.router.cluster import Story


def test_write_goes_to_the_leader_and_its_answer_to_the_owner() -> None:
    story = Story()
    story.lead(2)

    routed, owner = story.put()
    (slot,) = story.streams[2].leave()
    story.answer(2, slot, Outcome.OK, b"returned")

    assert owner.answers == [(1, b"returned")]
    assert owner.told == 1
    assert story.dispatch.pending_count == 0
    assert routed.attempts == 1


def test_write_waits_for_a_leader_and_leaves_with_the_hint() -> None:
    story = Story()

    routed, owner = story.put()
    assert not any(stream.outbox for stream in story.streams.values())
    story.lead(3)

    assert story.streams[3].outbox == [routed]
    assert owner.told == 0


def test_without_a_hint_one_replica_after_the_other_is_asked_with_one_request() -> None:
    """Many waiting requests must not knock on every door: one asks for all."""
    story = Story()
    for _ in range(3):
        story.put()

    asked = []
    for _ in range(3):
        story.pass_seconds(0.075)
        sent = [(node, stream.leave()) for node, stream in story.streams.items()]
        ((node_id, slots),) = [(node, slots) for node, slots in sent if slots]
        assert len(slots) == 1
        asked.append(node_id)
        story.answer(node_id, slots[0], Outcome.NOT_LEADER)

    assert sorted(asked) == [1, 2, 3]


def test_answer_to_a_probe_shows_who_leads() -> None:
    story = Story()
    _, first = story.put()
    second_routed, _ = story.put()
    story.pass_seconds(0.025)
    ((node_id, slots),) = [
        (node, slots) for node, stream in story.streams.items() if (slots := stream.leave())
    ]

    story.answer(node_id, slots[0], Outcome.OK)

    assert first.answers
    assert story.streams[node_id].outbox == [second_routed]


def test_not_leader_is_retried_at_the_hinted_leader_without_the_client_noticing() -> None:
    story = Story()
    story.lead(1, term=1)
    routed, owner = story.put()
    (slot,) = story.streams[1].leave()

    story.answer(1, slot, Outcome.NOT_LEADER)
    story.lead(2, term=2)

    assert story.streams[2].outbox == [routed]
    assert not routed.maybe_proposed
    assert routed.slot != slot, "a late answer to the first attempt must not count"
    assert owner.told == 0


def test_write_refused_by_a_full_node_goes_to_the_next_leader() -> None:
    """A node without disk space gives up leadership: the client need not notice."""
    story = Story()
    story.lead(1, term=1)
    routed, owner = story.put()
    (slot,) = story.streams[1].leave()

    story.answer(1, slot, Outcome.STORAGE_FULL)
    story.lead(2, term=2)

    assert story.streams[2].outbox == [routed]
    assert owner.told == 0


def test_client_is_told_of_full_disks_when_nobody_takes_the_write() -> None:
    story = Story()
    story.lead(1)
    _, owner = story.put()
    (slot,) = story.streams[1].leave()
    story.answer(1, slot, Outcome.STORAGE_FULL)

    story.pass_seconds(10.0)

    (error,) = owner.errors
    assert isinstance(error, ServiceUnavailable)
    assert "no disk space" in str(error)


def test_late_answer_to_an_old_attempt_is_ignored() -> None:
    story = Story()
    story.lead(1, term=1)
    _, owner = story.put()
    (old_slot,) = story.streams[1].leave()
    story.lead(2, term=2)
    (new_slot,) = story.streams[2].leave()

    story.answer(1, old_slot, Outcome.NOT_LEADER)
    assert owner.told == 0
    story.answer(2, new_slot, Outcome.OK)

    assert owner.told == 1


def test_newer_leader_gets_what_was_at_the_old_one() -> None:
    """The old leader may hang for ever; the request id makes the second attempt safe."""
    story = Story()
    story.lead(1, term=1)
    routed, _ = story.put()
    story.streams[1].leave()

    story.lead(2, term=2)

    assert story.streams[2].outbox == [routed]
    assert routed.maybe_proposed


def test_hint_of_an_older_term_moves_nothing() -> None:
    story = Story()
    story.lead(2, term=5)
    routed, _ = story.put()

    story.lead(1, term=4)

    assert story.streams[2].outbox == [routed]
    assert not story.streams[1].outbox


def test_broken_stream_makes_sent_writes_unknown_and_unsent_ones_not() -> None:
    story = Story()
    story.lead(1)
    sent, _ = story.put()
    story.streams[1].leave()
    unsent, _ = story.put()

    story.streams[1].connected = False
    story.dispatch.stream_broken(1)
    story.dispatch.check()

    assert sent.maybe_proposed
    assert not unsent.maybe_proposed


def test_write_that_may_have_been_proposed_ends_as_unknown_outcome() -> None:
    story = Story()
    story.lead(1)
    routed, owner = story.put(seconds=1.0)
    story.streams[1].leave()
    story.streams[1].connected = False
    story.dispatch.stream_broken(1)

    for stream in story.streams.values():
        stream.connected = False
    story.pass_seconds(1.1)

    (error,) = owner.errors
    assert isinstance(error, InternalServerError)
    assert is_unknown(routed)
    assert story.dispatch.counters.unknown_outcomes == 1


def test_write_that_surely_was_not_proposed_ends_as_service_unavailable() -> None:
    story = Story()
    for stream in story.streams.values():
        stream.connected = False
    routed, owner = story.put(seconds=1.0)

    story.pass_seconds(1.1)

    (error,) = owner.errors
    assert isinstance(error, ServiceUnavailable)
    assert not is_unknown(routed)


def test_silent_leader_leaves_a_sent_write_unknown_at_the_deadline() -> None:
    story = Story()
    story.lead(1)
    _, owner = story.put(seconds=1.0)
    story.streams[1].leave()

    story.pass_seconds(1.1)

    assert isinstance(owner.errors[0], InternalServerError)


def test_read_that_times_out_is_never_an_unknown_outcome() -> None:
    story = Story()
    story.lead(1)
    _, owner = story.get(consistent=True, seconds=1.0)
    story.streams[1].leave()

    story.pass_seconds(1.1)

    assert isinstance(owner.errors[0], ServiceUnavailable)


def test_unknown_is_sent_again_and_the_first_attempts_answer_comes_back() -> None:
    story = Story()
    story.lead(1, term=1)
    routed, owner = story.put()
    (slot,) = story.streams[1].leave()

    story.answer(1, slot, Outcome.UNKNOWN)
    assert owner.told == 0
    story.lead(3, term=2)
    (slot,) = story.streams[3].leave()
    story.answer(3, slot, Outcome.OK)

    assert owner.told == 1
    assert routed.request_id == b"i" * 16


def test_refusal_after_an_unknown_attempt_does_not_make_it_known() -> None:
    """OVERLOADED speaks for its own attempt only: the first one may have been committed."""
    story = Story()
    story.lead(1, term=1)
    routed, owner = story.put(seconds=1.0)
    (slot,) = story.streams[1].leave()
    story.answer(1, slot, Outcome.UNKNOWN)
    story.lead(2, term=2)

    for _ in range(8):
        for slot in story.streams[2].leave():
            story.answer(2, slot, Outcome.OVERLOADED)
        story.pass_seconds(0.2)

    assert isinstance(owner.errors[0], InternalServerError)
    assert is_unknown(routed)


def test_failed_condition_after_an_unknown_attempt_is_an_answer() -> None:
    """The node remembers request ids, so this is the first attempt's answer, or there was none."""
    story = Story()
    story.lead(1, term=1)
    _, owner = story.put()
    (slot,) = story.streams[1].leave()
    story.answer(1, slot, Outcome.UNKNOWN)
    story.lead(2, term=2)
    (slot,) = story.streams[2].leave()

    story.answer(2, slot, Outcome.CONDITION_FAILED, b'{"p":{"S":"a"}}')

    (error,) = owner.errors
    assert isinstance(error, ConditionFailed)
    assert error.item_json == b'{"p":{"S":"a"}}'


def test_overloaded_leader_is_asked_again_and_then_the_client_is_throttled() -> None:
    story = Story()
    story.lead(1)
    routed, owner = story.put()

    while not owner.told:
        for slot in story.streams[1].leave():
            story.answer(1, slot, Outcome.OVERLOADED)
        story.pass_seconds(0.025)

    assert isinstance(owner.errors[0], Throttled)
    assert routed.attempts == 4


def test_partition_over_its_cap_throttles_the_client_at_once() -> None:
    story = Story()
    story.lead(1)
    routed, owner = story.put()
    (slot,) = story.streams[1].leave()

    story.answer(1, slot, Outcome.THROTTLED)

    assert isinstance(owner.errors[0], ProvisionedThroughputExceeded)
    assert routed.attempts == 1


def test_throttled_retry_of_an_unknown_write_goes_on_until_its_outcome_is_known() -> None:
    story = Story()
    story.lead(1, term=1)
    _, owner = story.put()
    (slot,) = story.streams[1].leave()
    story.answer(1, slot, Outcome.UNKNOWN)
    story.lead(2, term=2)
    (slot,) = story.streams[2].leave()

    story.answer(2, slot, Outcome.THROTTLED)
    assert not owner.told
    story.pass_seconds(0.1)
    (slot,) = story.streams[2].leave()
    story.answer(2, slot, Outcome.OK)

    assert owner.answers


def test_node_behind_the_routers_catalog_is_asked_again_shortly() -> None:
    story = Story()
    story.lead(1)
    _, owner = story.put()
    (slot,) = story.streams[1].leave()

    story.answer(1, slot, Outcome.STALE_CATALOG)
    assert not story.streams[1].outbox
    story.pass_seconds(0.1)
    (slot,) = story.streams[1].leave()
    story.answer(1, slot, Outcome.OK)

    assert owner.answers
    assert story.refreshes == 0


def test_router_behind_the_nodes_catalog_asks_for_a_newer_one() -> None:
    story = Story()
    story.lead(1)
    story.put()
    (slot,) = story.streams[1].leave()

    story.answer(1, slot, Outcome.NOT_REPLICA)

    assert story.refreshes == 1


@pytest.mark.parametrize(
    ("outcome", "payload", "expected"),
    [
        (Outcome.NO_TABLE, b"", ResourceNotFound),
        (Outcome.EXPIRED, b"", ServiceUnavailable),
        (Outcome.INVALID, encode_error(ValidationError("no")), ValidationError),
        (Outcome.INVALID, b"", ValidationError),  # its reason is not remembered any more
        (Outcome.CONDITION_FAILED, b"", ConditionFailed),
        (99, b"", InternalServerError),
    ],
)
def test_refusal_becomes_the_clients_error(
    outcome: int, payload: bytes, expected: type[ModelError]
) -> None:
    story = Story()
    story.lead(1)
    _, owner = story.put()
    (slot,) = story.streams[1].leave()

    story.answer(1, slot, outcome, payload)

    assert [type(error) for error in owner.errors] == [expected]
    assert story.dispatch.pending_count == 0


def test_full_router_refuses_at_the_door_and_takes_nothing() -> None:
    story = Story(pending_max=2)
    story.lead(1)
    story.put()
    story.put()

    with pytest.raises(Throttled):
        story.put()

    assert story.dispatch.pending_count == 2
    story.dispatch.check()


def test_eventual_read_goes_to_the_routers_own_az() -> None:
    story = Story()
    story.lead(2)

    routed, _ = story.get(consistent=False)

    assert story.streams[1].outbox == [routed]


def test_strong_read_goes_to_the_leader() -> None:
    story = Story()
    story.lead(2)

    routed, _ = story.get(consistent=True)

    assert story.streams[2].outbox == [routed]


def test_eventual_read_sees_what_the_router_has_just_acknowledged() -> None:
    """Programs read what they just wrote; a follower may be a few milliseconds behind."""
    story = Story()
    story.lead(2)
    story.put()
    (slot,) = story.streams[2].leave()
    story.answer(2, slot, Outcome.OK)

    at_once, _ = story.get(consistent=False)
    assert at_once.node_id == 2
    story.pass_seconds(1.0)
    later, _ = story.get(consistent=False)
    assert later.node_id == 1


def test_eventual_read_goes_elsewhere_if_its_az_is_down() -> None:
    story = Story()
    story.streams[1].connected = False

    routed, _ = story.get(consistent=False)

    assert any(routed in story.streams[node_id].outbox for node_id in (2, 3))


def test_eventual_read_avoids_a_node_that_hangs() -> None:
    story = Story()
    story.streams[1].stalled = True

    routed, _ = story.get(consistent=False)

    assert routed not in story.streams[1].outbox
    assert routed.node_id != 1


def test_eventual_read_without_an_answer_is_asked_of_another_replica() -> None:
    story = Story()
    routed, owner = story.get(consistent=False)
    story.streams[1].leave()

    story.pass_seconds(0.35)
    assert routed.node_id != 1
    (slot,) = story.streams[routed.node_id].leave()
    story.answer(routed.node_id, slot, Outcome.OK, b"image")

    assert owner.answers == [(1, b"image")]


def test_reads_that_wait_for_any_replica_leave_when_one_comes_back() -> None:
    story = Story()
    for stream in story.streams.values():
        stream.connected = False
    routed, _ = story.get(consistent=False)

    story.streams[3].connected = True
    story.dispatch.stream_opened(3)

    assert story.streams[3].outbox == [routed]


def test_owner_that_raises_a_model_error_gets_it_back_as_failure() -> None:
    story = Story()
    story.lead(1)
    _, owner = story.put()
    (slot,) = story.streams[1].leave()
    owner.answers = None  # type: ignore[assignment]  # makes `answered` raise AttributeError

    story.dispatch.answered(1, [slot], [Outcome.OK], [1], [b""])

    assert isinstance(owner.errors[0], InternalServerError)
    assert story.dispatch.pending_count == 0


def test_thousands_of_waiting_requests_are_released_in_one_go() -> None:
    """Quadratic work here would stop the router for seconds at each election."""
    story = Story(pending_max=5_000)
    for _ in range(5_000):
        story.put()

    story.lead(2)

    assert len(story.streams[2].outbox) == 5_000
    story.dispatch.check()


def test_one_partition_without_a_leader_leaves_room_for_the_others() -> None:
    story = Story(partitions=2, pending_max=20_000)
    story.lead(2, partition=2)
    for _ in range(5_000):
        story.put(partition=1)

    with pytest.raises(Throttled):
        story.put(partition=1)
    routed, _ = story.put(partition=2)

    assert routed in story.streams[2].outbox


def overloaded_story() -> Story:
    """Two partitions; the first one's leader answers, but late: its limit is the lowest."""
    story = Story(partitions=2, pending_max=5_000)
    story.lead(1)
    story.lead(2, partition=2)
    for _ in range(200):
        story.put()
        story.pass_seconds(0.025)
        if len(story.streams[1].outbox) > 20:
            (routed, *_) = story.streams[1].outbox
            del story.streams[1].outbox[0]
            routed.sent = True
            story.answer(1, routed.slot, Outcome.OK)
    assert story.dispatch.in_flight_max == COUNT_MIN
    return story


def test_door_closes_at_the_limit_and_opens_with_answers() -> None:
    story = overloaded_story()
    while not story.dispatch.is_full:
        story.put()
    assert story.dispatch.pending_count == COUNT_MIN

    (slot, *_) = story.streams[1].leave()
    story.answer(1, slot, Outcome.OK)
    assert not story.dispatch.is_full


def test_partition_that_answers_nothing_does_not_close_the_door() -> None:
    """A frozen leader or a lost quorum: its requests wait, others are served."""
    story = overloaded_story()
    while not story.dispatch.is_full:
        story.put(partition=2)
    story.streams[2].leave()
    for _ in range(30):
        story.pass_seconds(0.025)
        if story.streams[1].outbox:
            (routed, *_) = story.streams[1].outbox
            del story.streams[1].outbox[0]
            routed.sent = True
            story.answer(1, routed.slot, Outcome.OK)

    assert not story.dispatch.is_full
    assert story.dispatch.pending_count > COUNT_MIN / 2


def test_waiting_for_a_leader_does_not_close_the_door() -> None:
    story = overloaded_story()
    story.streams[3].connected = False
    story.lead(3, partition=2, term=2)
    while not story.dispatch.is_full:
        story.put(partition=2)
    story.pass_seconds(0.025)

    assert not story.dispatch.is_full
