"""Users made, listed and deleted over gRPC, by operators only: whoever has the cluster's key file.

Secrets come sealed and stay so: this service neither makes nor opens any. See users.proto.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

from model.errors import (
    InternalServerError,
    LimitExceeded,
    ModelError,
    ResourceInUse,
    ResourceNotFound,
    ValidationError,
)
from quorate.cluster.catalog import AccessKeyRecord, Grant
from quorate.cluster.codec import (
    decode_access_key,
    decode_grants,
    encode_access_keys,
    encode_grants,
)
from quorate.cluster.commands import (
    CreateAccessKey,
    CreateUser,
    DeleteAccessKey,
    DeleteUser,
    OpenCluster,
    ReplaceGrants,
    UserCommand,
)
from quorate.security.permissions import BadGrant, check_grants
from quorate.security.sealing import KEY_ID_PREFIX
from quorate.v1 import catalog_pb2, users_pb2
from router.operator_service import OperatorCall, OperatorService

SERVICE: Final = users_pb2.DESCRIPTOR.services_by_name["UserService"]

USER_NAME: Final = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
"""Source: AWS IAM, CreateUser's UserName."""

KEY_ID: Final = re.compile(rf"{KEY_ID_PREFIX}[A-Z2-7]{{16}}")

SEALED_BYTES_MAX: Final = 256
"""Longest sealed secret. Ours: those of 40 characters have 69 bytes."""


def _create_user(request: users_pb2.CreateUserRequest, request_id: bytes) -> UserCommand:
    if not USER_NAME.fullmatch(request.name):
        raise ValidationError("A user's name has 1 to 64 of A-Z a-z 0-9 _ + = , . @ -")
    access_key = _access_key(request.access_key)
    return CreateUser(request_id, request.name, access_key, _grants(request.grants))


def _delete_user(request: users_pb2.DeleteUserRequest, request_id: bytes) -> UserCommand:
    return DeleteUser(request_id, request.name)


def _create_access_key(request: users_pb2.CreateAccessKeyRequest, request_id: bytes) -> UserCommand:
    access_key = _access_key(request.access_key)
    return CreateAccessKey(request_id, request.user_name, access_key, _grants(request.grants))


def _delete_access_key(request: users_pb2.DeleteAccessKeyRequest, request_id: bytes) -> UserCommand:
    return DeleteAccessKey(request_id, request.user_name, request.id)


def _replace_grants(request: users_pb2.ReplaceGrantsRequest, request_id: bytes) -> UserCommand:
    grants = _grants(request.grants)
    if not grants:
        raise ValidationError("A user without grants may do everything; to mean it, grant *:*")
    keys = tuple(_access_key(each) for each in request.access_keys)
    return ReplaceGrants(request_id, request.user_name, grants, keys)


def _open_cluster(request: users_pb2.OpenClusterRequest, request_id: bytes) -> UserCommand:
    del request
    return OpenCluster(request_id)


def _grants(messages: Iterable[catalog_pb2.Grant]) -> tuple[Grant, ...]:
    grants = decode_grants(messages)
    try:
        check_grants(grants)
    except BadGrant as bad:
        raise ValidationError(str(bad)) from None
    return grants


def _access_key(message: catalog_pb2.AccessKey) -> AccessKeyRecord:
    if not KEY_ID.fullmatch(message.id):
        raise ValidationError(f"An access key id is {KEY_ID_PREFIX} and 16 of A-Z 2-7")
    if not 0 < len(message.sealed_secret) <= SEALED_BYTES_MAX:
        raise ValidationError(f"A sealed secret has 1 to {SEALED_BYTES_MAX} bytes")
    return decode_access_key(message)


COMMANDS: Final[Mapping[str, Callable[[Any, bytes], UserCommand]]] = {
    "CreateUser": _create_user,
    "DeleteUser": _delete_user,
    "CreateAccessKey": _create_access_key,
    "DeleteAccessKey": _delete_access_key,
    "ReplaceGrants": _replace_grants,
    "OpenCluster": _open_cluster,
}


class UserService(OperatorService):
    """Serves users.proto."""

    service: ClassVar = SERVICE
    messages: ClassVar = users_pb2

    async def serve(self, operation: str, request: Any, call: OperatorCall) -> Any:  # noqa: ANN401
        """Change the users, or list them."""
        if operation not in COMMANDS:
            return self._list()
        await self.change(COMMANDS[operation](request, call.request_id), call)
        response_type = getattr(users_pb2, f"{operation}Response")
        return response_type()

    def refusal(self, reason: str) -> ModelError:
        """Return what to tell of a refused change."""
        match reason:
            case "exists":
                return ResourceInUse("There is a user of this name already.")
            case "missing":
                return ResourceNotFound("There is no such user or access key.")
            case "limit":
                return LimitExceeded("A user has two access keys at most, a cluster 5,000 users.")
            case "changed":
                return ResourceInUse("The user's keys or grants were changed meanwhile: try again.")
            case "has users":
                return ResourceInUse("There are users: delete them before you open the cluster.")
            case _:
                return InternalServerError(f"The catalog refused the change: {reason}")

    def subject(self, operation: str, request: Any) -> str:  # noqa: ANN401
        """Return the user's name; a list changes nothing."""
        if operation not in COMMANDS:
            return ""
        if operation == "OpenCluster":
            return "everybody may do everything, without a signature"
        return str(getattr(request, "name", "") or getattr(request, "user_name", ""))

    def _list(self) -> users_pb2.ListUsersResponse:
        catalog = self.view.catalog
        return users_pb2.ListUsersResponse(
            cluster_id=catalog.cluster_id,
            closed=catalog.must_sign,
            users=[
                catalog_pb2.User(
                    name=user.name,
                    access_keys=encode_access_keys(user.access_keys),
                    grants=encode_grants(user.grants),
                )
                for user in catalog.users
            ],
        )
