"""The other nodes as this one remembers them, durably, and whom of them it lets in.

Before there is a catalog they are the initial nodes as they were met at the first start. From
then on the catalog says who is a node; what it cannot know is how often each was started, which
tells an old copy of a directory. Nothing here talks to anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique

from node.storage.identity import Identity, Start
from quorate.cluster.catalog import Catalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """Who a process says it is."""

    cluster_id: str
    node_id: int
    incarnation: str
    start: Start
    certified_name: str = ""  # whose certificate it shows; "": there are none


@unique
class Verdict(Enum):
    """What this node makes of an introduction. Only WELCOME may have any effect."""

    WELCOME = "is known"
    UNKNOWN = "is not known here (yet)"
    FOREIGN = "is of another cluster"
    REMOVED = "was removed from the cluster"
    OTHER_NAME = "shows the certificate of another node"
    OTHER_DIRECTORY = "is known with another data directory"
    OUTDATED = "runs on an old copy of its data directory"


def take_others(identity: Identity, catalog: Catalog) -> bool:
    """Put a catalog's other nodes into an identity; return whether that has changed it."""
    others = [node for node in catalog.nodes if node.id != identity.node_id]
    peers = {node.id: node.incarnation for node in others}
    addresses = {node.id: node.address for node in others}
    names = {node.id: node.name for node in others}
    if (peers, addresses, names) == (identity.peers, identity.addresses, identity.names):
        return False
    identity.peers, identity.addresses, identity.names = peers, addresses, names
    identity.epoch = catalog.epoch
    return True


def catalog_addresses(identity: Identity, catalog: Catalog) -> list[str]:
    """Return where the other nodes are that replicate a catalog, as far as that is known."""
    known = identity.addresses
    replicas = [known[node_id] for node_id in catalog.catalog_replicas if node_id in known]
    return list(dict.fromkeys(replicas))


class Acquaintances:
    """Keeps an identity in step with the catalog and with who introduces itself.

    Invariant: once there is a catalog, `identity.peers` are exactly the other nodes of the newest
    one that this node has seen, in this life or before.
    """

    def __init__(self, identity: Identity, save: Callable[[Identity], None]) -> None:
        """`save` makes a changed identity durable."""
        self.identity = identity
        self._save = save
        self._catalog = Catalog()
        self.successor = ""  # the name of the one that is to take this node's place

    def follow(self, catalog: Catalog) -> None:
        """Take over the catalog's nodes, and forget those that are gone.

        A catalog's replica that has just started may be behind what this node knew before: that
        must not bring a removed node back, nor make the starts of a new one forgotten.
        """
        identity = self.identity
        if catalog.epoch < identity.epoch:
            return
        self._catalog = catalog
        own = catalog.node_by_id.get(identity.node_id)
        if own is not None:
            self.successor = own.replacement
        if take_others(identity, catalog):
            identity.starts_seen = {
                node_id: start
                for node_id, start in identity.starts_seen.items()
                if node_id in identity.peers
            }
            self._save(identity)

    @property
    def has_been_removed(self) -> bool:
        """Whether this node itself was removed from the cluster for good."""
        return self.has_removed(self.identity.node_id)

    def has_removed(self, node_id: int) -> bool:
        """Return whether a node was removed for good; 0 is nobody's id."""
        return node_id != 0 and self._catalog.has_removed(node_id)

    def meet(self, introduction: Introduction) -> Verdict:
        """Return what to make of a node; the newest start of one that is welcome is remembered."""
        identity, node_id = self.identity, introduction.node_id
        if introduction.cluster_id != identity.cluster_id:
            return Verdict.FOREIGN
        if self.has_removed(node_id):
            return Verdict.REMOVED
        known = identity.peers.get(node_id)
        if known is None:
            return Verdict.UNKNOWN
        # A name is not known of a node that was last met by a version without certificates.
        name = identity.names.get(node_id)
        if introduction.certified_name and name and introduction.certified_name != name:
            return Verdict.OTHER_NAME
        if known != introduction.incarnation:
            return Verdict.OTHER_DIRECTORY
        latest = identity.starts_seen.get(node_id, Start())
        if introduction.start.is_outdated(latest):
            return Verdict.OUTDATED
        if introduction.start != latest:
            identity.starts_seen[node_id] = introduction.start
            self._save(identity)
        return Verdict.WELCOME
