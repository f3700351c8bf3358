"""The operator's client: users and nodes managed, with the cluster's key file in hand."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

from quorate.client.channels import Channels
from quorate.client.credentials import Credentials
from quorate.client.errors import (
    OutcomeUnknown,
    QuorateError,
    RequestRefused,
    ResourceNotFound,
    Unreachable,
    error_of,
)
from quorate.client.statuses import reason_of
from quorate.cluster.catalog import Grant
from quorate.cluster.codec import decode_grants, encode_grants
from quorate.cluster.write_id import REQUEST_ID_BYTES
from quorate.security.sealing import OPERATOR_ID, KeyFile, Place, SealBroken, new_access_key
from quorate.v1 import catalog_pb2, cluster_pb2, users_pb2
from quorate.v1.cluster_pb2_grpc import ClusterServiceStub
from quorate.v1.users_pb2_grpc import UserServiceStub

USERS: Final = "/quorate.v1.UserService"
CLUSTER: Final = "/quorate.v1.ClusterService"
STUBS: Final[Mapping[str, Any]] = {USERS: UserServiceStub, CLUSTER: ClusterServiceStub}
UNKNOWN_REASON: Final = "InternalServerError"
"""The error code of a change whose outcome is unknown."""

CONNECT_SECONDS: Final = 3.0
"""Longest wait for a connection: a person is waiting. Ours."""

DEADLINE_SECONDS: Final = 10.0
"""Longest wait for an answer. Ours: longer than an election."""


@dataclass(frozen=True, slots=True)
class NewAccessKey:
    """A key just made; its secret is known nowhere else."""

    user_name: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedUser:
    """A user's access keys, by id, and grants; without any it may do everything."""

    access_key_ids: list[str]
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedReplacement:
    """A node that is being replaced, by id: names are used again. `new_id` 0: not joined yet."""

    old_id: int
    new_id: int
    az: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledReplacement:
    """A node that keeps its place, by id, and the name of the one that had been waited for."""

    old_id: int
    replacement: str


class Operator:
    """Manages users and nodes through a router. Use with `async with`.

    Every method raises QuorateError.
    """

    def __init__(self, endpoint: str, key_file: KeyFile) -> None:
        """Take host:port of a router's gRPC face; QUORATE_TLS_CA says whether it speaks TLS."""
        self._channels = Channels()
        self._endpoint = endpoint
        self._key_file = key_file
        self._credentials = Credentials(OPERATOR_ID, key_file.operator_secret)
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        """Connect. Raises Unreachable."""
        self._channel = self._channels.open(self._endpoint)
        try:
            await asyncio.wait_for(self._channel.channel_ready(), CONNECT_SECONDS)
        except TimeoutError:
            await self._channel.close()
            raise Unreachable(self._channels.nobody_at(self._endpoint)) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel."""
        assert self._channel is not None
        await self._channel.close()

    async def create_user(self, name: str, grants: Sequence[Grant] = ()) -> NewAccessKey:
        """Make a user with a first key; without grants it may do everything."""
        listed = await self._list()
        key, sealed = self._new_key(listed.cluster_id, name, grants)
        await self._change(
            "CreateUser",
            users_pb2.CreateUserRequest(name=name, access_key=sealed, grants=encode_grants(grants)),
            listed.cluster_id,
        )
        return key

    async def replace_grants(self, user_name: str, grants: Sequence[Grant]) -> None:
        """Give a user these grants, one at least, in place of all that it had.

        Its keys are sealed anew for them; they stay the same to whoever uses them.
        """
        listed = await self._list()
        user = _find(listed, user_name)
        await self._change(
            "ReplaceGrants",
            users_pb2.ReplaceGrantsRequest(
                user_name=user_name,
                grants=encode_grants(grants),
                access_keys=[
                    self._sealed_anew(listed.cluster_id, user, key, grants)
                    for key in user.access_keys
                ],
            ),
            listed.cluster_id,
        )

    async def create_access_key(self, user_name: str) -> NewAccessKey:
        """Give a user a second key."""
        listed = await self._list()
        user = _find(listed, user_name)
        key, sealed = self._new_key(listed.cluster_id, user_name, decode_grants(user.grants))
        await self._change(
            "CreateAccessKey",
            users_pb2.CreateAccessKeyRequest(
                user_name=user_name, access_key=sealed, grants=user.grants
            ),
            listed.cluster_id,
        )
        return key

    async def delete_user(self, name: str) -> None:
        """Delete a user with all keys. When the last is gone, the cluster stays closed."""
        await self._change("DeleteUser", users_pb2.DeleteUserRequest(name=name))

    async def delete_access_key(self, user_name: str, access_key_id: str) -> None:
        """Take a key from a user."""
        await self._change(
            "DeleteAccessKey",
            users_pb2.DeleteAccessKeyRequest(user_name=user_name, id=access_key_id),
        )

    async def open_cluster(self) -> None:
        """Let everybody in who reaches a router, without a signature; there must be no user."""
        await self._change("OpenCluster", users_pb2.OpenClusterRequest())

    async def users(self) -> dict[str, ListedUser]:
        """Return all users by name."""
        response = await self._list()
        return {
            user.name: ListedUser(
                access_key_ids=[key.id for key in user.access_keys],
                grants=decode_grants(user.grants),
            )
            for user in response.users
        }

    async def replace_node(
        self, old: str, new: str, *, allow_unknown: bool = False
    ) -> StartedReplacement:
        """Let the node named `new` take the place of the one named `old`.

        Unless it has joined, or both have the same name, it must be allowed to be unknown.
        """
        request = cluster_pb2.ReplaceNodeRequest(old=old, new=new, allow_unknown=allow_unknown)
        done = await self._change("ReplaceNode", request, service=CLUSTER)
        return StartedReplacement(old_id=done.old_id, new_id=done.new_id, az=done.az)

    async def cancel_replacement(self, old: str) -> CancelledReplacement:
        """Let a node keep its place: the one that was to take it has not joined."""
        request = cluster_pb2.CancelReplacementRequest(old=old)
        done = await self._change("CancelReplacement", request, service=CLUSTER)
        return CancelledReplacement(old_id=done.old_id, replacement=done.replacement)

    async def remove_node(self, name: str) -> int:
        """Remove a node that holds nothing for good; return its id, which is never used again."""
        request = cluster_pb2.RemoveNodeRequest(name=name)
        done = await self._change("RemoveNode", request, service=CLUSTER)
        return int(done.id)

    def _new_key(
        self, cluster_id: str, user_name: str, grants: Sequence[Grant]
    ) -> tuple[NewAccessKey, catalog_pb2.AccessKey]:
        key_id, secret = new_access_key()
        place = _place(cluster_id, user_name, grants, key_id)
        return (
            NewAccessKey(user_name, key_id, secret),
            catalog_pb2.AccessKey(id=key_id, sealed_secret=self._key_file.seal(secret, place)),
        )

    def _sealed_anew(
        self,
        cluster_id: str,
        user: catalog_pb2.User,
        key: catalog_pb2.AccessKey,
        grants: Sequence[Grant],
    ) -> catalog_pb2.AccessKey:
        """Return a key of a user, sealed for other grants than it has now."""
        old = _place(cluster_id, user.name, decode_grants(user.grants), key.id)
        new = _place(cluster_id, user.name, grants, key.id)
        try:
            secret = self._key_file.unseal(key.sealed_secret, old)
        except SealBroken:
            raise RequestRefused(
                f"the access key {key.id} was not sealed with this key file, or not for user"
                f" {user.name} with its present grants: delete it, then add another"
            ) from None
        return catalog_pb2.AccessKey(id=key.id, sealed_secret=self._key_file.seal(secret, new))

    async def _list(self) -> users_pb2.ListUsersResponse:
        return await self._call("ListUsers", users_pb2.ListUsersRequest())  # type: ignore[no-any-return]

    async def _change(
        self, operation: str, request: Any, cluster_id: str = "", *, service: str = USERS
    ) -> Any:
        """Make a call that changes something: once, and in the cluster that was looked at."""
        request.change.cluster_id = cluster_id or (await self._list()).cluster_id
        request.change.id = os.urandom(REQUEST_ID_BYTES)
        return await self._call(operation, request, service=service)

    async def _call(self, operation: str, request: Any, *, service: str = USERS) -> Any:
        method = getattr(STUBS[service](self._channel), operation)
        metadata = self._credentials.metadata(
            f"{service}/{operation}", time.time(), request.SerializeToString()
        )
        try:
            return await method(request, timeout=DEADLINE_SECONDS, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self._error(operation, error) from None

    def _error(self, operation: str, error: grpc.aio.AioRpcError) -> QuorateError:
        message = error.details() or error.code().name
        reason = reason_of(error)
        if reason and reason != UNKNOWN_REASON:
            return error_of(400, {"__type": reason, "message": message})
        if operation == "ListUsers":
            return Unreachable(f"the router at {self._endpoint} did not answer: {message}")
        return OutcomeUnknown(
            f"{operation} may or may not have been done ({message}): look before you ask again",
            request_id=b"",
        )


def _place(cluster_id: str, user_name: str, grants: Sequence[Grant], access_key_id: str) -> Place:
    return Place(
        cluster_id=cluster_id,
        user_name=user_name,
        grants=tuple(grants),
        access_key_id=access_key_id,
    )


def _find(listed: users_pb2.ListUsersResponse, name: str) -> catalog_pb2.User:
    """Return a user of that name. Raises ResourceNotFound."""
    for user in listed.users:
        if user.name == name:
            return user
    raise ResourceNotFound(f"There is no user {name}.")
