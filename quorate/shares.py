"""Shares: how many of something each network has, of what all have together."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import unquote

from quorate.http.addresses import network_of


class Shares:
    """Counts what is taken. Bounded for each network, and in all."""

    def __init__(self, per_network_max: int, all_max: int) -> None:
        self._per_network_max = per_network_max
        self._all_max = all_max
        self._taken: dict[str, int] = {}
        self.taken_in_all = 0

    def has_share(self, network: str, count: int = 1) -> bool:
        """Return whether so many more are within a network's own share."""
        return self._taken.get(network, 0) + count <= self._per_network_max

    def take(self, network: str, count: int = 1) -> bool:
        """Take so many more for a network; return whether there were as many left."""
        if self.taken_in_all + count > self._all_max or not self.has_share(network, count):
            return False
        self._taken[network] = self._taken.get(network, 0) + count
        self.taken_in_all += count
        return True

    def give_back(self, network: str, count: int = 1) -> None:
        """Count so many less."""
        left = self._taken[network] - count
        assert left >= 0
        self.taken_in_all -= count
        if left:
            self._taken[network] = left
        else:
            del self._taken[network]


@lru_cache(maxsize=4_096)
def network_of_peer(peer: str) -> str:
    """Return what gRPC's name of a peer, such as ipv4:192.0.2.1:50000, is counted under."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    host, _, _ = unquote(rest).rpartition(":")
    return network_of(host.strip("[]"))
