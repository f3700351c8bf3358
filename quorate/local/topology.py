"""Which nodes a local cluster has, and the stamp that remembers it in the data directory.

The node ports are part of the stamp: the catalog holds the nodes' addresses, so they stay the
same over restarts; so do the ports of the nodes' admin faces, which something may scrape. Routers
hold nothing, so their number and ports may differ from run to run.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from quorate.security.private_directory import private_opener

AZ_NAMES: Final = ("az-a", "az-b", "az-c")
"""Three availability zones: the quorum is two of them. Ours."""

STAMP_FORMAT: Final = 1
"""Version of cluster.json; a newer one is refused. Ours."""

HOST: Final = "127.0.0.1"
"""A local cluster listens on loopback only."""

NODES_PER_AZ_MAX: Final = 16
"""Most nodes per AZ of a local cluster: they share one machine. Ours."""

ADDED_MAX: Final = 16
"""Most nodes added to a local cluster. Ours, as above."""

NODE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""What an added node may be called: it names a directory, too. Ours."""

PARTITIONS_DEFAULT: Final = 12
PARTITIONS_MAX: Final = 4096
"""Most partitions a local cluster is created with. Ours."""


class TopologyRefused(Exception):
    """This data directory cannot be used as asked; the text is one sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """A node process: its name, its AZ label and where it listens.

    `admin_port` is 0 until one is chosen: it can be changed at any start.
    """

    name: str
    az: str
    port: int
    admin_port: int = 0

    @property
    def address(self) -> str:
        """Return host:port."""
        return f"{HOST}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What stays the same from run to run; `nodes` it began with, `added` joined later."""

    cluster_id: str
    nodes_per_az: int
    partitions: int
    nodes: tuple[LocalNode, ...]
    added: tuple[LocalNode, ...] = ()

    @property
    def all_nodes(self) -> tuple[LocalNode, ...]:
        """Return both kinds of nodes."""
        return (*self.nodes, *self.added)


def node_names(nodes_per_az: int) -> list[tuple[str, str]]:
    """Return (name, az) of each node: a1 b1 c1 a2 b2 c2 ..."""
    return [(f"{az[-1]}{number}", az) for number in range(1, nodes_per_az + 1) for az in AZ_NAMES]


def new_topology(nodes_per_az: int, partitions: int, ports: list[int]) -> Topology:
    """Make a topology with a new cluster id; `ports` has one for each node."""
    names = node_names(nodes_per_az)
    assert len(ports) == len(names)
    return Topology(
        cluster_id=secrets.token_hex(8),
        nodes_per_az=nodes_per_az,
        partitions=partitions,
        nodes=tuple(
            LocalNode(name=name, az=az, port=port)
            for (name, az), port in zip(names, ports, strict=True)
        ),
    )


def with_admin_ports(topology: Topology, ports: Mapping[str, int]) -> Topology:
    """Return the topology with other admin ports for some nodes, given by name."""

    def changed(nodes: tuple[LocalNode, ...]) -> tuple[LocalNode, ...]:
        return tuple(
            replace(node, admin_port=ports.get(node.name, node.admin_port)) for node in nodes
        )

    return replace(topology, nodes=changed(topology.nodes), added=changed(topology.added))


def add_node(topology: Topology, name: str, az: str, port: int, admin_port: int = 0) -> Topology:
    """Return the topology with one more node. Raises TopologyRefused."""
    if not NODE_NAME.fullmatch(name):
        raise TopologyRefused(f"{name!r} is no name of a node: letters, digits, - and _")
    if az not in AZ_NAMES:
        raise TopologyRefused(f"there is no AZ {az!r}: there are {', '.join(AZ_NAMES)}")
    if any(node.name == name for node in topology.all_nodes):
        raise TopologyRefused(
            f"there is a node {name} already; if its disk is lost, `quorate node restart {name}`"
        )
    if len(topology.added) >= ADDED_MAX:
        raise TopologyRefused(f"a local cluster has at most {ADDED_MAX} added nodes")
    node = LocalNode(name=name, az=az, port=port, admin_port=admin_port)
    return replace(topology, added=(*topology.added, node))


def stamp_path(data_dir: Path) -> Path:
    """Return where the stamp of a data directory lies."""
    return data_dir / "cluster.json"


def write_stamp(data_dir: Path, topology: Topology) -> None:
    """Put the stamp into the data directory, whole or not at all, and fsync it."""
    text = json.dumps({"format": STAMP_FORMAT, **asdict(topology)}, indent=2) + "\n"
    path = stamp_path(data_dir)
    partial = path.with_suffix(".json.new")
    with open(partial, "w", opener=private_opener) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    directory = os.open(data_dir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_stamp(data_dir: Path) -> Topology | None:
    """Return the stamped topology, None if there is no stamp; raises TopologyRefused."""
    path = stamp_path(data_dir)
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        version = document["format"]
        if version != STAMP_FORMAT:
            raise TopologyRefused(
                f"{path} has format {version} and this release reads format {STAMP_FORMAT}:"
                " use the release that made it"
            )
        return Topology(
            cluster_id=str(document["cluster_id"]),
            nodes_per_az=int(document["nodes_per_az"]),
            partitions=int(document["partitions"]),
            nodes=_nodes_in(document["nodes"]),
            added=_nodes_in(document.get("added", [])),  # an older release knew of none
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TopologyRefused(
            f"{path} cannot be read ({type(error).__name__}: {error}): restore it from a copy, or"
            " use another data directory"
        ) from error


def _nodes_in(rows: list[dict[str, Any]]) -> tuple[LocalNode, ...]:
    return tuple(
        LocalNode(
            name=str(row["name"]),
            az=str(row["az"]),
            port=int(row["port"]),
            admin_port=int(row.get("admin_port", 0)),  # an older release chose one at each start
        )
        for row in rows
    )


def check_same(
    topology: Topology, *, data_dir: Path, nodes_per_az: int | None, partitions: int | None
) -> None:
    """Raise TopologyRefused if what is asked for differs from the stamp; None asks for nothing."""
    if nodes_per_az is not None and nodes_per_az != topology.nodes_per_az:
        raise TopologyRefused(
            f"{data_dir} holds a cluster with {topology.nodes_per_az} node(s) per AZ, not"
            f" {nodes_per_az}: leave the option out, or use another data directory"
        )
    if partitions is not None and partitions != topology.partitions:
        raise TopologyRefused(
            f"{data_dir} holds a cluster with {topology.partitions} partitions, not"
            f" {partitions}: leave the option out, or use another data directory"
        )


def check_unstamped(data_dir: Path) -> None:
    """Raise TopologyRefused if a directory without a stamp holds anything but our run folder."""
    strangers = sorted(path.name for path in data_dir.iterdir() if path.name != "run")
    strangers = [name for name in strangers if name != "cluster.json.new"]
    if "nodes" in strangers:
        raise TopologyRefused(
            f"{data_dir} holds nodes but its cluster.json is gone: restore it from a copy, or use"
            " another data directory"
        )
    if strangers:
        raise TopologyRefused(
            f"{data_dir} is not empty and not a cluster's data directory (it has"
            f" {strangers[0]}): use another one"
        )
