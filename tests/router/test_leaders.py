"""The cache of leaders: the highest term wins, and a denial leaves room for the truth."""

from __future__ import annotations

from router.leaders import LeaderCache


def test_higher_term_wins_whatever_comes_last() -> None:
    leaders = LeaderCache()

    assert leaders.learn(1, 3, 7)
    assert not leaders.learn(1, 2, 8)
    assert leaders.leader_of(1) == 7
    assert leaders.learn(1, 4, 8)
    assert leaders.leader_of(1) == 8


def test_new_term_without_a_leader_forgets_the_old_one() -> None:
    leaders = LeaderCache()
    leaders.learn(1, 3, 7)

    assert not leaders.learn(1, 4, 0)
    assert leaders.leader_of(1) == 0
    assert leaders.learn(1, 4, 8)


def test_follower_that_knows_nobody_does_not_unseat_the_leader_of_its_term() -> None:
    leaders = LeaderCache()
    leaders.learn(1, 3, 7)

    leaders.learn(1, 3, 0)

    assert leaders.leader_of(1) == 7


def test_leader_that_denies_it_is_believed_and_others_are_not_asked() -> None:
    leaders = LeaderCache()
    leaders.learn(1, 3, 7)

    leaders.deny(1, 8)
    assert leaders.leader_of(1) == 7
    leaders.deny(1, 7)
    assert leaders.leader_of(1) == 0


def test_changes_are_counted_and_confirmations_are_not() -> None:
    leaders = LeaderCache()

    leaders.learn(1, 1, 7)
    leaders.learn(1, 2, 0)
    leaders.learn(1, 2, 7)
    assert leaders.changes == 0
    leaders.learn(1, 3, 8)
    assert leaders.changes == 1


def test_answer_names_the_leader_where_none_is_known() -> None:
    leaders = LeaderCache()

    leaders.confirm(1, 7)
    leaders.confirm(1, 8)

    assert leaders.leader_of(1) == 7
