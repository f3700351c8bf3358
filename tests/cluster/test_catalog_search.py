"""Whose catalog to follow: nobody is waited for who has none, and nobody is followed for ever."""

from __future__ import annotations

import pytest

from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_search import (
    ANSWER_SECONDS,
    FOLLOW_SECONDS,
    IDLE_SECONDS,
    CatalogNews,
    CatalogSearch,
    CatalogTeller,
)

REPLICAS = ("a1", "b1", "c1")
OTHERS = ("a2", "b2", "c2")


def test_all_who_are_known_are_asked_in_turn() -> None:
    search = CatalogSearch()

    asked = [search.ask_next((), OTHERS, 0.0) for _ in range(6)]

    assert asked == ["a2", "b2", "c2", "a2", "b2", "c2"]


def test_not_all_begin_with_the_same_one() -> None:
    assert {CatalogSearch(turn).ask_next((), OTHERS, 0.0) for turn in (1, 2, 3)} == set(OTHERS)


def test_who_says_nothing_is_given_up_soon() -> None:
    search = CatalogSearch()
    search.ask_next((), OTHERS, 100.0)

    assert search.until == 100.0 + ANSWER_SECONDS


@pytest.mark.parametrize(
    ("epoch", "own_epoch", "seconds"),
    [
        pytest.param(0, 0, IDLE_SECONDS, id="neither has a catalog"),
        pytest.param(0, 3, IDLE_SECONDS, id="he has none"),
        pytest.param(2, 3, IDLE_SECONDS, id="his is older"),
        pytest.param(4, 3, IDLE_SECONDS, id="ours did not become his: it is another cluster's"),
        pytest.param(3, 3, FOLLOW_SECONDS, id="his is as new"),
    ],
)
def test_who_does_not_know_more_is_listened_to_for_a_moment_any_other_one_for_some_seconds(
    epoch: int, own_epoch: int, seconds: float
) -> None:
    search = CatalogSearch()
    search.ask_next((), OTHERS, 100.0)

    search.heard(epoch, own_epoch, 100.5)

    assert search.until == 100.5 + seconds


def test_who_cannot_be_reached_is_not_asked_again_at_once() -> None:
    search = CatalogSearch()
    search.ask_next((), ("a2",), 100.0)

    search.broken(100.0)

    assert search.until == 100.0 + IDLE_SECONDS


def test_who_knows_nobody_looks_again_later() -> None:
    search = CatalogSearch()

    assert search.ask_next((), (), 100.0) is None
    assert search.until == 100.0 + IDLE_SECONDS


def test_those_that_replicate_the_catalog_are_followed_while_there_is_news() -> None:
    search = CatalogSearch()
    asked = []
    for epoch in range(1, 7):
        asked.append(search.ask_next(REPLICAS, OTHERS, 0.0))
        search.heard(epoch, epoch, 0.0)

    assert asked == [*REPLICAS, *REPLICAS]


def test_others_are_asked_once_none_of_those_has_news_for_all_may_be_as_far_behind() -> None:
    """Nodes that were replaced, or joined, while they were cut off have equal catalogs, all old."""
    search = CatalogSearch()
    asked = []
    for _ in range(4 * len(REPLICAS)):
        asked.append(search.ask_next(REPLICAS, OTHERS, 0.0))
        search.heard(7, 7, 0.0)

    assert asked[:3] == [*REPLICAS]
    assert set(asked) >= set(OTHERS)


def test_others_are_asked_once_none_of_those_answers_for_all_may_have_been_replaced() -> None:
    search = CatalogSearch()
    asked = [search.ask_next(REPLICAS, OTHERS, 0.0) for _ in range(8)]

    assert asked[:3] == [*REPLICAS]
    assert set(asked[3:]) >= set(OTHERS)


def test_who_has_news_makes_the_others_superfluous() -> None:
    search = CatalogSearch()
    for _ in range(5):
        search.ask_next(REPLICAS, OTHERS, 0.0)

    search.heard(8, 8, 0.0)

    assert {search.ask_next(REPLICAS, OTHERS, 0.0) for _ in range(3)} == set(REPLICAS)


def test_who_is_asked_says_at_once_that_he_has_no_catalog() -> None:
    assert CatalogTeller(0).news(Catalog()) == CatalogNews(0, None)


def test_who_is_asked_sends_his_catalog_only_where_it_is_news() -> None:
    catalog = Catalog(epoch=5)

    assert CatalogTeller(4).news(catalog) == CatalogNews(5, catalog)
    assert CatalogTeller(5).news(catalog) == CatalogNews(5, None)
    assert CatalogTeller(6).news(catalog) == CatalogNews(5, None)


def test_every_change_is_told_once() -> None:
    teller = CatalogTeller(0)
    first, second = Catalog(epoch=1), Catalog(epoch=2)

    told = [teller.news(catalog) for catalog in (Catalog(), first, first, second)]

    assert told == [CatalogNews(0, None), CatalogNews(1, first), None, CatalogNews(2, second)]
