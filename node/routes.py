"""What a node owes the routers: answers gathered in columns, one message per router and turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from node.codec import LeaderHint, Outcome, Page, encode_reply

if TYPE_CHECKING:
    from quorate.v1 import node_pb2


class RouteStream:
    """One router's stream as the host sees it: answers go in, one reply message comes out.

    `wake` is called once when there is something to send and nothing was waiting before.
    """

    __slots__ = (
        "_accepted",
        "_leaders",
        "_outcomes",
        "_pages",
        "_payloads",
        "_slots",
        "_units",
        "_wake",
        "closed",
    )

    def __init__(self, wake: Callable[[], None]) -> None:
        """Start with nothing owed."""
        self._wake = wake
        self.closed = False
        self._accepted = 0
        self._leaders: list[LeaderHint] = []
        self._pages: list[Page] = []
        self._slots: list[int] = []
        self._outcomes: list[Outcome] = []
        self._units: list[int] = []
        self._payloads: list[bytes] = []

    def answer(self, slot: int, outcome: Outcome, units: int = 0, payload: bytes = b"") -> None:
        """Answer one write or get."""
        self._slots.append(slot)
        self._outcomes.append(outcome)
        self._units.append(units)
        self._payloads.append(payload)

    def answer_page(self, page: Page) -> None:
        """Answer one range read."""
        self._pages.append(page)

    def accept(self, sequence: int) -> None:
        """Tell the router that it may send its next batch."""
        self._accepted = sequence

    def hint_leaders(self, hints: Sequence[LeaderHint]) -> None:
        """Tell the router about changes of leadership."""
        self._leaders.extend(hints)

    def flush(self) -> None:
        """Wake the sender if anything is owed; called once at the end of a turn."""
        if self.has_reply():
            self._wake()

    def has_reply(self) -> bool:
        """Return whether anything is owed."""
        return bool(self._slots or self._accepted or self._pages or self._leaders)

    def take_reply(self, catalog_epoch: int) -> node_pb2.RouteReply:
        """Hand over everything owed as one message."""
        reply = encode_reply(
            accepted=self._accepted,
            slots=self._slots,
            outcomes=self._outcomes,
            units=self._units,
            payloads=self._payloads,
            pages=self._pages,
            leaders=self._leaders,
            catalog_epoch=catalog_epoch,
        )
        self._accepted = 0
        self._leaders, self._pages = [], []
        self._slots, self._outcomes, self._units, self._payloads = [], [], [], []
        return reply
