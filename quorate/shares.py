"""Shares: how many of something each network has, of what all have together."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from urllib.parse import unquote

from quorate.http.addresses import network_of


class Shares:
    """Counts what is taken. Bounded for each network, and in all."""

    def __init__(self, per_network_max: int, all_max: int) -> None:
        self._per_network_max = per_network_max
        self._all_max = all_max
        self._taken: Counter[str] = Counter()
        self._taken_in_all = 0

    def take(self, network: str) -> bool:
        """Take one more for a network; return whether there was one left."""
        taken = self._taken[network]
        if taken >= self._per_network_max or self._taken_in_all >= self._all_max:
            if not taken:
                del self._taken[network]
            return False
        self._taken[network] = taken + 1
        self._taken_in_all += 1
        return True

    def give_back(self, network: str) -> None:
        """Count one less."""
        self._taken_in_all -= 1
        self._taken[network] -= 1
        assert self._taken[network] >= 0
        if not self._taken[network]:
            del self._taken[network]


@lru_cache(maxsize=4_096)
def network_of_peer(peer: str) -> str:
    """Return what gRPC's name of a peer, such as ipv4:192.0.2.1:50000, is counted under."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    host, _, _ = unquote(rest).rpartition(":")
    return network_of(host.strip("[]"))
