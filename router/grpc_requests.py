"""Bytes that came over gRPC as the messages they should be; what is none is the client's fault.

gRPC itself would answer UNKNOWN, which tells a client that a write may have been done, with
Python's words, and write a traceback into the log. So no method leaves the decoding to it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from model.errors import SerializationFailed, invalid
from model.sentences import Sentence
from router.grpc_errors import abort

TOO_DEEP: Final = "MaxDepth"
"""In protobuf's words for a message that is nested beyond 100 levels, and in no others of its."""

AnyMessage = Any
"""A message of the type that a method takes."""

Context = Any  # grpc.aio.ServicerContext, generic only in the type stubs


def message_of(kind: Any, raw: bytes) -> AnyMessage:  # noqa: ANN401  (protoc's)
    """Return the message of a type that the bytes are.

    Raises ValidationError if only an item nested too deeply can be wrong, else SerializationFailed.
    """
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        if TOO_DEEP in str(error):
            raise invalid(Sentence.NESTED_TOO_DEEPLY) from None
        raise SerializationFailed(
            f"The bytes are no {kind.DESCRIPTOR.full_name}: cut short, or a text is not UTF-8."
        ) from None


class Registered:
    """A server as generated code sees it: it collects the handlers of services that are not ours.

    They take messages, not bytes: their methods refuse what is no message.
    """

    def __init__(self) -> None:
        self.services: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Leave them out: the same handlers are registered by name."""

    def add_registered_method_handlers(
        self, service_name: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Take a service's methods."""
        guarded = {name: _guarded(handler) for name, handler in handlers.items()}
        self.services.append(grpc.method_handlers_generic_handler(service_name, guarded))


def _guarded(handler: Any) -> Any:  # noqa: ANN401  (a named tuple; the type stubs hide it)
    decode = handler.request_deserializer

    async def message(raw: bytes, context: Context) -> AnyMessage:
        try:
            return decode(raw)
        except DecodeError:
            await abort(context, SerializationFailed("The bytes are no message of this method."))

    async def messages(raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[AnyMessage]:
        async for raw in raws:
            yield await message(raw, context)

    def after(
        serve: Callable[[AnyMessage, Context], Awaitable[AnyMessage]],
    ) -> Callable[[bytes, Context], Awaitable[AnyMessage]]:
        async def guarded(raw: bytes, context: Context) -> AnyMessage:
            return await serve(await message(raw, context), context)

        return guarded

    async def stream(raws: AsyncIterator[bytes], context: Context) -> AsyncIterator[AnyMessage]:
        async for answer in handler.stream_stream(messages(raws, context), context):
            yield answer

    behaviours = {
        "unary_unary": handler.unary_unary and after(handler.unary_unary),
        "unary_stream": handler.unary_stream and after(handler.unary_stream),
        "stream_stream": handler.stream_stream and stream,
    }
    return handler._replace(request_deserializer=None, **behaviours)
