"""What each catalog command does: pure functions from a catalog and a command to the next catalog.

Each raises Refused, with the reason that the wire carries, if its precondition does not hold: a
plan made on an old catalog must never overwrite a newer one. What is so already is no refusal:
the same catalog is returned, and nothing changes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, assert_never

from quorate.cluster.catalog import (
    CATALOG_GROUP,
    Catalog,
    NodeRecord,
    TableRecord,
    UserRecord,
)
from quorate.cluster.commands import (
    AddNode,
    Bootstrap,
    CancelReplacement,
    CatalogCommand,
    CreateAccessKey,
    CreateTable,
    CreateUser,
    DeleteAccessKey,
    DeleteTable,
    DeleteUser,
    MoveReplica,
    NodeCommand,
    OpenCluster,
    RemoveNode,
    ReplaceGrants,
    ReplaceNode,
    TableCommand,
    UpdateTable,
    UserCommand,
)
from quorate.cluster.placement import catalog_voters

TABLES_MAX: Final = 2_500
"""Most tables. Source: DynamoDB service quotas, tables per account and Region."""

NODES_MAX: Final = 1_000
"""Most nodes. Ours: every node keeps a stream to every other."""

USERS_MAX: Final = 5_000
"""Most users. Source: AWS IAM's quota of users per account."""

ACCESS_KEYS_MAX: Final = 2
"""Most access keys of a user. Source: AWS IAM's quota; two, so that keys can be rotated."""

EXISTS: Final = "exists"
MISSING: Final = "missing"
CHANGED: Final = "changed"
LIMIT: Final = "limit"
NAME_IN_USE: Final = "name in use"
ADDRESS_IN_USE: Final = "address in use"
OTHER_AZ: Final = "another AZ"
BEING_REPLACED: Final = "being replaced"
HOLDS_REPLICAS: Final = "holds replicas"
HAS_USERS: Final = "has users"
TAKES_PLACE: Final = "takes a place"
UNKNOWN: Final = "unknown"
JOINED: Final = "joined"


class Refused(Exception):
    """The command's precondition does not hold; `reason` is one of the constants above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def change(catalog: Catalog, command: CatalogCommand) -> Catalog:
    """Return the catalog after a command, the same object if it changes nothing. Raises Refused."""
    changed = _change(catalog, command)
    return changed if changed is catalog else replace(changed, epoch=catalog.epoch + 1)


def _change(catalog: Catalog, command: CatalogCommand) -> Catalog:
    match command:
        case Bootstrap():
            return _bootstrap(catalog, command)
        case CreateTable() | DeleteTable() | UpdateTable():
            return _change_tables(catalog, command)
        case AddNode() | ReplaceNode() | CancelReplacement() | MoveReplica() | RemoveNode():
            return _change_nodes(catalog, command)
        case _:
            return _change_users(catalog, command)


def _bootstrap(catalog: Catalog, command: Bootstrap) -> Catalog:
    if catalog.epoch:
        raise Refused(EXISTS)
    nodes = command.catalog.nodes
    return replace(
        command.catalog,
        epoch=catalog.epoch,
        next_node_id=1 + max((node.id for node in nodes), default=0),
        catalog_replicas=catalog_voters(nodes),
    )


# Tables


def _change_tables(catalog: Catalog, command: TableCommand) -> Catalog:
    match command:
        case CreateTable():
            return _create_table(catalog, command)
        case DeleteTable():
            return _delete_table(catalog, command)
        case UpdateTable():
            return _update_table(catalog, command)


def _create_table(catalog: Catalog, command: CreateTable) -> Catalog:
    if command.name in catalog.table_by_name:
        raise Refused(EXISTS)
    if len(catalog.tables) >= TABLES_MAX:
        raise Refused(LIMIT)
    table = TableRecord(id=catalog.next_table_id, name=command.name, definition=command.definition)
    return replace(
        catalog, next_table_id=catalog.next_table_id + 1, tables=(*catalog.tables, table)
    )


def _delete_table(catalog: Catalog, command: DeleteTable) -> Catalog:
    table = _table(catalog, command)
    return replace(catalog, tables=tuple(each for each in catalog.tables if each is not table))


def _update_table(catalog: Catalog, command: UpdateTable) -> Catalog:
    old = _table(catalog, command)
    new = replace(old, definition=command.definition, version=old.version + 1)
    return replace(catalog, tables=tuple(new if each is old else each for each in catalog.tables))


def _table(catalog: Catalog, command: DeleteTable | UpdateTable) -> TableRecord:
    """Return the table that a command was made for, as it was then."""
    table = catalog.table_by_name.get(command.name)
    if table is None or table.id != command.id:
        raise Refused(MISSING)
    if table.version != command.version:
        raise Refused(CHANGED)
    return table


# Nodes


def _change_nodes(catalog: Catalog, command: NodeCommand) -> Catalog:
    match command:
        case AddNode():
            return _add_node(catalog, command)
        case ReplaceNode():
            return _replace_node(catalog, command)
        case CancelReplacement():
            return _cancel_replacement(catalog, command)
        case MoveReplica():
            return _move_replica(catalog, command)
        case RemoveNode():
            return _remove_node(catalog, command)


def _add_node(catalog: Catalog, command: AddNode) -> Catalog:
    if any(node.incarnation == command.incarnation for node in catalog.nodes):
        return catalog  # it asks again
    for node in catalog.nodes:
        if node.id in catalog.replacements:
            continue  # on its way out
        awaited = node.replacement == command.name
        if awaited and node.az != command.az:
            raise Refused(OTHER_AZ)
        if node.name == command.name and not awaited:
            raise Refused(NAME_IN_USE)
        if node.address == command.address and not awaited:
            raise Refused(ADDRESS_IN_USE)
    if len(catalog.nodes) >= NODES_MAX:
        raise Refused(LIMIT)
    node = NodeRecord(
        id=catalog.next_node_id,
        name=command.name,
        az=command.az,
        address=command.address,
        incarnation=command.incarnation,
    )
    return replace(catalog, next_node_id=catalog.next_node_id + 1, nodes=(*catalog.nodes, node))


def _replace_node(catalog: Catalog, command: ReplaceNode) -> Catalog:
    old = catalog.node_by_id.get(command.id)
    if old is None:
        raise Refused(MISSING)
    if old.replacement == command.replacement:
        return catalog
    if old.id in catalog.replacements:
        raise Refused(BEING_REPLACED)
    if command.replacement != old.name:  # else it comes back, and its name is known
        named = [node for node in catalog.nodes if node.name == command.replacement]
        if not named and not command.allow_unknown:
            raise Refused(UNKNOWN)
        for node in named:
            if node.az != old.az:
                raise Refused(OTHER_AZ)
            if node.replacement:
                raise Refused(BEING_REPLACED)
    return _with_replacement(catalog, old, command.replacement)


def _cancel_replacement(catalog: Catalog, command: CancelReplacement) -> Catalog:
    old = catalog.node_by_id.get(command.id)
    if old is None:
        raise Refused(MISSING)
    if not old.replacement:
        return catalog
    if old.replacement != command.replacement:
        raise Refused(CHANGED)
    if old.id in catalog.next_replacements:
        # Groups may have it as a member already, and nobody would take it out again.
        raise Refused(JOINED)
    return _with_replacement(catalog, old, "")


def _with_replacement(catalog: Catalog, old: NodeRecord, name: str) -> Catalog:
    marked = replace(old, replacement=name)
    return replace(catalog, nodes=tuple(marked if node is old else node for node in catalog.nodes))


def _move_replica(catalog: Catalog, command: MoveReplica) -> Catalog:
    old, new = command.old, command.new
    if catalog.replacements.get(old) != new:
        raise Refused(MISSING)
    if old not in catalog.replicas_of.get(command.group, ()):
        return catalog  # done already

    def moved(replicas: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(new if node_id == old else node_id for node_id in replicas)

    if command.group == CATALOG_GROUP:
        return replace(catalog, catalog_replicas=moved(catalog.catalog_replicas))
    partitions = tuple(
        replace(partition, replicas=moved(partition.replicas), moved=True)
        if partition.id == command.group
        else partition
        for partition in catalog.partitions
    )
    return replace(catalog, partitions=partitions)


def _remove_node(catalog: Catalog, command: RemoveNode) -> Catalog:
    if command.id not in catalog.node_by_id:
        raise Refused(MISSING)
    if any(command.id in replicas for replicas in catalog.replicas_of.values()):
        raise Refused(HOLDS_REPLICAS)
    if command.id in catalog.next_replacements.values():
        # Groups of the node whose place it was to take may have it as a member already.
        raise Refused(TAKES_PLACE)
    return replace(catalog, nodes=tuple(node for node in catalog.nodes if node.id != command.id))


# Users


def _change_users(catalog: Catalog, command: UserCommand) -> Catalog:
    match command:
        case CreateUser():
            return _create_user(catalog, command)
        case DeleteUser():
            return _delete_user(catalog, command)
        case CreateAccessKey():
            return _create_access_key(catalog, command)
        case DeleteAccessKey():
            return _delete_access_key(catalog, command)
        case ReplaceGrants():
            return _replace_grants(catalog, command)
        case OpenCluster():
            if catalog.users:
                raise Refused(HAS_USERS)
            return replace(catalog, closed=False) if catalog.closed else catalog
        case _:
            assert_never(command)


def _create_user(catalog: Catalog, command: CreateUser) -> Catalog:
    if command.name in catalog.user_by_name:
        raise Refused(EXISTS)
    if len(catalog.users) >= USERS_MAX:
        raise Refused(LIMIT)
    user = UserRecord(name=command.name, access_keys=(command.access_key,), grants=command.grants)
    return replace(catalog, users=(*catalog.users, user), closed=True)


def _delete_user(catalog: Catalog, command: DeleteUser) -> Catalog:
    user = _user(catalog, command.name)
    return replace(catalog, users=tuple(each for each in catalog.users if each is not user))


def _create_access_key(catalog: Catalog, command: CreateAccessKey) -> Catalog:
    user = _user(catalog, command.user_name)
    if len(user.access_keys) >= ACCESS_KEYS_MAX:
        raise Refused(LIMIT)
    if user.grants != command.grants:
        raise Refused(CHANGED)
    changed = replace(user, access_keys=(*user.access_keys, command.access_key))
    return _with_user(catalog, user, changed)


def _delete_access_key(catalog: Catalog, command: DeleteAccessKey) -> Catalog:
    user = _user(catalog, command.user_name)
    kept = tuple(key for key in user.access_keys if key.id != command.id)
    if len(kept) == len(user.access_keys):
        raise Refused(MISSING)
    return _with_user(catalog, user, replace(user, access_keys=kept))


def _replace_grants(catalog: Catalog, command: ReplaceGrants) -> Catalog:
    user = _user(catalog, command.user_name)
    if [key.id for key in user.access_keys] != [key.id for key in command.access_keys]:
        raise Refused(CHANGED)
    changed = replace(user, grants=command.grants, access_keys=command.access_keys)
    return _with_user(catalog, user, changed)


def _user(catalog: Catalog, name: str) -> UserRecord:
    user = catalog.user_by_name.get(name)
    if user is None:
        raise Refused(MISSING)
    return user


def _with_user(catalog: Catalog, old: UserRecord, new: UserRecord) -> Catalog:
    return replace(catalog, users=tuple(new if each is old else each for each in catalog.users))
