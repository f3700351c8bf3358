"""What a node process is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quorate.cluster.catalog import NodeRecord
from quorate.http.addresses import BadAddress, is_loopback, split_address
from quorate.security.cluster_certificate import ClusterPaths

GIB: Final = 1 << 30

UNSPECIFIED: Final = ("", "0.0.0.0", "[::]")  # noqa: S104 - to refuse them
"""Hosts that one may listen on and nobody can connect to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the nodes that the cluster starts with."""

    name: str
    az: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """The options of `quorate node`.

    `members` are all initial nodes, this one included; `join` are addresses of any nodes of a
    cluster that exists already. `advertise` is where the others reach this node, "" for `listen`;
    `admin` is where metrics and probes are served, "" for nowhere. `cluster_paths` are the files
    of this node's certificate; without them, `insecure` lets it listen beyond loopback.
    """

    name: str
    az: str
    listen: str
    data_dir: Path
    cluster_id: str
    members: tuple[Member, ...] = ()
    join: tuple[str, ...] = ()
    advertise: str = ""
    admin: str = ""
    partitions: int = 12
    cluster_paths: ClusterPaths | None = None
    insecure: bool = False
    map_size_bytes: int = 64 * GIB
    log_level: str = "info"
    log_format: str = "auto"
    slow_request_ms: int = 1_000  # 0: none is logged as slow

    def node_records(self) -> tuple[NodeRecord, ...]:
        """Return the members with their numbers: 1 + the position of the name in sorted order."""
        ordered = sorted(self.members, key=lambda member: member.name)
        return tuple(
            NodeRecord(id=number, name=member.name, az=member.az, address=member.address)
            for number, member in enumerate(ordered, start=1)
        )

    def address(self) -> str:
        """Return where the others reach this node."""
        own = [member.address for member in self.members if member.name == self.name]
        return self.advertise or (own[0] if own else self.listen)

    def problem(self) -> str | None:
        """Return a sentence on what is wrong with these options, or None."""
        names = [member.name for member in self.members]
        if not names and not self.join:
            return "a node needs the members of a new cluster, or an address of a cluster to join"
        if len(set(names)) != len(names):
            return "two members have the same name"
        own = [member for member in self.members if member.name == self.name]
        if names and not own:
            return f"node {self.name} is not among the members given ({', '.join(names)})"
        if own and own[0].az != self.az:
            return f"node {self.name} is in {self.az}, but the member list says {own[0].az}"
        if self.address().rpartition(":")[0] in UNSPECIFIED:
            return f"others cannot reach this node at {self.address()}: give --advertise HOST:PORT"
        try:
            host, _ = split_address(self.listen)
            if self.admin:
                split_address(self.admin)
        except BadAddress as error:
            return str(error)
        if self.cluster_paths is None and not self.insecure and not is_loopback(host):
            return (
                f"listening on {host} needs --cluster-ca, --cluster-cert and --cluster-key (see "
                "quorate cert), or --insecure to believe whoever comes"
            )
        if self.partitions < 1:
            return "a cluster has at least one partition"
        return None
