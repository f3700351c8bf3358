"""Planted bugs: how nodes that do not replicate the catalog come to know it."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from quorate.cluster.catalog import Catalog
from quorate.cluster.catalog_search import CatalogNews, CatalogSearch, CatalogTeller
from tests.sim.plants.registry import Change, plant


def _ask_and_wait(self: CatalogSearch, *arguments: object) -> str | None:
    address = _ask_next(self, *arguments)  # type: ignore[arg-type]
    if address is not None:
        self.until = inf
    return address


_ask_next = CatalogSearch.ask_next


@plant
def node_without_a_catalog_keeps_its_watchers() -> Sequence[Change]:
    """One who is asked and has no catalog says nothing until it has one, and is waited for."""
    tell = CatalogTeller.news

    def news(self: CatalogTeller, catalog: Catalog) -> CatalogNews | None:
        return tell(self, catalog) if catalog.epoch else None

    return [(CatalogTeller, "news", news), (CatalogSearch, "ask_next", _ask_and_wait)]


@plant
def silent_seed_is_waited_for() -> Sequence[Change]:
    """Whoever was asked is waited for, though he may never answer."""
    return [(CatalogSearch, "ask_next", _ask_and_wait)]


@plant
def one_node_is_followed_for_ever() -> Sequence[Change]:
    """Whoever has answered is followed until his stream breaks."""
    hear = CatalogSearch.heard

    def heard(self: CatalogSearch, epoch: int, own_epoch: int, now: float) -> None:
        hear(self, epoch, own_epoch, now)
        if epoch:
            self.until = inf

    return [(CatalogSearch, "heard", heard)]
