"""What the services for operators share: signed calls, turned into changes of the catalog."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Final

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from model.errors import (
    AccessDenied,
    IncompleteSignature,
    InvalidSignature,
    MissingAuthenticationToken,
    ModelError,
    UnrecognizedClient,
    ValidationError,
)
from quorate.cluster.commands import CatalogCommand, wire_catalog_command
from quorate.cluster.write_id import REQUEST_ID_BYTES
from quorate.logs import warn
from quorate.v1 import node_pb2
from router.authentication import Authentication
from router.catalog_view import CatalogView
from router.control import NodeControl
from router.grpc_errors import abort
from router.grpc_requests import message_of
from router.refusals import no_catalog, outcome_unknown
from router.request_id import new_request_id

Context = Any  # grpc.aio.ServicerContext, generic only in the type stubs
Unary = Callable[[Any, Context], Awaitable[Any]]

NOT_LET_IN: Final = (
    MissingAuthenticationToken,
    IncompleteSignature,
    InvalidSignature,
    UnrecognizedClient,
    AccessDenied,
)
"""Refusals that are logged."""

REPEATED: Final = "This call was sent before, and is not done twice: ask anew, under a new id."


@dataclass(frozen=True, slots=True)
class OperatorCall:
    """A call that was admitted.

    Under `request_id`, which is this router's, the nodes are asked as often as need be. `change_id`
    is the operator's own, and signed: the catalog takes no second command for it, from any router.
    """

    request_id: bytes
    change_id: bytes


class OperatorService(ABC):
    """Serves one gRPC service to whoever has the cluster's key file; subclasses say which."""

    service: ClassVar[ServiceDescriptor]  # its methods are all unary
    messages: ClassVar[ModuleType]  # the generated module that has them

    def __init__(
        self,
        *,
        view: CatalogView,
        control: NodeControl,
        authentication: Authentication,
        clock: Callable[[], float],
        timeout_seconds: float,
    ) -> None:
        """Calls have `timeout_seconds`, on `clock`."""
        self.view = view
        self.control = control
        self._authentication = authentication
        self._clock = clock
        self._timeout_seconds = timeout_seconds

    @abstractmethod
    async def serve(self, operation: str, request: Any, call: OperatorCall) -> Any:  # noqa: ANN401
        """Return the response of a call that was admitted. Raises ModelError."""

    @abstractmethod
    def refusal(self, reason: str) -> ModelError:
        """Return what to tell when the catalog refused a change for this reason."""

    @abstractmethod
    def subject(self, operation: str, request: Any) -> str:  # noqa: ANN401
        """Return what a call has changed, for the log; "" if nothing. No secrets."""

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return what a server is given to serve this."""
        return grpc.method_handlers_generic_handler(
            self.service.full_name,
            {
                method.name: grpc.unary_unary_rpc_method_handler(
                    # Bytes: the signature covers them, and strangers' are not even parsed.
                    self._unary(method.name, getattr(self.messages, method.input_type.name)),
                    response_serializer=getattr(
                        self.messages, method.output_type.name
                    ).SerializeToString,
                )
                for method in self.service.methods
            },
        )

    async def change(self, command: CatalogCommand, call: OperatorCall) -> None:
        """Have the catalog changed, and wait until this router goes by it. Raises ModelError."""
        deadline = self._clock() + self._timeout_seconds
        wire = wire_catalog_command(command)
        wire.operator_call = call.change_id
        answer = await self.control.change_catalog(wire, deadline)
        if answer.reason == "repeated":
            raise InvalidSignature(REPEATED)
        if answer.outcome == node_pb2.OUTCOME_INVALID:
            raise self.refusal(answer.reason)
        if not await self.view.wait_for(answer.epoch, deadline):
            raise outcome_unknown()

    def _unary(self, operation: str, request_type: Any) -> Unary:  # noqa: ANN401  (protoc's)
        method = f"/{self.service.full_name}/{operation}"

        async def serve(message: bytes, context: Context) -> Any:  # noqa: ANN401  (by descriptor)
            request_id = new_request_id()
            try:
                metadata = context.invocation_metadata() or ()
                self._authentication.check_operator(method, metadata).check_message(message)
                request = message_of(request_type, message)
                call = OperatorCall(request_id, self._change_id(request))
                response = await self.serve(operation, request, call)
            except ModelError as error:
                if isinstance(error, NOT_LET_IN):
                    log = self._authentication.refusal_log
                    log.write(method, context.peer(), request_id, error)
                await abort(context, error)
            subject = self.subject(operation, request)
            if subject:
                warn("operator_call", what=operation, subject=subject, peer=context.peer())
            return response

        return serve

    def _change_id(self, request: Any) -> bytes:  # noqa: ANN401  (protoc's)
        """Return the id of the change that is asked for, b"" if none is. Raises a ModelError."""
        if not self.view.epoch:
            raise no_catalog()
        if "change" not in request.DESCRIPTOR.fields_by_name:
            return b""
        change = request.change
        if change.cluster_id != self.view.catalog.cluster_id:
            raise AccessDenied(
                f"This change is for cluster {change.cluster_id!r}: it is not made in another one."
            )
        if len(change.id) != REQUEST_ID_BYTES:
            raise ValidationError(f"A change has an id of {REQUEST_ID_BYTES} random bytes.")
        return bytes(change.id)
