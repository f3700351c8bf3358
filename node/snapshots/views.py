"""The views that snapshots are read from: few, and kept open for a while after a break.

An open view keeps every page of the tree from being used again that was in use when it was opened.
"""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from node.replica import Replica
from node.storage.items import ItemStore, SnapshotView

KEPT_SECONDS: Final = 60.0
"""How long a view is kept after a break: for a receiver that restarts, to go on from where it was.
Ours."""

KEPT_MAX: Final = 2
"""Most views kept beside those that are being sent. Ours."""

Receiver = tuple[int, int]
"""Who is to get it: (group, node)."""


class Views:
    """Opens, keeps and closes views. On the loop."""

    def __init__(self, items: ItemStore) -> None:
        """Start with none."""
        self._items = items
        self._kept: dict[Receiver, tuple[SnapshotView, float]] = {}  # oldest first

    def take(self, receiver: Receiver, replica: Replica) -> SnapshotView:
        """Return the view kept for this receiver if its log can follow on it, or a new one."""
        assert not replica.installing, "a leader installs nothing"
        kept = self._kept.pop(receiver, None)
        if kept is not None:
            view = kept[0]
            if view.state.applied_index + 1 >= replica.core.log.first_index():
                return view
            view.close()
        return self._items.open_view(replica.arc, replica.group, uuid4().bytes)

    def keep(self, receiver: Receiver, view: SnapshotView, now: float) -> None:
        """Keep a view whose transfer broke."""
        assert receiver not in self._kept
        self._kept[receiver] = (view, now + KEPT_SECONDS)
        if len(self._kept) > KEPT_MAX:
            oldest, _ = self._kept.pop(next(iter(self._kept)))
            oldest.close()

    def close_older(self, now: float) -> None:
        """Close what nobody has come back for."""
        for receiver, (view, until) in list(self._kept.items()):
            if until <= now:
                del self._kept[receiver]
                view.close()

    def close(self) -> None:
        """Close all that are kept."""
        for view, _ in self._kept.values():
            view.close()
        self._kept.clear()
