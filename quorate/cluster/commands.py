"""The commands that change the catalog, and their wire form, which is also their log entry's.

What each does is in `node.machine.catalog_changes`; proto/quorate/v1/catalog.proto says when it
is refused. A command retried with the same `request_id` is applied once.
"""

from __future__ import annotations

from dataclasses import dataclass

from quorate.cluster.catalog import AccessKeyRecord, Catalog, Grant
from quorate.cluster.codec import (
    decode_access_key,
    decode_access_keys,
    decode_catalog,
    decode_grants,
    encode_access_key,
    encode_access_keys,
    encode_catalog,
    encode_grants,
)
from quorate.v1 import catalog_pb2


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Make the first catalog, of its nodes and partitions; refused once there is one."""

    request_id: bytes
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class CreateTable:
    """Add a table; refused if one of that name exists."""

    request_id: bytes
    name: str
    definition: bytes


@dataclass(frozen=True, slots=True)
class DeleteTable:
    """Remove the table of that name if it still has this id and this version of its definition."""

    request_id: bytes
    name: str
    id: int
    version: int = 0


@dataclass(frozen=True, slots=True)
class UpdateTable:
    """Replace the definition of a table if it still has this id and this version of it."""

    request_id: bytes
    name: str
    id: int
    version: int
    definition: bytes


@dataclass(frozen=True, slots=True)
class AddNode:
    """Add a node without replicas; once for each incarnation."""

    request_id: bytes
    name: str
    az: str
    address: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class ReplaceNode:
    """Let the node named `replacement` take the place of node `id`.

    It has joined, or is to come under the old one's name; or, with `allow_unknown`, under any.
    """

    request_id: bytes
    id: int
    replacement: str
    allow_unknown: bool = False


@dataclass(frozen=True, slots=True)
class CancelReplacement:
    """Let node `id` keep its place; refused once `replacement` has joined, or if it is another."""

    request_id: bytes
    id: int
    replacement: str


def why_nodes_stay(reason: str) -> str:
    """Return the sentence for the catalog's reason to refuse a change of its nodes."""
    match reason:
        case "missing":
            return "The node has been removed meanwhile."
        case "another AZ":
            return "A node is replaced by one in its own AZ."
        case "being replaced":
            return "One of the two is being replaced, or replaces another."
        case "unknown":
            return (
                "No node of the new name has joined. Check the name; if that node is yet to come,"
                " say so with --allow-unknown."
            )
        case "joined":
            return (
                "The new node has joined, and may hold replicas already: let it take the place, or"
                " have it replaced in its turn."
            )
        case "changed":
            return "Another node was named meanwhile: look at the status, and ask again."
        case "holds replicas":
            return "The node holds replicas: name one that takes its place (quorate node replace)."
        case "takes a place":
            return "The node is taking another one's place, and may hold replicas already."
        case _:
            return f"The catalog refused the change: {reason}"


@dataclass(frozen=True, slots=True)
class MoveReplica:
    """Note that a group has replaced a node by another in its configuration."""

    request_id: bytes
    group: int
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Forget a node that holds no replica, and is not to take over somebody's."""

    request_id: bytes
    id: int


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Add a user with a first key; refused if one of that name exists."""

    request_id: bytes
    name: str
    access_key: AccessKeyRecord
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteUser:
    """Remove a user with all its keys."""

    request_id: bytes
    name: str


@dataclass(frozen=True, slots=True)
class CreateAccessKey:
    """Give a user a second key, sealed for these grants; refused if it has others by now."""

    request_id: bytes
    user_name: str
    access_key: AccessKeyRecord
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteAccessKey:
    """Take a key from a user."""

    request_id: bytes
    user_name: str
    id: str


@dataclass(frozen=True, slots=True)
class ReplaceGrants:
    """Give a user other grants, in place of all that it had, and its keys sealed for them.

    Refused if it has other keys by now.
    """

    request_id: bytes
    user_name: str
    grants: tuple[Grant, ...]
    access_keys: tuple[AccessKeyRecord, ...]


@dataclass(frozen=True, slots=True)
class OpenCluster:
    """Let requests be unsigned again; refused while there are users."""

    request_id: bytes


TableCommand = CreateTable | DeleteTable | UpdateTable
NodeCommand = AddNode | ReplaceNode | CancelReplacement | MoveReplica | RemoveNode
UserCommand = (
    CreateUser | DeleteUser | CreateAccessKey | DeleteAccessKey | ReplaceGrants | OpenCluster
)
CatalogCommand = Bootstrap | TableCommand | NodeCommand | UserCommand


def encode_catalog_command(command: CatalogCommand) -> bytes:
    """Return the payload of the catalog's log entry."""
    return wire_catalog_command(command).SerializeToString()


def wire_catalog_command(command: CatalogCommand) -> catalog_pb2.CatalogCommand:
    """Return the wire form; the pair of `decode_catalog_command`."""
    wire = catalog_pb2.CatalogCommand(request_id=command.request_id)
    match command:
        case Bootstrap():
            wire.bootstrap.CopyFrom(encode_catalog(command.catalog))
        case CreateTable() | DeleteTable() | UpdateTable():
            _write_table_command(command, wire)
        case AddNode() | ReplaceNode() | CancelReplacement() | MoveReplica() | RemoveNode():
            _write_node_command(command, wire)
        case _:
            _write_user_command(command, wire)
    return wire


def _write_node_command(command: NodeCommand, wire: catalog_pb2.CatalogCommand) -> None:
    match command:
        case AddNode():
            wire.add_node.name = command.name
            wire.add_node.az = command.az
            wire.add_node.address = command.address
            wire.add_node.incarnation = command.incarnation
        case ReplaceNode():
            wire.replace_node.id = command.id
            wire.replace_node.replacement = command.replacement
            wire.replace_node.allow_unknown = command.allow_unknown
        case CancelReplacement():
            wire.cancel_replacement.id = command.id
            wire.cancel_replacement.replacement = command.replacement
        case MoveReplica():
            wire.move_replica.SetInParent()  # group 0 and node 0 leave no bytes behind
            wire.move_replica.group = command.group
            wire.move_replica.old = command.old
            wire.move_replica.new = command.new
        case RemoveNode():
            wire.remove_node.id = command.id


def _write_table_command(command: TableCommand, wire: catalog_pb2.CatalogCommand) -> None:
    match command:
        case CreateTable():
            wire.create_table.name = command.name
            wire.create_table.definition = command.definition
        case DeleteTable():
            wire.delete_table.name = command.name
            wire.delete_table.id = command.id
            wire.delete_table.version = command.version
        case UpdateTable():
            wire.update_table.name = command.name
            wire.update_table.id = command.id
            wire.update_table.version = command.version
            wire.update_table.definition = command.definition


def _write_user_command(command: UserCommand, wire: catalog_pb2.CatalogCommand) -> None:
    match command:
        case CreateUser():
            wire.create_user.name = command.name
            wire.create_user.access_key.CopyFrom(encode_access_key(command.access_key))
            wire.create_user.grants.extend(encode_grants(command.grants))
        case DeleteUser():
            wire.delete_user.name = command.name
        case CreateAccessKey():
            wire.create_access_key.user_name = command.user_name
            wire.create_access_key.access_key.CopyFrom(encode_access_key(command.access_key))
            wire.create_access_key.grants.extend(encode_grants(command.grants))
        case DeleteAccessKey():
            wire.delete_access_key.user_name = command.user_name
            wire.delete_access_key.id = command.id
        case ReplaceGrants():
            wire.replace_grants.user_name = command.user_name
            wire.replace_grants.grants.extend(encode_grants(command.grants))
            wire.replace_grants.access_keys.extend(encode_access_keys(command.access_keys))
        case OpenCluster():
            wire.open_cluster.SetInParent()


def decode_catalog_command(wire: catalog_pb2.CatalogCommand) -> CatalogCommand | None:
    """Return the command, or None if it is of a kind that this version does not know."""
    match wire.WhichOneof("change"):
        case "bootstrap":
            return Bootstrap(wire.request_id, decode_catalog(wire.bootstrap))
        case "create_table":
            create = wire.create_table
            return CreateTable(wire.request_id, create.name, create.definition)
        case "delete_table":
            delete = wire.delete_table
            return DeleteTable(wire.request_id, delete.name, delete.id, delete.version)
        case "update_table":
            update = wire.update_table
            return UpdateTable(
                wire.request_id, update.name, update.id, update.version, update.definition
            )
        case _:
            return _decode_node_command(wire) or _decode_user_command(wire)


def _decode_node_command(wire: catalog_pb2.CatalogCommand) -> NodeCommand | None:
    match wire.WhichOneof("change"):
        case "add_node":
            node = wire.add_node
            return AddNode(wire.request_id, node.name, node.az, node.address, node.incarnation)
        case "replace_node":
            replace = wire.replace_node
            return ReplaceNode(
                wire.request_id, replace.id, replace.replacement, replace.allow_unknown
            )
        case "cancel_replacement":
            cancel = wire.cancel_replacement
            return CancelReplacement(wire.request_id, cancel.id, cancel.replacement)
        case "move_replica":
            move = wire.move_replica
            return MoveReplica(wire.request_id, move.group, move.old, move.new)
        case "remove_node":
            return RemoveNode(wire.request_id, wire.remove_node.id)
        case _:
            return None


def _decode_user_command(wire: catalog_pb2.CatalogCommand) -> UserCommand | None:
    match wire.WhichOneof("change"):
        case "create_user":
            user = wire.create_user
            return CreateUser(
                wire.request_id,
                user.name,
                decode_access_key(user.access_key),
                decode_grants(user.grants),
            )
        case "delete_user":
            return DeleteUser(wire.request_id, wire.delete_user.name)
        case "create_access_key":
            key = wire.create_access_key
            return CreateAccessKey(
                wire.request_id,
                key.user_name,
                decode_access_key(key.access_key),
                decode_grants(key.grants),
            )
        case "delete_access_key":
            gone = wire.delete_access_key
            return DeleteAccessKey(wire.request_id, gone.user_name, gone.id)
        case "replace_grants":
            new = wire.replace_grants
            return ReplaceGrants(
                wire.request_id,
                new.user_name,
                decode_grants(new.grants),
                decode_access_keys(new.access_keys),
            )
        case "open_cluster":
            return OpenCluster(wire.request_id)
        case _:
            return None
