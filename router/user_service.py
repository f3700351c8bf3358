"""Users made, listed and deleted over gRPC, by operators only: whoever has the cluster's key file.

Secrets come sealed and stay so: this service neither makes nor opens any. See users.proto.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import grpc.aio

from model.errors import (
    InternalServerError,
    LimitExceeded,
    ModelError,
    ResourceInUse,
    ResourceNotFound,
    ValidationError,
)
from quorate.cluster.catalog import AccessKeyRecord
from quorate.cluster.codec import decode_access_key
from quorate.cluster.commands import (
    CreateAccessKey,
    CreateUser,
    DeleteAccessKey,
    DeleteUser,
    UserCommand,
    wire_catalog_command,
)
from quorate.security.sealing import KEY_ID_PREFIX
from quorate.v1 import catalog_pb2, node_pb2, users_pb2
from router.authentication import Authentication
from router.catalog_view import CatalogView
from router.control import NodeControl
from router.grpc_errors import status_code, trailing_metadata
from router.refusals import no_catalog, outcome_unknown
from router.request_id import new_request_id

log = logging.getLogger(__name__)

SERVICE: Final = users_pb2.DESCRIPTOR.services_by_name["UserService"]

USER_NAME: Final = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
"""Source: AWS IAM, CreateUser's UserName."""

KEY_ID: Final = re.compile(rf"{KEY_ID_PREFIX}[A-Z2-7]{{16}}")

SEALED_BYTES_MAX: Final = 256
"""Longest sealed secret. Ours: those of 40 characters have 69 bytes."""

Context = Any  # grpc.aio.ServicerContext, generic only in the type stubs
Unary = Callable[[Any, Context], Awaitable[Any]]


def _create_user(request: users_pb2.CreateUserRequest, request_id: bytes) -> UserCommand:
    if not USER_NAME.fullmatch(request.name):
        raise ValidationError("A user's name has 1 to 64 of A-Z a-z 0-9 _ + = , . @ -")
    return CreateUser(request_id, request.name, _access_key(request.access_key))


def _delete_user(request: users_pb2.DeleteUserRequest, request_id: bytes) -> UserCommand:
    return DeleteUser(request_id, request.name)


def _create_access_key(request: users_pb2.CreateAccessKeyRequest, request_id: bytes) -> UserCommand:
    return CreateAccessKey(request_id, request.user_name, _access_key(request.access_key))


def _delete_access_key(request: users_pb2.DeleteAccessKeyRequest, request_id: bytes) -> UserCommand:
    return DeleteAccessKey(request_id, request.user_name, request.id)


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
}


class UserService:
    """Serves users.proto."""

    def __init__(
        self,
        *,
        view: CatalogView,
        control: NodeControl,
        authentication: Authentication,
        clock: Callable[[], float],
        timeout_seconds: float,
    ) -> None:
        self._view = view
        self._control = control
        self._authentication = authentication
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server is given to serve this."""
        return grpc.method_handlers_generic_handler(
            SERVICE.full_name,
            {
                method.name: grpc.unary_unary_rpc_method_handler(
                    self._unary(method.name, getattr(users_pb2, method.output_type.name)),
                    request_deserializer=getattr(users_pb2, method.input_type.name).FromString,
                    response_serializer=getattr(
                        users_pb2, method.output_type.name
                    ).SerializeToString,
                )
                for method in SERVICE.methods
            },
        )

    def _unary(self, operation: str, response_type: Callable[[], Any]) -> Unary:
        method = f"/{SERVICE.full_name}/{operation}"

        async def serve(request: Any, context: Context) -> Any:  # noqa: ANN401  (by descriptor)
            request_id = new_request_id()
            try:
                self._admit(method, context, request_id)
                if operation not in COMMANDS:
                    return self._list()
                await self._change(COMMANDS[operation](request, request_id))
            except ModelError as error:
                await context.abort(status_code(error), str(error), trailing_metadata(error))
            log.info("the operator at %s did %s %r", context.peer(), operation, _named(request))
            return response_type()

        return serve

    def _admit(self, method: str, context: Context, request_id: bytes) -> None:
        try:
            self._authentication.check_operator(method, context.invocation_metadata() or ())
        except ModelError as error:
            self._authentication.log_refusal(method, context.peer(), request_id, error)
            raise
        if not self._view.epoch:
            raise no_catalog()

    def _list(self) -> users_pb2.ListUsersResponse:
        catalog = self._view.catalog
        return users_pb2.ListUsersResponse(
            cluster_id=catalog.cluster_id,
            users=[
                catalog_pb2.User(
                    name=user.name,
                    access_keys=[catalog_pb2.AccessKey(id=key.id) for key in user.access_keys],
                )
                for user in catalog.users
            ],
        )

    async def _change(self, command: UserCommand) -> None:
        """Have the catalog changed, and wait until this router goes by it."""
        deadline = self._clock() + self._timeout_seconds
        answer = await self._control.change_catalog(wire_catalog_command(command), deadline)
        if answer.outcome == node_pb2.OUTCOME_INVALID:
            raise _refusal(answer.reason)
        if not await self._view.wait_for(answer.epoch, deadline):
            raise outcome_unknown()


def _refusal(reason: str) -> ModelError:
    match reason:
        case "exists":
            return ResourceInUse("There is a user of this name already.")
        case "missing":
            return ResourceNotFound("There is no such user or access key.")
        case "limit":
            return LimitExceeded("A user has two access keys at most, a cluster 5,000 users.")
        case _:
            return InternalServerError(f"The catalog refused the change: {reason}")


def _named(request: Any) -> str:  # noqa: ANN401  (one of four messages)
    return str(getattr(request, "name", "") or getattr(request, "user_name", ""))
