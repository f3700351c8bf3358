"""What a process is in its cluster, as the names in its certificate say. Pure.

Every certificate has the DNS name ROLE.CLUSTER.quorate; a node's has NAME.node.CLUSTER.quorate,
too. They are names of roles, not of machines: where a process listens is not in its certificate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

DOMAIN: Final = "quorate"

LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")
"""What a cluster's id and a node's name must look like to stand in a certificate. Source: RFC 1035,
2.3.1, and underscores, which people put into names."""


@unique
class Role(Enum):
    """What a certificate is for. An admin is a person with a command."""

    NODE = "node"
    ROUTER = "router"
    ADMIN = "admin"


class NoRole(Exception):
    """The names do not say who this is; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a certificate was made for. `name` is a node's, "" for the other roles."""

    role: Role
    cluster_id: str
    name: str = ""

    def __str__(self) -> str:
        """Return what logs and refusals say."""
        return f"{self.role.value} {self.name}".rstrip() + f" of cluster {self.cluster_id}"


def name_of(role: Role, cluster_id: str) -> str:
    """Return the DNS name that all certificates of a role have."""
    return f"{role.value}.{cluster_id}.{DOMAIN}"


def name_of_node(name: str, cluster_id: str) -> str:
    """Return the DNS name that one node's certificate has besides."""
    return f"{name}.{name_of(Role.NODE, cluster_id)}"


def names_of(caller: Caller) -> list[str]:
    """Return the DNS names of a certificate. Raises NoRole; the pair of `caller_of`."""
    for what, label in (("cluster id", caller.cluster_id), ("node's name", caller.name or "x")):
        if not LABEL.fullmatch(label):
            raise NoRole(
                f"the {what} {label!r} cannot stand in a certificate: letters, digits, - and _,"
                " at most 63"
            )
    names = [name_of(caller.role, caller.cluster_id)]
    if caller.role is Role.NODE:
        names.append(name_of_node(caller.name, caller.cluster_id))
    return names


def caller_of(dns_names: Iterable[str]) -> Caller:
    """Return whom a certificate with these names was made for. Other names do not matter.

    Raises NoRole if they do not name exactly one role of one cluster and, for a node, one node.
    """
    roles: set[tuple[str, str]] = set()
    nodes: set[tuple[str, str]] = set()
    for dns_name in dns_names:
        match dns_name.split("."):
            case [role_name, cluster_id, "quorate"]:
                roles.add((role_name, cluster_id))
            case [name, "node", cluster_id, "quorate"]:
                nodes.add((name, cluster_id))
            case _:
                pass
    if len(roles) != 1:
        raise NoRole(f"the certificate names {len(roles)} roles in a cluster, not one")
    ((role_name, cluster_id),) = roles
    try:
        role = Role(role_name)
    except ValueError:
        raise NoRole(f"the certificate is for the unknown role {role_name!r}") from None
    if not LABEL.fullmatch(cluster_id):
        raise NoRole(f"the certificate's cluster id {cluster_id!r} is none")
    if role is not Role.NODE:
        return Caller(role, cluster_id)
    if len(nodes) != 1 or not all(LABEL.fullmatch(name) for name, _ in nodes):
        raise NoRole("the certificate does not name exactly one node")
    ((name, cluster_of_node),) = nodes
    if cluster_of_node != cluster_id:
        raise NoRole("the certificate names a node of another cluster than its role")
    return Caller(role, cluster_id, name)
