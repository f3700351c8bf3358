"""A server's books: who has which connections, and how much of large bodies and answers.

Each network has a share, and what is full makes room: whoever has most loses a connection on which
nothing is asked, or the largest body that has not come yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from quorate.http.limits import HttpLimits
from quorate.shares import Shares


class Held(Protocol):
    """A connection, as the books see it."""

    @property
    def peer_network(self) -> str:
        """What its client's address is counted under."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a request, or for the rest of a header."""

    @property
    def coming_bytes(self) -> int:
        """How much there is of a body that has not come as a whole."""

    def end(self) -> None:
        """Close it; nothing is under way."""

    def refuse_body(self) -> None:
        """Give up the body that has not come as a whole."""


NEVER: Final = float("inf")

AnyHeld = TypeVar("AnyHeld", bound=Held)


class Books(Generic[AnyHeld]):
    """Connections in the order of their arrival, and bytes of bodies."""

    def __init__(self, limits: HttpLimits) -> None:
        self._limits = limits
        self._all: dict[AnyHeld, float] = {}  # with when each is too old
        self._by_network: dict[str, dict[AnyHeld, None]] = {}
        self._busy_networks: set[str] = set()  # searched in vain for a connection that waits
        self._bodies = Shares(limits.body_bytes_per_network_max, limits.body_bytes_all_max)
        self._unsent = Shares(limits.unsent_bytes_per_network_max, limits.unsent_bytes_all_max)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[AnyHeld]:
        return iter(self._all)

    def begin_period(self) -> None:
        """Search again where no connection waited; call it some times a second."""
        self._busy_networks.clear()

    def make_room(self, network: str) -> bool:
        """Return whether one more connection may come from a network; another may end for it."""
        if len(self._by_network.get(network, ())) >= self._limits.connections_per_network_max:
            return self._end_one_of(network)
        if len(self._all) < self._limits.connections_max:
            return True
        return self._end_one_of(max(self._by_network, key=lambda each: len(self._by_network[each])))

    def _end_one_of(self, network: str) -> bool:
        if network in self._busy_networks:
            return False
        for connection in self._by_network[network]:
            if connection.is_waiting:
                self.remove(connection)
                connection.end()
                return True
        self._busy_networks.add(network)
        return False

    def add(self, connection: AnyHeld, old_at: float = NEVER) -> None:
        """Enter a connection for which there is room, and which is too old from a time on."""
        self._all[connection] = old_at
        self._by_network.setdefault(connection.peer_network, {})[connection] = None

    def is_old(self, connection: AnyHeld, now: float) -> bool:
        """Return whether a connection is too old."""
        return self._all.get(connection, NEVER) <= now

    def remove(self, connection: AnyHeld) -> None:
        """Strike a connection off, if it was ever on."""
        if connection not in self._all:
            return
        del self._all[connection]
        of_network = self._by_network[connection.peer_network]
        del of_network[connection]
        if not of_network:
            del self._by_network[connection.peer_network]

    @property
    def body_bytes(self) -> int:
        """How much there is of bodies that are not small."""
        return self._bodies.taken_in_all

    def reserve_body(self, connection: AnyHeld, size_bytes: int) -> bool:
        """Count bytes of a body; return whether there is room. Others' bodies may have to go."""
        network = connection.peer_network
        if not self._bodies.has_share(network, size_bytes):
            return False
        while not self._bodies.take(network, size_bytes):
            largest = max(self._all, key=lambda each: each.coming_bytes, default=connection)
            if largest is connection or not largest.coming_bytes:
                return False
            largest.refuse_body()
        return True

    def release_body(self, connection: AnyHeld, size_bytes: int) -> None:
        """Count bytes of a body as gone."""
        self._bodies.give_back(connection.peer_network, size_bytes)

    @property
    def unsent_bytes(self) -> int:
        """How much there is of large answers that are not sent yet."""
        return self._unsent.taken_in_all

    def reserve_unsent(self, connection: AnyHeld, size_bytes: int) -> bool:
        """Count bytes of an answer as not yet sent; return whether there is room for them."""
        return self._unsent.take(connection.peer_network, size_bytes)

    def release_unsent(self, connection: AnyHeld, size_bytes: int) -> None:
        """Count bytes of an answer as sent, or given up."""
        self._unsent.give_back(connection.peer_network, size_bytes)
