"""The command lines of a local cluster's processes. Pure: nothing is started here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from quorate.local.topology import AZ_NAMES, HOST, LocalNode, Topology
from quorate.security.cluster_certificate import ClusterPaths


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPlan:
    """One process to run: `kind` is "node" or "router"; `listens` is for people."""

    name: str
    kind: str
    az: str
    listens: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterPorts:
    """Where one router listens."""

    http: int
    grpc: int
    admin: int


def plan_node(
    topology: Topology,
    node: LocalNode,
    *,
    admin_port: int,
    data_dir: Path,
    parent_pid: int,
    log_level: str,
    certificate: ClusterPaths | None = None,
) -> ProcessPlan:
    """Return the plan of one node; its own directory is data_dir/nodes/NAME.

    One that the cluster began with is told its members; one that was added joins them.
    """
    initial = node in topology.nodes
    others = topology.added if initial else (*topology.nodes, *topology.added)
    known = [part for other in others if other != node for part in ("--join", other.address)]
    if initial:
        known += [
            part
            for member in topology.nodes
            for part in ("--member", f"{member.name}={member.az}@{member.address}")
        ]
    return ProcessPlan(
        name=node.name,
        kind="node",
        az=node.az,
        listens=f"node {node.port}, admin {admin_port}",
        arguments=(
            *_quorate("node", parent_pid, log_level),
            *("--name", node.name, "--az", node.az, "--listen", node.address),
            *("--admin", f"{HOST}:{admin_port}"),
            *("--data-dir", str(data_dir / "nodes" / node.name)),
            *("--cluster-id", topology.cluster_id, "--partitions", str(topology.partitions)),
            *_show(certificate),
            *known,
        ),
    )


def plan_router(
    topology: Topology,
    number: int,
    ports: RouterPorts,
    *,
    key_file: Path,
    parent_pid: int,
    log_level: str,
    certificate: ClusterPaths | None = None,
) -> ProcessPlan:
    """Return the plan of router `number`, from 1; routers go round the AZs."""
    http, grpc, admin = (f"{HOST}:{port}" for port in (ports.http, ports.grpc, ports.admin))
    az = AZ_NAMES[(number - 1) % len(AZ_NAMES)]
    nodes = [
        part for node in (*topology.nodes, *topology.added) for part in ("--node", node.address)
    ]
    return ProcessPlan(
        name=f"r{number}",
        kind="router",
        az=az,
        listens=f"http {ports.http}, gRPC {ports.grpc}, admin {ports.admin}",
        arguments=(
            *_quorate("router", parent_pid, log_level),
            *("--name", f"r{number}", "--az", az),
            *("--http", http, "--grpc", grpc, "--admin", admin),
            *("--cluster-id", topology.cluster_id, "--key-file", str(key_file)),
            *_show(certificate),
            *nodes,
        ),
    )


def _show(certificate: ClusterPaths | None) -> tuple[str, ...]:
    if certificate is None:
        return ()
    return (
        *("--cluster-ca", str(certificate.ca), "--cluster-cert", str(certificate.certificate)),
        *("--cluster-key", str(certificate.key)),
    )


def _quorate(command: str, parent_pid: int, log_level: str) -> tuple[str, ...]:
    python = (sys.executable, "-m", "quorate", command)
    # Their logs go into files for people.
    text = ("--log-level", log_level, "--log-format", "text")
    return (*python, "--parent-pid", str(parent_pid), *text)
