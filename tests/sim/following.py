"""How a node follows the catalog: questions and news around the decisions of `catalog_search`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.acquaintances import catalog_addresses
from quorate.cluster.catalog_search import CatalogNews, CatalogSearch, CatalogTeller
from tests.sim.joining import seeds_of

if TYPE_CHECKING:
    from tests.sim.nodes import SimulatedNode

NOTICED = 0.7
"""Probability that who listens to a process is told of its death."""


@dataclass(slots=True)
class _Watch:
    """Somebody listens: `question` is its number at the one who has asked it."""

    listener: CatalogFollowing
    question: int
    known: int  # epoch of the listener's catalog
    teller: CatalogTeller
    arrives: float = 0.0  # the last news: they come in order


class CatalogFollowing:
    """One life of a node: whom it asks for the catalog, and who asks it."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node
        self._life = node.life
        self._search = CatalogSearch(node.id)
        self._question = 0  # the last one's number: what others say is not listened to any more
        self._watches: list[_Watch] = []  # of this node's catalog

    # Who asks

    def ask(self) -> None:
        """Ask the next one, as `quorate.cluster.catalog_watch` does."""
        node = self._node
        likely = catalog_addresses(node.identity, node.host.catalog)
        others = seeds_of(node).to_ask(node.identity)
        address = self._search.ask_next(likely, others, node.monotonic())
        self._question += 1
        if address is not None:
            known = node.host.catalog.epoch
            seconds = self._travel_seconds()
            node.world.schedule.after(seconds, self._arrive, address, self._question, known)
        self._look_later()

    def _look_later(self) -> None:
        node = self._node
        seconds = (self._search.until - node.monotonic()) / node.drift
        node.later(max(0.0, seconds), self._look, self._question)

    def _look(self, question: int) -> None:
        if question != self._question:
            return
        if self._search.until - self._node.monotonic() > 1e-6:
            self._look_later()
        else:
            self.ask()

    def _arrive(self, address: str, question: int, known: int) -> None:
        """Bring a question to its address; nobody answers over a cut."""
        world = self._node.world
        asked = world.process_at(address)
        if asked is None or not asked.is_up:
            self._tell(self._travel_seconds(), self._is_broken, question)
        elif world.network.is_whole(self._node.id, asked.id):
            watch = _Watch(self, question, known, CatalogTeller(known))
            asked.call(asked.following.take, watch)

    def _tell(self, seconds: float, act: object, *arguments: object) -> None:
        """Let something reach this node, if it still lives then."""
        node = self._node
        node.world.schedule.after(seconds, node._if_alive, self._life, act, *arguments)

    def _is_broken(self, question: int) -> None:
        if question == self._question:
            self._search.broken(self._node.monotonic())
            self._look_later()

    def _hear(self, question: int, news: CatalogNews) -> None:
        if question != self._question:
            return
        node = self._node
        if news.catalog is not None:
            node.host.adopt_catalog(news.catalog)
        self._search.heard(news.epoch, node.host.catalog.epoch, node.monotonic())
        self._look_later()

    # Who is asked

    def take(self, watch: _Watch) -> None:
        """Let somebody listen, as `NodeServicer.WatchCatalog` does."""
        self._watches.append(watch)
        if watch.known > self._node.host.catalog.epoch:
            self._node.want_catalog(watch.known)
        self._speak(watch)

    def catalog_changed(self) -> None:
        """Tell those who listen."""
        self._watches = [watch for watch in self._watches if watch.listener._listens(watch)]
        for watch in self._watches:
            self._speak(watch)

    def end(self) -> None:
        """Let those who listen notice that this process is dead, mostly."""
        rng = self._node.world.rng
        for watch in self._watches:
            if rng.random() < NOTICED:
                listener = watch.listener
                listener._tell(self._travel_seconds(), listener._is_broken, watch.question)

    def _speak(self, watch: _Watch) -> None:
        node, listener = self._node, watch.listener
        news = watch.teller.news(node.host.catalog)
        if news is None or not node.world.network.is_whole(node.id, listener._node.id):
            return
        now = node.world.schedule.now
        watch.arrives = max(watch.arrives, now + self._travel_seconds())
        listener._tell(watch.arrives - now, listener._hear, watch.question, news)

    def _listens(self, watch: _Watch) -> bool:
        """Whether what was asked is still listened to."""
        return self._life == self._node.life and watch.question == self._question

    def _travel_seconds(self) -> float:
        world = self._node.world
        return world.options.delay * (0.5 + world.rng.random())
