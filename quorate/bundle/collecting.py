"""Collects a bundle: asks everybody at once, and takes what has come by the deadline."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quorate.bundle.catalog import describe_catalog
from quorate.bundle.faces import Asking, Told
from quorate.bundle.host import describe_host, describe_versions
from quorate.bundle.local_cluster import LocalCluster, find_local_cluster
from quorate.bundle.nodes import ask_nodes
from quorate.bundle.parts import Bundle, plain
from quorate.cluster.channels import Dialer

ADMIN_HINT: Final = (
    "where nodes have certificates, it takes an admin's: --cluster-ca, --cluster-cert,"
    " --cluster-key"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whom to ask, and how long.

    `faces` are the admin faces of routers and nodes, `nodes` the gRPC addresses of nodes, both
    beside those of the local cluster.
    """

    data_dir: Path
    faces: Sequence[str]
    nodes: Sequence[str]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """A bundle; `cluster_id` is "" if nothing at all was learned of a cluster."""

    bundle: Bundle
    cluster_id: str


def collect(wanted: Wanted, dialer: Dialer, now: float) -> Collected:
    """Return a bundle of all that could be had; it says itself what could not."""
    deadline = time.monotonic() + wanted.seconds
    bundle = Bundle(now)
    local = find_local_cluster(wanted.data_dir, bundle)
    addresses = local.admin_addresses if local is not None else {}
    addresses |= {each: each for each in wanted.faces if each not in addresses.values()}
    asking = Asking(addresses)
    bundle.add_json("versions.json", describe_versions())
    bundle.add_json("host.json", describe_host(wanted.data_dir))

    told, silent = asking.gather(deadline - wanted.seconds / 2)
    for sentence in silent:
        bundle.miss(sentence)
    statuses = [status for each in told.values() if (status := _status_in(each)) is not None]
    if not statuses:
        bundle.miss("status of the cluster: no router told it")
    nodes = {*wanted.nodes, *(local.node_addresses if local is not None else ())}
    nodes |= {str(node["address"]) for status in statuses for node in status["nodes"]}
    found_id = _add_nodes(bundle, nodes, dialer, deadline)
    for name, answers in told.items():
        for part, page in answers.pages.items():
            bundle.add(f"processes/{plain(name)}/{part}", page)
    if local is not None:
        local.add_to(bundle)
    return Collected(
        bundle=bundle,
        cluster_id=found_id
        or next((str(status["cluster_id"]) for status in statuses), "")
        or _stamped_id(local),
    )


def _add_nodes(bundle: Bundle, addresses: set[str], dialer: Dialer, deadline: float) -> str:
    """Add the catalog and what each node says of itself; return the cluster's id, "" if unknown."""
    if not addresses:
        bundle.miss("catalog, status of nodes: no node is known (--node host:port)")
        return ""
    try:
        catalog, statuses = asyncio.run(_within(deadline, addresses, dialer))
    except TimeoutError:
        bundle.miss("catalog, status of nodes: they have not answered in time")
        return ""
    names: dict[str, str] = {}
    if catalog is None:
        hint = "" if dialer.credentials is not None else f" ({ADMIN_HINT})"
        bundle.miss(f"catalog: no node told it{hint}")
    else:
        bundle.add_json("catalog.json", describe_catalog(catalog))
        names = {node.address: node.name for node in catalog.nodes}
    for address, status in statuses.items():
        name = names.get(address, address)
        if status is None:
            bundle.miss(f"status of node {name}: it does not answer at {address}")
        else:
            bundle.add_json(f"nodes/{plain(name)}.json", status)
    return catalog.cluster_id if catalog is not None else ""


async def _within(deadline: float, addresses: set[str], dialer: Dialer) -> Any:  # noqa: ANN401
    async with asyncio.timeout(max(1.0, deadline - time.monotonic())):
        return await ask_nodes(addresses, dialer)


def _status_in(told: Told) -> dict[str, Any] | None:
    """Return the document of a router's /status, None if it gave none."""
    try:
        document = json.loads(told.pages.get("status.json", b""))
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _stamped_id(local: LocalCluster | None) -> str:
    return local.topology.cluster_id if local is not None and local.topology is not None else ""
