"""What the services for operators share: signed calls, turned into changes of the catalog."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, ClassVar

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from model.errors import ModelError
from quorate.cluster.commands import CatalogCommand, wire_catalog_command
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
    async def serve(self, operation: str, request: Any, request_id: bytes) -> Any:  # noqa: ANN401
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

    async def change(self, command: CatalogCommand) -> None:
        """Have the catalog changed, and wait until this router goes by it. Raises ModelError."""
        deadline = self._clock() + self._timeout_seconds
        answer = await self.control.change_catalog(wire_catalog_command(command), deadline)
        if answer.outcome == node_pb2.OUTCOME_INVALID:
            raise self.refusal(answer.reason)
        if not await self.view.wait_for(answer.epoch, deadline):
            raise outcome_unknown()

    def _unary(self, operation: str, request_type: Any) -> Unary:  # noqa: ANN401  (protoc's)
        method = f"/{self.service.full_name}/{operation}"

        async def serve(message: bytes, context: Context) -> Any:  # noqa: ANN401  (by descriptor)
            request_id = new_request_id()
            try:
                self._admit(method, context, message, request_id)
                request = message_of(request_type, message)
                response = await self.serve(operation, request, request_id)
            except ModelError as error:
                await abort(context, error)
            subject = self.subject(operation, request)
            if subject:
                warn("operator_call", what=operation, subject=subject, peer=context.peer())
            return response

        return serve

    def _admit(self, method: str, context: Context, message: bytes, request_id: bytes) -> None:
        try:
            metadata = context.invocation_metadata() or ()
            self._authentication.check_operator(method, metadata, message)
        except ModelError as error:
            self._authentication.refusal_log.write(method, context.peer(), request_id, error)
            raise
        if not self.view.epoch:
            raise no_catalog()
