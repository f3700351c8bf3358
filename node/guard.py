"""The door of a node's service: who calls, may he, and is it a message at all.

Every call of NodeService passes here before anything is done for it. Refusals are in the log,
some a second, as is whatever an admin is let do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError

from node.access import may_call, may_change
from node.logs import warn
from quorate.logs import LineLimit
from quorate.security.cluster_certificate import dns_names_of_pem
from quorate.security.cluster_roles import Caller, NoRole, Role, caller_of
from quorate.v1 import catalog_pb2, node_pb2

if TYPE_CHECKING:
    from node.server import NodeServicer

    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = node_pb2.DESCRIPTOR.services_by_name["NodeService"]

REQUEST_BYTES_MAX: Final = 4 << 20
"""Largest request that is not part of a stream. Ours: a table's definition has some kilobytes."""

LINES_PER_SECOND_MAX: Final = 10
"""Most refusals of one method that are logged in a second; a line later tells how many were not.
Ours. Of each method, so that no flood of one hides another."""

CERTIFICATE: Final = "x509_pem_cert"
"""Key of gRPC's auth context: what the caller has shown. gRPC's own list of its names has those of
all types, and an authority that may give no DNS names may give others."""


class BadCaller(Exception):
    """The caller is nobody that this node serves; the text is one sentence."""


class Guard:
    """Lets callers in. `cluster_id` "" is a node without certificates, which knows nobody."""

    def __init__(self, cluster_id: str) -> None:
        self._cluster_id = cluster_id
        self._limits: dict[str, LineLimit] = {}  # by method
        self.refused = 0  # calls, in this process's life
        self._inside = 0  # calls that were let in and have not ended
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count a call while the block runs."""
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    async def wait_empty(self) -> None:
        """Wait until all calls have ended that do something, to the last of what they do.

        A server that has stopped has told its calls to end, and does not wait for that. Watches of
        the catalog only look.
        """
        await self._empty.wait()

    def handlers(self, servicer: NodeServicer) -> grpc.GenericRpcHandler:
        """Return what a server is given to serve NodeService with."""
        return grpc.method_handlers_generic_handler(
            SERVICE.full_name,
            {method.name: _Method(self, method, servicer).handler() for method in SERVICE.methods},
        )

    def caller(self, context: Context) -> Caller | None:
        """Return whose certificate the caller has shown, None where there are none.

        Raises BadCaller.
        """
        if not self._cluster_id:
            return None
        shown = context.auth_context().get(CERTIFICATE, ())
        try:
            caller = caller_of(name for pem in shown for name in dns_names_of_pem(pem))
        except NoRole as refusal:
            raise BadCaller(str(refusal)) from None
        if caller.cluster_id != self._cluster_id:
            raise BadCaller(f"the certificate is of cluster {caller.cluster_id}")
        return caller

    async def refuse(
        self, context: Context, method: str, who: object, code: grpc.StatusCode, why: str
    ) -> NoReturn:
        """End a call, and write down whose it was."""
        self.refused += 1
        limit = self._limits.get(method)
        if limit is None:  # methods are ours, hence few
            limit = self._limits[method] = LineLimit(LINES_PER_SECOND_MAX, time.monotonic)
        may_write, left_out = limit.admit()
        if left_out:
            warn("more_calls_refused", method=method, count=left_out)
        if may_write:
            warn(
                "call_refused",
                method=method,
                caller=who,
                peer=context.peer(),
                code=code.name,
                because=why,
            )
        await context.abort(code, why)
        raise AssertionError("abort raises")

    async def admit(self, method: str, context: Context) -> Caller | None:
        """Return who calls; end a call that its role may not make."""
        denied = grpc.StatusCode.PERMISSION_DENIED
        try:
            caller = self.caller(context)
        except BadCaller as bad:
            await self.refuse(context, method, "unknown", denied, str(bad))
        if caller is not None and not may_call(caller.role, method):
            await self.refuse(context, method, caller, denied, f"{caller} may not call {method}")
        if caller is not None and method == "TransferLeadership":
            warn("admin_call", method=method, caller=caller, peer=context.peer())
        return caller

    async def check_change(self, context: Context, command: catalog_pb2.CatalogCommand) -> None:
        """End a call that asks for a change of the catalog which its caller may not make."""
        caller = self.caller(context)
        if caller is None:
            return
        change = command.WhichOneof("change") or ""
        why = ""
        if not may_change(caller.role, change):
            why = f"{caller} may not do {change}"
        elif change == "add_node" and command.add_node.name != caller.name:
            why = f"{caller} may not add node {command.add_node.name!r}"
        method = f"ChangeCatalog/{change}"
        if why:
            await self.refuse(context, method, caller, grpc.StatusCode.PERMISSION_DENIED, why)
        if caller.role is Role.ADMIN:
            said = " ".join(str(getattr(command, change)).split())
            warn(
                "admin_call",
                method=method,
                caller=caller,
                peer=context.peer(),
                change=said,
            )


class _Method:
    """One method of the service, from bytes to bytes."""

    def __init__(self, guard: Guard, descriptor: MethodDescriptor, servicer: NodeServicer) -> None:
        self._guard = guard
        self._name: str = descriptor.name
        self._is_stream = (descriptor.client_streaming, descriptor.server_streaming)
        self._serve: Callable[..., Any] = getattr(servicer, descriptor.name)
        self._request = getattr(node_pb2, descriptor.input_type.name)
        self._response = getattr(node_pb2, descriptor.output_type.name).SerializeToString

    def handler(self) -> grpc.RpcMethodHandler[Any, Any]:
        match self._is_stream:
            case (False, False):
                return grpc.unary_unary_rpc_method_handler(
                    self._one_to_one, response_serializer=self._response
                )
            case (False, True):
                return grpc.unary_stream_rpc_method_handler(
                    self._one_to_many, response_serializer=self._response
                )
            case (True, False):
                return grpc.stream_unary_rpc_method_handler(
                    self._many, response_serializer=self._response
                )
            case _:
                return grpc.stream_stream_rpc_method_handler(
                    self._many, response_serializer=self._response
                )

    async def _one_to_one(self, raw: bytes, context: Context) -> Any:  # noqa: ANN401  (by descriptor)
        with self._guard.inside():
            return await self._serve(await self._admit_one(raw, context), context)

    async def _one_to_many(self, raw: bytes, context: Context) -> AsyncIterator[Any]:
        async for answer in self._serve(await self._admit_one(raw, context), context):
            yield answer

    async def _many(self, raws: AsyncIterator[bytes], context: Context) -> Any:  # noqa: ANN401  (by descriptor)
        with self._guard.inside():
            caller = await self._guard.admit(self._name, context)
            return await self._serve(self._parse_all(raws, caller, context), context)

    async def _admit_one(self, raw: bytes, context: Context) -> Any:  # noqa: ANN401  (by descriptor)
        caller = await self._guard.admit(self._name, context)
        if len(raw) > REQUEST_BYTES_MAX:
            why = f"the request has {len(raw)} bytes, above {REQUEST_BYTES_MAX}"
            await self._guard.refuse(
                context, self._name, caller, grpc.StatusCode.RESOURCE_EXHAUSTED, why
            )
        return await self._parse(raw, caller, context)

    async def _parse_all(
        self, raws: AsyncIterator[bytes], caller: Caller | None, context: Context
    ) -> AsyncIterator[Any]:
        async for raw in raws:
            yield await self._parse(raw, caller, context)

    async def _parse(self, raw: bytes, caller: Caller | None, context: Context) -> Any:  # noqa: ANN401  (by descriptor)
        try:
            return self._request.FromString(raw)
        except DecodeError:
            why = f"this is no {self._request.DESCRIPTOR.name}"
            await self._guard.refuse(
                context, self._name, caller, grpc.StatusCode.INVALID_ARGUMENT, why
            )
