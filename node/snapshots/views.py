"""The views that snapshots are read from: few, and kept open for a while after a break.

An open view keeps every page of the tree from being used again that was in use when it was opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from node.replica import Replica
from node.storage.items import ItemStore, SnapshotView

KEPT_SECONDS: Final = 60.0
"""How long a view is kept after the last frame that was taken from it: for a receiver that
restarts, to go on from where it was. Ours."""

KEPT_MAX: Final = 2
"""Most views kept beside those that are being sent. Ours."""

Receiver = tuple[int, int]
"""Who is to get it: (group, node)."""


@dataclass(slots=True)
class OpenView:
    """A view; `kept_until` is in seconds of the loop's clock, 0 before anything was sent."""

    view: SnapshotView
    kept_until: float = 0.0

    def sent(self, now: float) -> None:
        """A frame has been sent: there is something to go on with."""
        self.kept_until = now + KEPT_SECONDS


class Views:
    """Opens, keeps and closes views. On the loop."""

    def __init__(self, items: ItemStore, closed: Callable[[Receiver], None]) -> None:
        """Start with none; `closed` is told of each kept view that is closed."""
        self._items = items
        self._closed = closed
        self._kept: dict[Receiver, OpenView] = {}  # oldest first

    def take(self, receiver: Receiver, replica: Replica) -> OpenView:
        """Return the view kept for this receiver if its log can follow on it, or a new one."""
        assert not replica.installing, "a leader installs nothing"
        kept = self._kept.pop(receiver, None)
        if kept is not None:
            if kept.view.head.applied_index + 1 >= replica.core.log.first_index():
                return kept
            kept.view.close()
        return OpenView(self._items.open_view(replica.arc, replica.group, uuid4().bytes))

    def keep(self, receiver: Receiver, view: OpenView, now: float) -> None:
        """Keep a view whose transfer broke, if something of it was sent not long ago."""
        assert receiver not in self._kept
        self._kept[receiver] = view
        self.close_older(now)
        if len(self._kept) > KEPT_MAX:
            self._close(next(iter(self._kept)))

    def close_older(self, now: float) -> None:
        """Close what nobody has come back for."""
        for receiver, kept in list(self._kept.items()):
            if kept.kept_until <= now:
                self._close(receiver)

    def is_kept(self, receiver: Receiver) -> bool:
        """Whether a view is kept for a receiver."""
        return receiver in self._kept

    def close(self) -> None:
        """Close all that are kept."""
        for receiver in list(self._kept):
            self._close(receiver)

    def _close(self, receiver: Receiver) -> None:
        self._kept.pop(receiver).view.close()
        self._closed(receiver)
