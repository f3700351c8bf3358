"""What every method of the gRPC server goes through: a network's share of calls and streams.

All handlers take a stream of messages, so that gRPC reads none before a call was let in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

from model.errors import ModelError, Throttled
from quorate.shares import Shares, network_of_peer
from router.arrivals import Arrivals
from router.grpc_errors import abort

CALLS_MAX: Final = 16_384
"""Most calls at a time, of all clients. Ours."""

CALLS_PER_NETWORK_MAX: Final = 4_096
"""Most of them from one network. Ours."""

STREAMS_MAX: Final = 1_024
"""Most streams at a time. Ours: a client has one, and its next message may be a large one."""

STREAMS_PER_NETWORK_MAX: Final = 64
"""Most of them from one network. Ours: 260 MiB, if in each a message begins and does not end."""

TOO_MANY_CALLS: Final = "Too many calls are open from your network. Wait for answers, then retry."
TOO_MANY_STREAMS: Final = "Too many streams are open from your network. One carries any number."

Context = Any  # grpc.aio.ServicerContext, generic only in the type stubs
Messages = AsyncIterator[bytes]
AnyHandler = Any  # grpc.RpcMethodHandler, whose stubs hide what it has


class GrpcGate:
    """Lets calls in, as many as their networks may have."""

    def __init__(self) -> None:
        self._calls = Shares(CALLS_PER_NETWORK_MAX, CALLS_MAX)
        self._streams = Shares(STREAMS_PER_NETWORK_MAX, STREAMS_MAX)
        self._arrivals = Arrivals()

    def handlers(self, service: grpc.GenericRpcHandler) -> grpc.GenericRpcHandler:
        """Return what a server is given to serve a service through this gate."""
        return _Gated(self, service)

    async def message(self, messages: Messages, context: Context) -> bytes:
        """Return the message of a call with one. Raises ModelError."""
        return await self._arrivals.receive(network_of_peer(context.peer()), messages)

    def gated(self, handler: AnyHandler) -> AnyHandler:
        """Return a handler, of bytes, that serves no more than its callers' shares."""
        if handler.unary_unary is not None:
            handler = grpc.stream_unary_rpc_method_handler(
                self._with_message(handler.unary_unary), None, handler.response_serializer
            )
        elif handler.unary_stream is not None:
            handler = grpc.stream_stream_rpc_method_handler(
                self._stream_with_message(handler.unary_stream), None, handler.response_serializer
            )
        if handler.stream_unary is not None:
            return handler._replace(stream_unary=self._counted_call(handler.stream_unary))
        return handler._replace(stream_stream=self._counted_stream(handler.stream_stream))

    def _with_message(
        self, serve: Callable[[bytes, Context], Awaitable[Any]]
    ) -> Callable[[Messages, Context], Awaitable[Any]]:
        async def serve_message(messages: Messages, context: Context) -> Any:  # noqa: ANN401
            return await serve(await self._message_or_abort(messages, context), context)

        return serve_message

    def _stream_with_message(
        self, serve: Callable[[bytes, Context], Any]
    ) -> Callable[[Messages, Context], Any]:
        async def serve_message(messages: Messages, context: Context) -> Any:  # noqa: ANN401
            await _write_all(
                serve(await self._message_or_abort(messages, context), context), context
            )

        return serve_message

    async def _message_or_abort(self, messages: Messages, context: Context) -> bytes:
        try:
            return await self.message(messages, context)
        except ModelError as error:
            await abort(context, error)

    def _counted_call(
        self, serve: Callable[[Messages, Context], Awaitable[Any]]
    ) -> Callable[[Messages, Context], Awaitable[Any]]:
        calls = self._calls

        async def counted(messages: Messages, context: Context) -> Any:  # noqa: ANN401
            network = network_of_peer(context.peer())
            if not calls.take(network):
                await abort(context, Throttled(TOO_MANY_CALLS))
            try:
                return await serve(messages, context)
            finally:
                calls.give_back(network)

        return counted

    def _counted_stream(
        self, serve: Callable[[Messages, Context], Any]
    ) -> Callable[[Messages, Context], Awaitable[None]]:
        streams = self._streams

        async def counted(messages: Messages, context: Context) -> None:
            network = network_of_peer(context.peer())
            if not streams.take(network):
                await abort(context, Throttled(TOO_MANY_STREAMS))
            try:
                await _write_all(serve(messages, context), context)
            finally:
                streams.give_back(network)

        return counted


async def _write_all(answers: Any, context: Context) -> None:  # noqa: ANN401  (either kind)
    """Serve a stream whose handler yields its answers, or writes them itself."""
    if hasattr(answers, "__aiter__"):
        async for answer in answers:
            await context.write(answer)
    else:
        await answers


class _Gated(grpc.GenericRpcHandler):
    """A service's handlers behind the gate, made when first asked for."""

    def __init__(self, gate: GrpcGate, service: grpc.GenericRpcHandler) -> None:
        self._gate = gate
        self._service = service
        self._gated: dict[str, AnyHandler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> AnyHandler:
        """Return the handler of a method, None if it is not of this service."""
        method = handler_call_details.method
        found = self._gated.get(method)
        if found is None:
            handler = self._service.service(handler_call_details)
            if handler is None:
                return None
            found = self._gated[method] = self._gate.gated(handler)
        return found
