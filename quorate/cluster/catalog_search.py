"""Whose catalog to follow: the decisions of who asks and of who is asked, without the talk.

Whoever may know a newer catalog is asked, one after the other, for ever. Who is asked says at once
which catalog he has, be it none, and is then listened to: for a moment if that is none or an older
one than ours, else for some seconds. So nobody is waited for who has nothing to say, and nobody is
followed for ever who does not hear of changes himself. Times are seconds of any one clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from quorate.cluster.catalog import Catalog

ANSWER_SECONDS: Final = 1.0
"""Longest wait for the first word of one who is asked. Ours."""

IDLE_SECONDS: Final = 0.2
"""How long one is listened to who has no catalog, or an older one: it may be about to get one. Also
the pause after one who could not be reached. Ours."""

FOLLOW_SECONDS: Final = 3.0
"""How long one is listened to who is up to date, as far as that can be told. Ours: for so long may
one be followed who is cut off from the others, or as far behind as we are."""


class CatalogSearch:
    """One who follows the catalog: whom it asks, and until when it listens to him."""

    __slots__ = ("_fruitless", "_known", "_turn", "until")

    def __init__(self, turn: int = 0) -> None:
        """Begin with number `turn`, so that not all ask the same one first."""
        self._turn = turn
        self._fruitless = 0  # how many were asked since one had news
        self._known = 0  # the epoch of our catalog, as of the last answer
        self.until = 0.0  # when the next one is to be asked

    def ask_next(self, likely: Sequence[str], others: Sequence[str], now: float) -> str | None:
        """Return whom to ask now, None if nobody is known.

        The likely ones are those that replicate the catalog, as far as that is known; the others
        are asked, too, once all of those were asked and had no news: they may have been replaced,
        and those that are up to date with us may all be as far behind.
        """
        known = likely if self._fruitless < len(likely) else [*likely, *others]
        self._fruitless += 1
        if not known:
            self.until = now + IDLE_SECONDS
            return None
        self.until = now + ANSWER_SECONDS
        self._turn += 1
        return known[(self._turn - 1) % len(known)]

    def heard(self, epoch: int, own_epoch: int, now: float) -> None:
        """Take note of which catalog the one who was asked has, 0 being none.

        Ours, of `own_epoch`, is his by now if his was newer and of this cluster.
        """
        if own_epoch > self._known:
            self._known = own_epoch
            self._fruitless = 0
        if epoch and epoch == own_epoch:
            self.until = now + FOLLOW_SECONDS
        else:
            self.until = now + IDLE_SECONDS

    def broken(self, now: float) -> None:
        """Take note that the one who was asked cannot be reached, or not any more."""
        self.until = now + IDLE_SECONDS


@dataclass(frozen=True, slots=True)
class CatalogNews:
    """What one who is asked says: the epoch of its catalog, and this itself if it is news."""

    epoch: int
    catalog: Catalog | None


class CatalogTeller:
    """One who is asked: what it says, at once and with every change."""

    __slots__ = ("_known", "_said")

    def __init__(self, known_epoch: int) -> None:
        """Take the epoch that the asking one has."""
        self._known = known_epoch
        self._said: int | None = None

    def news(self, catalog: Catalog) -> CatalogNews | None:
        """Return what to say of one's own catalog, None if that was said already."""
        epoch = catalog.epoch
        if epoch == self._said:
            return None
        self._said = epoch
        is_newer = epoch > self._known
        self._known = max(self._known, epoch)
        return CatalogNews(epoch, catalog if is_newer else None)
