"""Which role may make which call of a node. Pure; `node.guard` enforces it.

A cluster without certificates has no roles: there, whoever reaches a node's port may do all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from quorate.security.cluster_roles import Role

NODE, ROUTER, ADMIN = Role.NODE, Role.ROUTER, Role.ADMIN

MAY_CALL: Final[Mapping[str, frozenset[Role]]] = {
    "Identify": frozenset({NODE}),
    "Replicate": frozenset({NODE}),
    "TransferSnapshot": frozenset({NODE}),
    "Route": frozenset({ROUTER}),
    "LeaseCapacity": frozenset({ROUTER}),
    "WatchCatalog": frozenset({NODE, ROUTER, ADMIN}),
    "GetStatus": frozenset({ROUTER, ADMIN}),
    "ChangeCatalog": frozenset({NODE, ROUTER, ADMIN}),  # and see MAY_CHANGE
    "TransferLeadership": frozenset({ADMIN}),
}
"""By the method of NodeService."""

MAY_CHANGE: Final[Mapping[str, frozenset[Role]]] = {
    "": frozenset({NODE, ROUTER}),  # no change: is this the newest catalog?
    "bootstrap": frozenset(),  # the catalog's first leader makes it, by itself
    "create_table": frozenset({ROUTER}),
    "delete_table": frozenset({ROUTER}),
    "update_table": frozenset({ROUTER}),
    # Routers ask for the key file; see docs/decisions/0016.
    "create_user": frozenset({ROUTER}),
    "delete_user": frozenset({ROUTER}),
    "create_access_key": frozenset({ROUTER}),
    "delete_access_key": frozenset({ROUTER}),
    "replace_grants": frozenset({ROUTER}),
    "open_cluster": frozenset({ROUTER}),
    "add_node": frozenset({NODE}),  # itself, by the name in its certificate
    "move_replica": frozenset({NODE}),  # the leader of a group tells what it has done
    "replace_node": frozenset({ADMIN}),
    "cancel_replacement": frozenset({ADMIN}),
    "remove_node": frozenset({ADMIN}),  # the catalog's leader does it by itself
}
"""By the kind of change in a CatalogCommand."""

NOBODY: Final[frozenset[Role]] = frozenset()


def may_call(role: Role, method: str) -> bool:
    """Return whether a role may make a call at all; of what is not known here, nobody may."""
    return role in MAY_CALL.get(method, NOBODY)


def may_change(role: Role, change: str) -> bool:
    """Return whether a role may change the catalog so; of what is not known here, nobody may."""
    return role in MAY_CHANGE.get(change, NOBODY)
