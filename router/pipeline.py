"""The Pipeline stream: many calls in one message, all answers of one loop turn in one message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import grpc.aio

from model.errors import ModelError, SerializationFailed
from quorate.cluster.write_id import REQUEST_ID_BYTES
from quorate.v1 import api_pb2
from router.authentication import StreamPass
from router.call import Call, CallObserver
from router.grpc_call import GrpcCall, room_of
from router.grpc_errors import abort
from router.grpc_requests import message_of
from router.refusals import router_full
from router.request_id import new_request_id

CALLS_MAX: Final = 4_096
"""Most calls of one stream that are taken and not yet answered on the wire: beyond it the stream
is not read. Ours."""

IDLE_SECONDS_MAX: Final = 600.0
"""A stream without a call for so long is ended: its client opens another one. Ours."""

TURN_CALLS_MAX: Final = 256
"""Most calls that are started without letting others run. Ours: some milliseconds of work."""

COLUMNS_BYTES_MAX: Final = 24
"""What an answer has in a message besides its body: an id, a status, a length. Source: varints."""

UNREAD_BYTES_MAX: Final = 128 << 20
"""A client that leaves so many bytes of answers unread loses its stream. Ours."""

Stream = Any  # grpc.aio.ServicerContext, generic only in the type stubs


class Executor(Protocol):
    """The part of the service that this stream needs."""

    @property
    def door_is_closed(self) -> bool:
        """Whether a call is to be refused before anything is done for it."""
        ...

    def count_refusal(self) -> None:
        """Count a call that was refused at the door."""
        ...

    def execute_json(
        self, operation: str, raw: bytes | bytearray, call: Call, coding: bytes = b""
    ) -> None:
        """Run an operation on a JSON text; the call is answered in any case."""
        ...


class PipelineCall(GrpcCall):
    """One call of a stream."""

    __slots__ = ("id", "pipeline")

    def __init__(
        self,
        pipeline: Pipeline,
        call_id: int,
        request_id: bytes,
        started: float,
        deadline: float,
    ) -> None:
        GrpcCall.__init__(self, pipeline.observer, request_id, started, deadline)
        self.room_bytes = pipeline.room_bytes
        self.pipeline = pipeline
        self.id = call_id

    @property
    def network(self) -> str:
        """What the client's address is counted under."""
        return self.pipeline.network

    def send_answer(self, body: bytes) -> None:
        """Put the answer into the next message."""
        self.pipeline.answer(self.id, 200, body)

    def send_error(self, error: ModelError) -> None:
        """Put the error into the next message."""
        self.pipeline.answer(self.id, error.http_status, error.document)


class Pipeline:
    """One client's stream.

    Invariant: `_open_calls` counts the calls whose answer is not yet written.
    """

    def __init__(
        self,
        service: Executor,
        observer: CallObserver,
        clock: Callable[[], float],
        deadline_of: Callable[[float | None], float],
        stream_pass: StreamPass,
        *,
        message_bytes_max: int,
        network: str,
    ) -> None:
        """`deadline_of` turns the seconds that a client gives, if any, into a deadline.

        `stream_pass` says whose calls these are, and whether they are served now.
        """
        self._service = service
        self.observer = observer
        self._clock = clock
        self._deadline_of = deadline_of
        self._pass = stream_pass
        self._message_bytes_max = message_bytes_max
        self.network = network
        self._used_at = clock()
        self.room_bytes = room_of(message_bytes_max)
        self._ids: list[int] = []
        self._statuses: list[int] = []
        self._bodies: list[bytes] = []
        self.unread_bytes = 0
        self._open_calls = 0
        self._input_ended = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        self._runner: asyncio.Task[Any] | None = None

    async def run(self, requests: AsyncIterator[bytes], stream: Stream) -> None:
        """Serve the stream until the client or `finish` ends it and everything is answered."""
        aborted: BaseException | None = None
        self._runner = asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_answers(stream))
                self._reader = tasks.create_task(self._read_calls(requests, stream))
        except* grpc.aio.AbortError as aborts:
            aborted = aborts.exceptions[0]
        if aborted is not None:
            raise aborted  # grpc wants it bare, and what is raised in an except* may become a group

    def finish(self) -> None:
        """Take no more calls; the stream ends when those taken are answered."""
        self._input_ended = True
        self._wake.set()
        if self._reader is not None:
            self._reader.cancel()

    def finish_if_useless(self) -> None:
        """End the stream if whoever opened it may not call any more, or has not for long."""
        is_idle = not self._open_calls and self._clock() - self._used_at > IDLE_SECONDS_MAX
        if is_idle or self._pass.refusal() is not None:
            self.finish()

    async def _read_calls(self, requests: AsyncIterator[bytes], stream: Stream) -> None:
        async for raw in requests:
            try:
                message = message_of(api_pb2.PipelineRequest, raw)
            except ModelError as error:
                await abort(stream, error)
            await self._take(message, stream)
        self._input_ended = True
        self._wake.set()

    def answer(self, call_id: int, http_status: int, body: bytes) -> None:
        """Put one answer into the next message."""
        self._ids.append(call_id)
        self._statuses.append(http_status)
        self._bodies.append(body)
        self.unread_bytes += len(body)
        if len(self._ids) == 1:
            self._wake.set()
        elif self.unread_bytes > UNREAD_BYTES_MAX:
            self.give_up()

    def give_up(self) -> None:
        """End the stream of a client that does not read its answers; they are dropped."""
        if self._runner is not None:
            self._runner.cancel()

    async def _take(self, message: api_pb2.PipelineRequest, stream: Stream) -> None:
        """Start the calls of one message; read on when few enough are open."""
        count = len(message.id)
        columns = (message.operation, message.body, message.request_id, message.deadline_ms)
        if any(len(column) != count for column in columns):
            await abort(
                stream, SerializationFailed("The columns of a PipelineRequest differ in length.")
            )
        started = self._used_at = self._clock()
        refusal = self._pass.refusal()
        for position, (call_id, operation, body, request_id, deadline_ms) in enumerate(
            zip(message.id, *columns, strict=True), start=1
        ):
            call = PipelineCall(
                self,
                call_id,
                request_id if len(request_id) == REQUEST_ID_BYTES else new_request_id(),
                started,
                self._deadline_of(deadline_ms / 1000 if deadline_ms else None),
            )
            self._open_calls += 1
            call.user = self._pass.user
            if refusal is not None:
                call.fail(refusal)
            elif self._service.door_is_closed:
                self._service.count_refusal()
                call.fail(router_full())
            else:
                self._service.execute_json(operation, body, call)
            if position % TURN_CALLS_MAX == 0:
                await asyncio.sleep(0)
        while self._open_calls > CALLS_MAX:
            self._room.clear()
            await self._room.wait()

    async def _write_answers(self, stream: Stream) -> None:
        while not (self._input_ended and self._open_calls == 0):
            await self._wake.wait()
            self._wake.clear()
            while self._ids:
                response = self._take_response()
                await stream.write(response)
                self._open_calls -= len(response.id)
                self._room.set()

    def _take_response(self) -> api_pb2.PipelineResponse:
        """Return the next message: everything, or as much as the client takes in one."""
        count = len(self._ids)
        size_bytes = self.unread_bytes
        if size_bytes + count * COLUMNS_BYTES_MAX > self._message_bytes_max:
            count, size_bytes = self._count_that_fits()
        response = api_pb2.PipelineResponse(
            id=self._ids[:count], http_status=self._statuses[:count], body=self._bodies[:count]
        )
        del self._ids[:count]
        del self._statuses[:count]
        del self._bodies[:count]
        self.unread_bytes -= size_bytes
        return response

    def _count_that_fits(self) -> tuple[int, int]:
        """Return how many answers fit into one message, and how many bytes their bodies have."""
        count = size_bytes = 0
        for body in self._bodies:
            if size_bytes + len(body) + (count + 1) * COLUMNS_BYTES_MAX > self._message_bytes_max:
                break
            count, size_bytes = count + 1, size_bytes + len(body)
        assert count, "one answer always fits"
        return count, size_bytes
