"""Sending: to followers whose next entry was cut off the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import grpc
import grpc.aio

from node.codec import encode_snapshot_meta
from node.exits import STORAGE_ERROR_EXIT
from node.host import Host
from node.logs import die, log, warn
from node.replica import Replica
from node.snapshots.off_loop import Call, off_loop
from node.snapshots.pace import Pace
from node.snapshots.views import OpenView, Receiver, Views
from node.storage.errors import StorageError
from node.storage.items import ItemStore, SnapshotView
from node.storage.snapshot_frames import Position
from quorate.cluster.channels import Dialer
from quorate.troubles import Troubles
from quorate.v1 import node_pb2, node_pb2_grpc
from raft.types import Configuration, Message, Role, SnapshotMeta

SENDING_MAX: Final = 2
"""Snapshots that one node sends at a time; others are asked for again later. Ours."""

RETRY_SECONDS: Final = 1.0
"""Pause after a transfer that failed, before the core hears of it and begins another. Ours."""

WORTH_GOING_ON: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
    }
)
"""Ends of a call after which the receiver may still have what it got. INTERNAL is what grpc.aio
says when a write meets the end of the call, whatever that end was."""


Introduce = Callable[[int], tuple[tuple[str, str], ...]]
"""Returns the metadata of a call to a node: who this one is."""


class SnapshotSender:
    """Sends snapshots, few at a time."""

    def __init__(
        self, introduce: Introduce, dialer: Dialer, host: Host, items: ItemStore, call: Call
    ) -> None:
        """Start with nothing under way."""
        self._introduce = introduce
        self._dialer = dialer
        self._host = host
        self._call = call
        self._views = Views(items, host.checkpointer.release_log)
        self.sent_bytes = 0  # of frames, in this process's life
        self.sending = 0  # now
        self._sent: dict[Receiver, tuple[int, int]] = {}  # (bytes, of how many)
        self._slow = Troubles("snapshot_too_slow", say=warn)
        self._failed = Troubles("snapshot_failed", say=warn)
        self._under_way: set[Receiver] = set()  # those that pause after a failure included

    def is_sending(self, group: int, to: int) -> bool:
        """Whether the host will be told of a transfer that was asked for before."""
        return (group, to) in self._under_way

    @property
    def has_room(self) -> bool:
        """Whether another snapshot may be sent now."""
        return self.sending < SENDING_MAX

    async def send(self, group: int, message: Message, address: str, name: str) -> None:
        """Send one snapshot to a node and tell the host how it went."""
        receiver = (group, message.to)
        assert receiver not in self._under_way
        self._under_way.add(receiver)
        try:
            ok = await self._try_to_send(group, message, address, name)
            if not ok:
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._under_way.discard(receiver)
            # Who goes on with a view needs the log that follows on it.
            if not self._views.is_kept(receiver):
                self._host.checkpointer.release_log(receiver)
        self._call(self._host.snapshot_sent, group, message.to, ok=ok)

    def progress(self) -> list[tuple[int, int, float]]:
        """Return (group, receiving node, ratio done) of the transfers under way."""
        return [
            (group, to, min(1.0, done / max(1, whole)))
            for (group, to), (done, whole) in self._sent.items()
        ]

    def tick(self, now: float) -> None:
        """Let go of what was kept for too long."""
        self._views.close_older(now)

    def close(self) -> None:
        """Let go of all that is kept; nothing may be under way."""
        self._views.close()

    async def _try_to_send(self, group: int, message: Message, address: str, name: str) -> bool:
        replica, to = self._host.replicas.get(group), message.to
        if replica is None or not _leads(replica, message.term):
            return False
        opened = self._views.take((group, to), replica)
        index = opened.view.head.applied_index
        self._host.checkpointer.hold_log((group, to), index)
        self.sending += 1
        keep = False
        try:
            began_at = await self._transfer(opened, replica, message, address, name)
        except TimeoutError:
            keep = True
            self._slow.met((group, to), group=group, to=to)
        except StorageError as error:
            die(STORAGE_ERROR_EXIT, "storage_failed", error=error)
        except _LedNoMore:
            log("snapshot_given_up", group=group, to=to)
        except grpc.aio.AioRpcError as error:
            keep = error.code() in WORTH_GOING_ON
            self._failed.met(
                (group, to), group=group, to=to, code=error.code(), reason=error.details()
            )
        else:
            self._slow.over((group, to))
            self._failed.over((group, to))
            log("snapshot_sent", group=group, to=to, index=index, began_at=began_at)
            return True
        finally:
            self.sending -= 1
            if keep:
                self._views.keep((group, to), opened, asyncio.get_running_loop().time())
            else:
                opened.view.close()
        return False

    async def _transfer(
        self, opened: OpenView, replica: Replica, message: Message, address: str, name: str
    ) -> int:
        """Return how many bytes were there before. Raises as `_Transfer.run` does."""
        receiver = (replica.group, message.to)

        def count(done_bytes: int, frame_bytes: int) -> None:
            self.sent_bytes += frame_bytes
            self._sent[receiver] = (done_bytes, opened.view.size_bytes)

        async with self._dialer.open(address, name) as channel:
            stub = node_pb2_grpc.NodeServiceStub(channel)
            call = stub.TransferSnapshot(metadata=self._introduce(message.to))
            try:
                return await _Transfer(call, opened, replica, message, count).run()
            finally:
                self._sent.pop(receiver, None)
                call.cancel()


class _LedNoMore(Exception):
    """Somebody else may lead by now; the receiver would not want it from us."""


class _Transfer:
    """One call: an offer, the receiver's position, frames from there on, the end."""

    def __init__(
        self,
        call: grpc.aio.StreamStreamCall[node_pb2.SnapshotPart, node_pb2.SnapshotPosition],
        opened: OpenView,
        replica: Replica,
        message: Message,
        count: Callable[[int, int], None],
    ) -> None:
        """`count` is told, after each frame, the bytes that are there by then, and its own."""
        self._call = call
        self._opened = opened
        self._view = opened.view
        self._replica = replica
        self._message = message
        self._count = count

    async def run(self) -> int:
        """Return once all of it is durable there: how many bytes were there before.

        Raises AioRpcError, TimeoutError, _LedNoMore.
        """
        clock = asyncio.get_running_loop().time
        pace = Pace(clock())
        async with asyncio.timeout_at(pace.passed(0, clock())) as deadline:
            offer = make_offer(self._view, self._message)
            await self._call.write(node_pb2.SnapshotPart(offer=offer))
            position = await self._call.read()
            if not isinstance(position, node_pb2.SnapshotPosition):
                return self._view.size_bytes  # the call has ended: it was all there
            self._view.go_on_from(decode_position(position))
            with suppress(asyncio.InvalidStateError):  # the call has ended; `read` tells how
                await self._send_frames(position.size_bytes, pace, deadline)
            while await self._call.read() is not grpc.aio.EOF:
                pass
            return position.size_bytes

    async def _send_frames(self, done_bytes: int, pace: Pace, deadline: asyncio.Timeout) -> None:
        self._count(done_bytes, 0)
        while (frame := await off_loop(self._view.next_frame)) is not None:
            if not _leads(self._replica, self._message.term):
                raise _LedNoMore
            await self._call.write(node_pb2.SnapshotPart(frame=frame))
            done_bytes += len(frame)
            self._count(done_bytes, len(frame))
            now = asyncio.get_running_loop().time()
            self._opened.sent(now)
            deadline.reschedule(pace.passed(len(frame), now))
        await self._call.done_writing()


def _leads(replica: Replica, term: int) -> bool:
    return replica.core.role is Role.LEADER and replica.core.term == term


def make_offer(view: SnapshotView, message: Message) -> node_pb2.SnapshotOffer:
    """Return what the leader that wants `message` sent says of a view."""
    state = view.state
    meta = SnapshotMeta(
        state.applied_index, state.applied_term, Configuration.decode(state.configuration)
    )
    return node_pb2.SnapshotOffer(
        group=view.head.group,
        sender_term=message.term,
        meta=encode_snapshot_meta(meta),
        view=view.head.view,
        size_bytes=view.size_bytes,
        sequence=message.sequence,
    )


def decode_position(wire: node_pb2.SnapshotPosition) -> Position:
    """Read where a receiver stands. Pair of `node.snapshots.receiving.encode_position`."""
    return Position(
        frame_count=wire.frame_count,
        size_bytes=wire.size_bytes,
        checksum=wire.checksum,
        pair_count=wire.pair_count,
        last_key=wire.last_key,
    )
