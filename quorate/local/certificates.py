"""The certificates of a local cluster, in its data directory beside what signs them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from quorate.security.cluster_certificate import ClusterPaths
from quorate.security.cluster_roles import Caller, Role
from quorate.security.development_ca import (
    cluster_paths,
    make_cluster_authority,
    make_cluster_certificate,
)


def has_certificates(data_dir: Path) -> bool:
    """Return whether the cluster there was started with certificates once: then it always is."""
    return (_folder(data_dir) / "ca.crt").exists()


def paths_of(data_dir: Path, role: Role, name: str = "") -> ClusterPaths:
    """Return where the certificate of a role, or of one node, lies."""
    return cluster_paths(_folder(data_dir), role, name)


def make_missing(data_dir: Path, cluster_id: str, node_names: Iterable[str]) -> None:
    """Make what is not there yet: the authority, and certificates of nodes, routers and admin.

    Raises AuthorityRefused or OSError.
    """
    folder, now = _folder(data_dir), time.time()
    if not has_certificates(data_dir):
        make_cluster_authority(folder, cluster_id, now)
    owners = [Caller(role, cluster_id) for role in (Role.ROUTER, Role.ADMIN)]
    owners += [Caller(Role.NODE, cluster_id, name) for name in node_names]
    for owner in owners:
        if not cluster_paths(folder, owner.role, owner.name).certificate.exists():
            make_cluster_certificate(folder, owner, now)


def _folder(data_dir: Path) -> Path:
    return data_dir / "certs"
