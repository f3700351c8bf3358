"""How subcommands talk to nodes with an admin's certificate, and where the local one lies."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from quorate.cli.connection import run_to_its_end
from quorate.cli.exits import Exit, fail

if TYPE_CHECKING:
    from quorate.client.administrator import Administrator
    from quorate.cluster.channels import Dialer
    from quorate.security.cluster_certificate import ClusterPaths

T = TypeVar("T")


def admin_paths(data_dir: Path) -> ClusterPaths | None:
    """Return the admin's certificate of a local cluster, None if it has no certificates."""
    from quorate.local.certificates import has_certificates, paths_of
    from quorate.security.cluster_roles import Role

    return paths_of(data_dir, Role.ADMIN) if has_certificates(data_dir) else None


def local_nodes(data_dir: Path) -> list[str]:
    """Return the addresses of a local cluster's nodes; none there ends the command."""
    from quorate.local.topology import TopologyRefused, read_stamp

    try:
        stamp = read_stamp(data_dir)
    except TopologyRefused as refusal:
        fail(str(refusal), Exit.REFUSED)
    if stamp is None:
        fail("say where the cluster's nodes are: --node host:port", Exit.REFUSED)
    return [node.address for node in (*stamp.nodes, *stamp.added)]


def run_as_admin(
    addresses: Sequence[str],
    paths: ClusterPaths,
    work: Callable[[Administrator], Awaitable[T]],
) -> T:
    """Return what `work` returns; trouble ends the command with a sentence and its code."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # our sentence says it once
    from quorate.client.administrator import Administrator

    dialer = admin_dialer(paths)

    async def connected() -> T:
        async with Administrator(addresses, dialer) as administrator:
            return await work(administrator)

    return run_to_its_end(connected())


def admin_dialer(paths: ClusterPaths | None) -> Dialer:
    """Return what opens channels to nodes as an admin, or in clear; a bad file ends the command."""
    from quorate.cluster.channels import Dialer
    from quorate.security.certificate_pair import CertificateRefused
    from quorate.security.cluster_certificate import ClusterFiles
    from quorate.security.cluster_roles import Role

    try:
        return Dialer(ClusterFiles(paths, Role.ADMIN, time.time) if paths is not None else None)
    except CertificateRefused as refusal:
        fail(str(refusal), Exit.REFUSED)
