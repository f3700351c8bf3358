"""One stream to a router, shared by all calls of a client, reopened when it breaks.

All calls started in one turn of the caller's loop leave in one message, and what is started while
a message is being written makes the next one; so a call costs microseconds when there are many.
With several endpoints the stream moves on to the next one whenever it breaks.
"""

from __future__ import annotations

import asyncio
import random
import time
from asyncio import Future
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from quorate.client.calls import Call, Calls
from quorate.client.channels import MESSAGE_BYTES_MAX, Channels
from quorate.client.credentials import Credentials
from quorate.client.errors import Forked
from quorate.client.forks import FORKS
from quorate.client.statuses import document_of
from quorate.v1 import api_pb2

RECONNECT_SECONDS_MIN: Final = 0.02
RECONNECT_SECONDS_MAX: Final = 0.5
"""Wait before a stream is opened again; doubles with each failure in a row. Ours."""

CONNECT_TIMEOUT_SECONDS: Final = 1.0
"""Longest wait for an endpoint to accept a connection before the next is tried. Ours."""

CLOSE_TIMEOUT_SECONDS: Final = 2.0
"""Longest wait for the stream's orderly end. Ours."""

METHOD: Final = "/quorate.v1.QuorateService/Pipeline"

TAKES: Final = ("x-quorate-answer-bytes", str(MESSAGE_BYTES_MAX))
"""Metadata that says how large a message this client takes; see api.proto."""

DEADLINE_SECONDS_MAX: Final = 3600.0
"""Longest deadline that a router is told of; a call may wait longer here. Ours."""


class Pipeline:
    """Carries calls to one of `endpoints` and their answers back. Open it before use."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        open_max: int,
        credentials: Credentials | None,
        channels: Channels,
        rng: random.Random,
    ) -> None:
        """Take the addresses, the bound on open calls, an access key and a source of jitter."""
        assert endpoints
        self._channels = channels
        self._credentials = credentials
        self._endpoints = tuple(endpoints)
        self._rng = rng
        self._calls = Calls(open_max)
        self._room: deque[Future[None]] = deque()  # callers that wait until a call ends
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: asyncio.Task[None] | None = None
        self._generation = 0  # of the process that opened it
        self._is_closed = False
        self._wake = asyncio.Event()  # set: there may be something to send
        self._connected = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.last_trouble = ""  # why the stream broke last, for error messages

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the pipeline was opened in."""
        assert self._loop is not None, "open the client first: async with Client(...) as client"
        return self._loop

    def open(self) -> None:
        """Start connecting, in the running loop. Raises Forked."""
        self.check_is_ours()
        assert self._loop is None, "a client is opened once"
        self._generation = FORKS.client_opens()
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run())
        self._runner.add_done_callback(self._ended)

    def check_is_ours(self) -> None:
        """Raise Forked if the parent of this process opened it."""
        if self._loop is not None and not FORKS.is_ours(self._generation):
            raise Forked("this client was opened by the parent of this process: open one here")

    async def close(self) -> None:
        """End the stream; calls that are still open are resolved as past their deadline."""
        if self._runner is None or self._is_closed or not FORKS.is_ours(self._generation):
            return
        self._is_closed = True
        runner = self._runner
        runner.cancel()
        await asyncio.wait([runner], timeout=CLOSE_TIMEOUT_SECONDS)
        self._connected.clear()
        self.last_trouble = "the client is closed"
        if self._timer is not None:
            self._timer.cancel()
        self._calls.expire(float("inf"))
        self._let_in()

    def _ended(self, runner: asyncio.Task[None]) -> None:
        """The stream is over; if by a bug of ours, say so at once to whoever waits."""
        self._runner = None  # how it ended holds all that it had of gRPC
        FORKS.client_closes(self._generation)
        error = None if runner.cancelled() else runner.exception()
        if error is None:
            return
        self._is_closed = True
        self._connected.clear()
        self.last_trouble = f"the client has failed: {error!r}"
        self._calls.expire(float("inf"))
        self._let_in()

    @property
    def is_connected(self) -> bool:
        """Whether a router has accepted the stream."""
        return self._connected.is_set()

    async def wait_connected(self, timeout_seconds: float) -> bool:
        """Wait until a router has accepted the stream; False if the time passes before."""
        try:
            await asyncio.wait_for(self._connected.wait(), timeout_seconds)
        except TimeoutError:
            return False
        return True

    async def attempt(self, call: Call) -> tuple[int, bytes] | None:
        """Send a call and return (status, body), or None when its deadline passes first.

        The call is sent again by itself, with the same request id, if the stream breaks.
        """
        loop = self.loop
        if self._is_closed:
            return None
        while self._calls.is_full:
            if not await self._wait_for_room(call.deadline):
                return None
        call.future = loop.create_future()
        self._calls.add(call)
        if self._timer is None or call.deadline < self._timer.when():
            self._set_timer(call.deadline)
        self._wake.set()
        try:
            return await call.future
        finally:
            if call.future.cancelled():  # our caller was cancelled
                self._calls.forget(call)
                self._let_in()

    async def _wait_for_room(self, deadline: float) -> bool:
        room: Future[None] = self.loop.create_future()
        self._room.append(room)
        try:
            async with asyncio.timeout_at(deadline):
                await room
        except TimeoutError:
            return False
        return not self._is_closed

    def _let_in(self) -> None:
        free = self._calls.open_max - len(self._calls)
        while self._room and free > 0:
            room = self._room.popleft()
            if not room.done():
                room.set_result(None)
                free -= 1

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        # One timer for all calls, set to the earliest deadline among those open when it last
        # fired: under load it fires once in the length of a deadline, not once a call.
        self._timer = None
        earliest = self._calls.expire(self.loop.time())
        if earliest is not None:
            self._set_timer(earliest)
        self._let_in()

    async def _run(self) -> None:
        """Keep a stream open, whenever somebody needs one, until cancelled."""
        failures = 0
        turn = 0
        while True:
            endpoint = self._endpoints[turn % len(self._endpoints)]
            answered = False
            async with self._channels.open(endpoint) as channel:
                try:
                    await asyncio.wait_for(channel.channel_ready(), CONNECT_TIMEOUT_SECONDS)
                    self._connected.set()
                    self.last_trouble = f"{endpoint} ended the stream"
                    answered = await self._converse(channel)
                except TimeoutError:
                    self.last_trouble = self._channels.nobody_at(endpoint)
                except grpc.aio.AioRpcError as error:
                    self.last_trouble = f"{endpoint}: {error.details() or error.code().name}"
                    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                        self._calls.answer_all(400, document_of(error))
                        self._let_in()
            self._connected.clear()
            turn += 1
            failures = 0 if answered else failures + 1
            self._calls.resend_all()
            if not self._calls.has_waiting and failures > len(self._endpoints):
                self._wake.clear()
                await self._wake.wait()  # nobody needs a stream now
            pause = min(RECONNECT_SECONDS_MAX, RECONNECT_SECONDS_MIN * 2 ** min(failures, 16))
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))

    async def _converse(self, channel: grpc.aio.Channel) -> bool:
        """Run one stream until it ends or breaks; return whether it brought any answer."""
        signed = self._credentials.metadata(METHOD, time.time(), b"") if self._credentials else ()
        open_stream: Any = channel.stream_stream(
            METHOD, request_serializer=api_pb2.PipelineRequest.SerializeToString
        )
        stream = open_stream(metadata=(*signed, TAKES))
        writer = self.loop.create_task(self._write(stream))
        answered = False
        try:
            while (raw := await stream.read()) is not grpc.aio.EOF:
                self._take(api_pb2.PipelineResponse.FromString(raw))
                answered = True
        except (DecodeError, ValueError):
            self.last_trouble = "the router sent bytes that are no answer"
        except grpc.aio.AioRpcError as error:
            if not answered:
                raise
            self.last_trouble = error.details() or error.code().name
        finally:
            writer.cancel()
            stream.cancel()
            await asyncio.wait([writer])
        if not writer.cancelled():
            writer.result()  # a bug of ours is not to be mistaken for a broken stream
        return answered

    def _take(self, response: api_pb2.PipelineResponse) -> None:
        answer = self._calls.answer
        for call_id, status, body in zip(
            response.id, response.http_status, response.body, strict=True
        ):
            answer(call_id, status, body)
        if self._room:
            self._let_in()

    async def _write(self, stream: Any) -> None:
        """Send what waits, one message after another, until the stream breaks."""
        while True:
            batch = self._calls.take_batch()
            if not batch:
                self._wake.clear()
                await self._wake.wait()
                continue
            now = self.loop.time()
            request = api_pb2.PipelineRequest(
                id=[call.id for call in batch],
                operation=[call.operation for call in batch],
                body=[call.body for call in batch],
                request_id=[call.request_id for call in batch],
                deadline_ms=[_deadline_ms(call.deadline - now) for call in batch],
            )
            try:
                await stream.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return  # the reader is told the same, and why


def _deadline_ms(left_seconds: float) -> int:
    return max(1, int(min(left_seconds, DEADLINE_SECONDS_MAX) * 1000))
