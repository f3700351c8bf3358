"""A router's gRPC face over a dict, in the test's own loop: what the client is tested against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import orjson

from quorate.v1 import api_pb2, api_pb2_grpc

Answer = tuple[int, dict[str, Any]]


@dataclass(slots=True)
class Received:
    """One attempt of a call as the router saw it."""

    operation: str
    body: dict[str, Any]
    request_id: bytes
    deadline_ms: int


@dataclass(slots=True)
class FakeRouter(api_pb2_grpc.QuorateServiceServicer):
    """Answers each call with `answer(received)`; None leaves it unanswered for ever.

    `break_streams_after` ends a stream when it has read so many messages, answering none of them.
    """

    answer: Callable[[Received], Answer | None]
    received: list[Received] = field(default_factory=list)
    message_sizes: list[int] = field(default_factory=list)
    break_after_messages: list[int] = field(default_factory=list)

    async def Pipeline(  # noqa: N802 - gRPC's name
        self,
        requests: AsyncIterator[api_pb2.PipelineRequest],
        context: Any,
    ) -> AsyncIterator[api_pb2.PipelineResponse]:
        left = self.break_after_messages.pop(0) if self.break_after_messages else None
        async for request in requests:
            self.message_sizes.append(len(request.id))
            answers = []
            for position, call_id in enumerate(request.id):
                received = Received(
                    request.operation[position],
                    orjson.loads(request.body[position]),
                    request.request_id[position],
                    request.deadline_ms[position],
                )
                self.received.append(received)
                answer = self.answer(received)
                if answer is not None:
                    answers.append((call_id, *answer))
            if left is not None:
                left -= 1
                if left <= 0:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the router is stopping")
            if answers:
                yield api_pb2.PipelineResponse(
                    id=[call_id for call_id, _, _ in answers],
                    http_status=[status for _, status, _ in answers],
                    body=[orjson.dumps(body) for _, _, body in answers],
                )


def failure(status: int, code: str, message: str = "no", **more: Any) -> Answer:
    """Return an error answer."""
    return status, {
        "__type": f"com.amazonaws.dynamodb.v20120810#{code}",
        "message": message,
        **more,
    }


def succeed(_received: Received) -> Answer:
    """Answer every call with an empty success."""
    return 200, {}


def babbling(*messages: bytes, then: FakeRouter) -> grpc.GenericRpcHandler:
    """Return a Pipeline whose first streams say these bytes, one each; the rest are as `then`."""
    left = list(messages)

    async def serve(raws: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        if left:
            async for _ in raws:
                yield left.pop(0)
                return
        requests = (api_pb2.PipelineRequest.FromString(raw) async for raw in raws)
        async for answer in then.Pipeline(requests, context):
            yield answer.SerializeToString()

    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(serve)
    return grpc.method_handlers_generic_handler("quorate.v1.QuorateService", {"Pipeline": handler})


@asynccontextmanager
async def serving(
    router: FakeRouter | grpc.GenericRpcHandler, address: str = "127.0.0.1:0"
) -> AsyncIterator[str]:
    """Serve the router and yield its host:port."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    if isinstance(router, FakeRouter):
        api_pb2_grpc.add_QuorateServiceServicer_to_server(router, server)
    else:
        server.add_generic_rpc_handlers((router,))
    port = server.add_insecure_port(address)
    assert port != 0
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)


def run(story: Any) -> Any:
    """Run one async test story, bounded."""

    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await story

    return asyncio.run(bounded())
