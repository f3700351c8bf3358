"""One Route stream to one node: batches out with a beat, answers in, reconnecting for ever.

One batch is outstanding at a time. The next leaves at the node's first sign of acceptance, not
when its requests are answered: one partition without a quorum must not hold up the others.
What to do with requests whose stream broke is `router.dispatch`'s decision.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import grpc
import grpc.aio

from quorate.cluster.catalog import NodeRecord
from quorate.cluster.channels import RECEIVER_KEY, Dialer
from quorate.logs import log
from quorate.troubles import Troubles
from quorate.v1 import node_pb2
from quorate.v1.node_pb2_grpc import NodeServiceStub
from router.codec import encode_batch
from router.dispatch import Dispatch
from router.routed import Routed, RoutedGet, RoutedRange, RoutedWrite, Stage
from router.wakefulness import Wakefulness

BATCH_REQUESTS_MAX: Final = 4_096
"""Most requests in one batch. Ours."""

BATCH_BYTES_MAX: Final = 4 << 20
"""A batch ends with the request that reaches this many bytes of images and programs. Ours."""

HEARD_SECONDS_MAX: Final = 2.0
"""A node that was not heard for so long is heard before writes are sent to it. Ours: it refuses
what comes from a router that has not heard it for ten seconds."""

RANGES_OUTSTANDING_MAX: Final = 64
"""Most range reads sent and not yet answered: each may bring a megabyte of items. Ours."""

STALLED_SECONDS: Final = 0.5
"""A node that has not accepted a batch for so long is avoided by eventual reads. Ours."""

CONNECT_SECONDS_MAX: Final = 2.0
"""Longest wait for a connection before the next try. Ours."""

RECONNECT_SECONDS_MIN: Final = 0.05
"""First pause after a broken stream; doubles up to the maximum. Ours."""

RECONNECT_SECONDS_MAX: Final = 0.2
"""Longest pause between two tries. Ours: as long as nodes that come back take to elect leaders."""

RouteCall = Any  # grpc.aio.StreamStreamCall; protoc's service stubs have no types


class StreamEnded(Exception):
    """The stream to the node broke or was closed; the reason is the message."""


class Upstream:
    """The stream to one node, and the requests that wait for its next batch."""

    def __init__(
        self,
        node: NodeRecord,
        dispatch: Dispatch,
        *,
        dialer: Dialer,
        clock: Callable[[], float],
        wakefulness: Wakefulness,
        epoch: Callable[[], int],
        on_epoch: Callable[[int], None],
    ) -> None:
        """`epoch` is the router's catalog's; `on_epoch` takes the node's."""
        self.node = node
        self._dispatch = dispatch
        self._dialer = dialer
        self._clock = clock
        self._wakefulness = wakefulness
        self._epoch = epoch
        self._on_epoch = on_epoch
        self._outbox: deque[Routed] = deque()
        self._range_outbox: deque[RoutedRange] = deque()
        self._ranges_outstanding = 0
        self._wake = asyncio.Event()
        self._sequence = 0
        self._accepted = 0
        self._sent_at = 0.0
        self._connected = False
        self._heard_ms = 0  # the node's clock, in its newest reply on this stream
        self._heard_at = 0.0  # when that came
        self._ended = Troubles("stream_ended", clock=clock)

    @property
    def connected(self) -> bool:
        """Whether the stream is open and the node has answered on it."""
        return self._connected

    @property
    def stalled(self) -> bool:
        """Whether the node has not accepted the last batch for a while."""
        return self._sequence != self._accepted and self._clock() - self._sent_at > STALLED_SECONDS

    def send(self, routed: Routed) -> None:
        """Put a request into the outbox; all of one loop turn leave in one message."""
        if isinstance(routed, RoutedRange):
            self._range_outbox.append(routed)
        else:
            self._outbox.append(routed)
        if self._sequence == self._accepted:
            self._wake.set()

    async def run(self) -> None:
        """Keep a stream to the node until cancelled."""
        pause = RECONNECT_SECONDS_MIN
        metadata = ((RECEIVER_KEY, str(self.node.id)),)
        while True:
            try:
                async with self._dialer.open(self.node.address, self.node.name) as channel:
                    # Not asyncio.timeout: after a task group has failed in the same task, Python
                    # 3.11.2 takes its expiry for a cancellation, and this stream would be gone.
                    await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS_MAX)
                    await self._use(NodeServiceStub(channel).Route(metadata=metadata))
            except TimeoutError:
                pass
            except StreamEnded as end:
                self._ended.met(node=self.node.name, reason=end)
            finally:
                served = self._connected
                self._lose()
            pause = RECONNECT_SECONDS_MIN if served else min(pause * 2, RECONNECT_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def _use(self, call: RouteCall) -> None:
        """Use one stream until it breaks. Raises StreamEnded."""
        self._begin()
        self._wake.set()  # the first batch may be empty: its reply says who leads
        ended = ""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write_batches(call))
                tasks.create_task(self._read_replies(call))
        except* StreamEnded as ends:
            ended = str(ends.exceptions[0])
        finally:
            call.cancel()
        raise StreamEnded(ended)  # not above: what is raised in an except* may become a group again

    def _begin(self) -> None:
        """Begin a stream: nothing was sent on it, and nothing heard."""
        self._sequence = self._accepted = self._heard_ms = 0
        self._heard_at = 0.0

    def _lose(self) -> None:
        """Forget the stream and give back what was on it."""
        self._connected = False
        self._outbox.clear()
        self._range_outbox.clear()
        self._ranges_outstanding = 0
        self._dispatch.stream_broken(self.node.id)

    async def _write_batches(self, call: RouteCall) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._sequence != self._accepted:
                continue
            if self._sequence and not self._has_work():
                continue
            self._sequence += 1
            self._dispatch.counters.batches += 1
            self._sent_at = self._clock()
            try:
                await call.write(self._take_batch())
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                raise StreamEnded(_reason(error)) from error

    def _has_work(self) -> bool:
        may_read = self._ranges_outstanding < RANGES_OUTSTANDING_MAX
        return bool(self._outbox) or (bool(self._range_outbox) and may_read)

    def _take_batch(self) -> node_pb2.RouteBatch:
        """Return the next batch; what does not fit stays in the outbox for the one after.

        It is empty if the node was not heard of late: it would refuse writes, and its reply to an
        empty batch is what is missing.
        """
        if self._clock() - self._heard_at > HEARD_SECONDS_MAX:
            return self._encode_batch([], [], [])
        writes: list[RoutedWrite] = []
        gets: list[RoutedGet] = []
        outbox = self._outbox
        size_bytes = 0
        for _ in range(min(len(outbox), BATCH_REQUESTS_MAX)):
            routed = outbox.popleft()
            if not self._is_due(routed):
                continue
            routed.sent = True
            if isinstance(routed, RoutedWrite):
                writes.append(routed)
            else:
                assert isinstance(routed, RoutedGet)
                gets.append(routed)
            size_bytes += routed.size_bytes
            if size_bytes >= BATCH_BYTES_MAX:
                break
        ranges = self._take_ranges() if self._range_outbox else []
        return self._encode_batch(writes, gets, ranges)

    def _encode_batch(
        self, writes: list[RoutedWrite], gets: list[RoutedGet], ranges: list[RoutedRange]
    ) -> node_pb2.RouteBatch:
        return encode_batch(
            self._sequence,
            self._epoch(),
            self._clock(),
            writes,
            gets,
            ranges,
            heard_ms=self._heard_ms,
        )

    def _take_ranges(self) -> list[RoutedRange]:
        ranges: list[RoutedRange] = []
        while self._range_outbox and self._ranges_outstanding < RANGES_OUTSTANDING_MAX:
            routed = self._range_outbox.popleft()
            if self._is_due(routed):
                routed.sent = True
                ranges.append(routed)
                self._ranges_outstanding += 1
        return ranges

    def _is_due(self, routed: Routed) -> bool:
        """Whether a request in the outbox is still this node's: not expired, not sent elsewhere."""
        return routed.stage is Stage.AT_NODE and routed.node_id == self.node.id and not routed.sent

    async def _read_replies(self, call: RouteCall) -> None:
        while True:
            try:
                reply = await call.read()
            except grpc.aio.AioRpcError as error:
                raise StreamEnded(_reason(error)) from error
            if reply is grpc.aio.EOF:
                raise StreamEnded("the node closed it")
            self._take_reply(reply)

    def _take_reply(self, reply: node_pb2.RouteReply) -> None:
        """Answers before hints: what is answered here need not be sent to the new leader.

        The clock before all else: what was read before a sleep must not be sent on after it.
        """
        dispatch = self._dispatch
        self._wakefulness.heard(self.node.id, reply.clock_ms)
        self._heard_ms, self._heard_at = reply.clock_ms, self._clock()
        if not self._connected:
            self._connected = True
            self._ended.over()
            log("stream_open", node=self.node.name, address=self.node.address)
            dispatch.stream_opened(self.node.id)
        if reply.accepted:
            self._accepted = reply.accepted
        self._ranges_outstanding -= len(reply.pages)
        if self._sequence == self._accepted and self._has_work():
            self._wake.set()
        if reply.catalog_epoch:
            self._on_epoch(reply.catalog_epoch)
        if reply.HasField("answers"):
            answers = reply.answers
            dispatch.answered(
                self.node.id,
                list(answers.slots),
                list(answers.outcomes),
                list(answers.write_units),
                list(answers.payloads),
            )
        for page in reply.pages:
            dispatch.page_arrived(
                self.node.id,
                page.slot,
                page.outcome,
                page.keys,
                page.images,
                more=page.more,
            )
        if reply.leaders:
            dispatch.learned_leaders(
                [(hint.partition, hint.term, hint.leader) for hint in reply.leaders]
            )


def _reason(error: grpc.aio.AioRpcError | asyncio.InvalidStateError) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name} {error.details()}"
    return "it was closed while a batch was written"
