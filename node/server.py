"""The node's gRPC service: what routers and peers say, handed to the host."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from os import getpid
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import grpc
import grpc.aio

from node.acquaintances import Acquaintances, Introduction, Verdict
from node.capacity_pool import CapacityAsk, CapacityPools
from node.codec import CorruptMessage, decode_raft_batch, decode_route_batch, wire_outcome
from node.exits import STORAGE_ERROR_EXIT
from node.guard import Guard
from node.logs import die, warn
from node.machine.catalog import CatalogResult
from node.peers import ADMITTED, read_introduction
from node.replica import PartitionReplica, Replica
from node.routes import RouteStream
from node.snapshots.receiving import SnapshotRefused
from node.storage.errors import StorageError
from node.storage.identity import Start
from node.storage.snapshot_file import SNAPSHOTS_DIRECTORY
from quorate import __version__
from quorate.cluster.catalog import CATALOG_GROUP
from quorate.cluster.catalog_search import CatalogTeller
from quorate.cluster.channels import RECEIVER_KEY
from quorate.cluster.codec import encode_catalog
from quorate.cluster.outcome import Outcome
from quorate.troubles import Troubles
from quorate.v1 import node_pb2

if TYPE_CHECKING:
    from node.host import Host
    from node.shell import ProcessShell

    Context = grpc.aio.ServicerContext[object, object]


class NodeServicer:
    """One node's service. `shell` is None until the node takes part in the cluster.

    Every call has passed `guard`, with which the service is to be served.
    """

    def __init__(self, acquaintances: Acquaintances, data_dir: Path, guard: Guard) -> None:
        """Answer only Identify until `shell` is set."""
        self.acquaintances = acquaintances
        self._guard = guard
        self._identity = acquaintances.identity
        self.snapshots = data_dir / SNAPSHOTS_DIRECTORY  # where they are received
        self._started = time.monotonic()
        self._streams_of: dict[int, int] = {}
        self._pools = CapacityPools()
        self._corrupt = Troubles("corrupt_message", say=warn)
        self._refused = Troubles("snapshot_refused", say=warn)
        self._routes: dict[RouteStream, asyncio.Event] = {}
        self.shell: ProcessShell | None = None
        self.catalog_waiters: set[asyncio.Event] = set()

    async def Identify(  # noqa: N802 - the name is the protocol's
        self, request: node_pb2.IdentifyRequest, context: Context
    ) -> node_pb2.IdentifyResponse:
        """Say who this node is, and what it makes of the asking one."""
        identity = self._identity
        verdict = self.acquaintances.meet(
            Introduction(
                cluster_id=request.cluster_id,
                node_id=request.node_id,
                incarnation=request.incarnation,
                start=Start(request.starts, request.start_token),
                certified_name=self._certified_name(context),
            )
        )
        if verdict is Verdict.OTHER_NAME:
            await self._refuse(context, "Identify", request.node_id, verdict)
        return node_pb2.IdentifyResponse(
            cluster_id=identity.cluster_id,
            node_id=identity.node_id,
            incarnation=identity.incarnation,
            joined=identity.joined,
            incarnation_known=identity.peers.get(request.node_id, ""),
            catalog_epoch=self.shell.host.catalog.epoch if self.shell is not None else 0,
            removed=verdict is Verdict.REMOVED,
            outdated=verdict is Verdict.OUTDATED,
            version=__version__,
        )

    async def Replicate(  # noqa: N802
        self, request_iterator: AsyncIterator[node_pb2.RaftBatch], context: Context
    ) -> node_pb2.ReplicateResponse:
        """Step what a peer sends, until its stream ends."""
        shell = await self._ready(context)
        sender, receiver = await self._admit("Replicate", context), self._identity.node_id
        await context.send_initial_metadata(((ADMITTED, "yes"),))
        self._streams_of[sender] = self._streams_of.get(sender, 0) + 1
        shell.call(shell.host.peer_connected, sender)
        try:
            async for batch in request_iterator:
                try:
                    inbox = decode_raft_batch(batch, sender=sender, receiver=receiver)
                except CorruptMessage as error:
                    self._corrupt.met(sender, peer=sender, error=error)
                    await context.abort(grpc.StatusCode.DATA_LOSS, str(error))
                except ValueError as error:
                    await self._refuse_nonsense(context, "Replicate", f"node {sender}", error)
                shell.call(shell.host.receive, inbox)
        finally:
            self._streams_of[sender] -= 1
            if not self._streams_of[sender]:
                shell.call(shell.host.peer_broken, sender)
        return node_pb2.ReplicateResponse()

    async def Route(  # noqa: N802
        self, request_iterator: AsyncIterator[node_pb2.RouteBatch], context: Context
    ) -> None:
        """Serve one router until its stream ends."""
        shell = await self._ready(context)
        await self._check_receiver(context)
        host = shell.host
        wake = asyncio.Event()
        stream = RouteStream(wake.set)
        host.add_stream(stream)
        self._routes[stream] = wake

        async def read() -> None:
            try:
                async for batch in request_iterator:
                    try:
                        routed = decode_route_batch(batch)
                    except ValueError as error:
                        await self._refuse_nonsense(context, "Route", "a router", error)
                    shell.call(host.route, stream, routed)
            finally:
                stream.closed = True
                wake.set()

        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(read())
                while not stream.closed:
                    await wake.wait()
                    wake.clear()
                    while stream.has_reply() and not stream.closed:
                        await context.write(
                            stream.take_reply(host.catalog.epoch, host.clock.now_ms)
                        )
                reading.cancel()
        finally:
            del self._routes[stream]
            host.remove_stream(stream)

    async def TransferSnapshot(  # noqa: N802
        self, request_iterator: AsyncIterator[node_pb2.SnapshotPart], context: Context
    ) -> None:
        """Receive a snapshot and offer it to the core."""
        shell = await self._ready(context)
        sender = await self._admit("TransferSnapshot", context)
        try:
            await shell.receiver.receive(sender, request_iterator, context.write)
        except SnapshotRefused as refusal:
            self._refused.met(
                (sender, refusal.code), peer=sender, code=refusal.code, reason=refusal
            )
            await context.abort(refusal.code, str(refusal))
        except StorageError as error:
            die(STORAGE_ERROR_EXIT, "storage_failed", error=error)

    async def ChangeCatalog(  # noqa: N802
        self, request: node_pb2.ChangeCatalogRequest, context: Context
    ) -> node_pb2.ChangeCatalogResponse:
        """Replicate one catalog command; without a command, confirm the newest epoch."""
        shell = await self._ready(context)
        host = shell.host
        answered: asyncio.Future[tuple[Outcome, CatalogResult]] = (
            asyncio.get_running_loop().create_future()
        )

        def answer(outcome: Outcome, result: CatalogResult) -> None:
            if not answered.done():
                answered.set_result((outcome, result))

        command = request.command
        await self._guard.check_change(context, command)
        if command.WhichOneof("change") is None:
            taken = host.confirm_catalog(answer)
        else:
            taken = host.change_catalog(command.SerializeToString(), answer)
        if not taken:
            return node_pb2.ChangeCatalogResponse(outcome=wire_outcome(Outcome.NOT_REPLICA))
        outcome, result = await answered
        if outcome is Outcome.OK and result.refusal:
            outcome = Outcome.INVALID
        return node_pb2.ChangeCatalogResponse(
            outcome=wire_outcome(outcome),
            leader=host.replicas[CATALOG_GROUP].core.leader,
            epoch=result.epoch,
            reason=result.refusal,
        )

    async def WatchCatalog(  # noqa: N802
        self, request: node_pb2.WatchCatalogRequest, context: Context
    ) -> AsyncIterator[node_pb2.WatchCatalogResponse]:
        """Say which catalog this node has, now (be it none) and after every change."""
        shell = await self._ready(context)
        changed = asyncio.Event()
        self.catalog_waiters.add(changed)
        teller = CatalogTeller(request.epoch)
        if request.epoch > shell.host.catalog.epoch:
            shell.want_catalog(request.epoch)  # the one who asks has news for this node
        try:
            while True:
                news = teller.news(shell.host.catalog)
                if news is not None:
                    newer = news.catalog
                    yield node_pb2.WatchCatalogResponse(
                        epoch=news.epoch, catalog=None if newer is None else encode_catalog(newer)
                    )
                await changed.wait()
                changed.clear()
        finally:
            self.catalog_waiters.discard(changed)

    async def GetStatus(  # noqa: N802
        self, request: node_pb2.GetStatusRequest, context: Context
    ) -> node_pb2.GetStatusResponse:
        """Report on this node and its replicas."""
        shell = await self._ready(context)
        host, identity = shell.host, self._identity
        partitions = [
            replica for replica in host.replicas.values() if isinstance(replica, PartitionReplica)
        ]
        return node_pb2.GetStatusResponse(
            node_id=identity.node_id,
            name=identity.name,
            az=identity.az,
            pid=getpid(),
            uptime_seconds=time.monotonic() - self._started,
            version=__version__,
            catalog_epoch=host.catalog.epoch,
            memtable_bytes=sum(replica.machine.memtable_bytes for replica in partitions),
            log_bytes=shell.log_store.size_bytes(),
            items_bytes=shell.items.size_bytes(),
            log_commits=shell.log_store.commit_count(),
            groups=[
                _group_status(replica, table_sizes=request.table_sizes)
                for replica in host.replicas.values()
            ],
        )

    async def TransferLeadership(  # noqa: N802
        self, request: node_pb2.TransferLeadershipRequest, context: Context
    ) -> node_pb2.TransferLeadershipResponse:
        """Begin to hand a group's leadership over."""
        shell = await self._ready(context)
        done = shell.host.transfer_leadership(request.group, request.to)
        return node_pb2.TransferLeadershipResponse(
            outcome=wire_outcome(Outcome.OK if done else Outcome.NOT_LEADER)
        )

    async def LeaseCapacity(  # noqa: N802
        self, request: node_pb2.LeaseCapacityRequest, context: Context
    ) -> node_pb2.LeaseCapacityResponse:
        """Grant a router tokens of tables with limits, at the catalog's leader."""
        shell = await self._ready(context)
        host, now = shell.host, shell.monotonic()
        if not self.follow_capacity(host, now):
            replica = host.replicas.get(CATALOG_GROUP)
            leader = 0 if replica is None else replica.core.leader
            return node_pb2.LeaseCapacityResponse(
                outcome=wire_outcome(Outcome.NOT_LEADER), leader=leader
            )
        response = node_pb2.LeaseCapacityResponse(outcome=wire_outcome(Outcome.OK))
        for wire in request.asks:
            ask = CapacityAsk(
                wire.table,
                wire.reads,
                wire.wanted,
                wire.returned,
                wire.level if wire.HasField("level") else None,
            )
            grant = self._pools.grant(request.router, ask, host.catalog, now)
            response.grants.add(tokens=grant.tokens, level=grant.level)
        return response

    def follow_capacity(self, host: Host, now: float) -> bool:
        """Return whether this node leads the catalog; then its pools know of every change of it.

        Call it at every tick and every change of the catalog.
        """
        replica = host.replicas.get(CATALOG_GROUP)
        if replica is None or not replica.core.may_evaluate:
            self._pools.clear()
            return False
        self._pools.follow(host.catalog, now)
        return True

    def end_streams(self) -> None:
        """Let the routers go: this node is about to stop."""
        for stream, wake in self._routes.items():
            stream.closed = True
            wake.set()

    @property
    def router_count(self) -> int:
        """How many routers' streams are open."""
        return len(self._routes)

    @property
    def refused_calls(self) -> int:
        """How many calls were refused, in this process's life."""
        return self._guard.refused

    async def _ready(self, context: Context) -> ProcessShell:
        if self.shell is None:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "this node does not take part in the cluster yet"
            )
        assert self.shell is not None
        return self.shell

    async def _admit(self, method: str, context: Context) -> int:
        """Return which node the peer is; end the call if it is not who this node remembers."""
        await self._check_receiver(context)
        metadata = dict(context.invocation_metadata() or ())
        try:
            introduction = read_introduction(metadata, self._certified_name(context))
        except (KeyError, ValueError):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "a node says who it is and which start this is"
            )
            raise AssertionError("abort raises") from None
        verdict = self.acquaintances.meet(introduction)
        if verdict is not Verdict.WELCOME:
            await self._refuse(context, method, introduction.node_id, verdict)
        return introduction.node_id

    def _certified_name(self, context: Context) -> str:
        caller = self._guard.caller(context)
        return caller.name if caller is not None else ""

    async def _refuse_nonsense(
        self, context: Context, method: str, who: str, error: ValueError
    ) -> NoReturn:
        """End the call of one that sent what no process of ours sends."""
        code = grpc.StatusCode.INVALID_ARGUMENT
        await self._guard.refuse(context, method, who, code, f"impossible message: {error}")

    async def _refuse(
        self, context: Context, method: str, node_id: int, verdict: Verdict
    ) -> NoReturn:
        """End the call of a peer that is not who this node remembers."""
        # One that is not known yet comes again; any other one had better find out why.
        unknown = verdict is Verdict.UNKNOWN
        code = grpc.StatusCode.FAILED_PRECONDITION if unknown else grpc.StatusCode.PERMISSION_DENIED
        who = self._guard.caller(context) or f"node {node_id}"
        await self._guard.refuse(context, method, who, code, f"node {node_id} {verdict.value}")

    async def _check_receiver(self, context: Context) -> None:
        """End a call that is meant for another node, which this one's address was before."""
        meant = dict(context.invocation_metadata() or ()).get(RECEIVER_KEY)
        own = self._identity.node_id
        if meant is not None and meant != str(own):
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, f"this is node {own}, not node {meant!r}"
            )


def _group_status(replica: Replica, *, table_sizes: bool) -> node_pb2.GroupStatus:
    status = replica.core.status()
    sizes: Sequence[tuple[int, tuple[int, int]]] = ()
    if table_sizes and isinstance(replica, PartitionReplica):
        sizes = list(replica.machine.table_sizes.items())
    return node_pb2.GroupStatus(
        group=replica.group,
        role=status.role.value,
        term=status.term,
        leader=status.leader,
        commit=status.commit,
        applied=status.applied,
        last=status.last_index,
        first=status.first_index,
        progress=[
            node_pb2.ReplicaProgress(
                node_id=progress.node_id,
                match=progress.match,
                flow=progress.flow,
                active=progress.active,
                learner=progress.learner,
            )
            for progress in status.progress
        ],
        table_sizes=[
            node_pb2.TableSize(table=table, item_count=item_count, size_bytes=size_bytes)
            for table, (item_count, size_bytes) in sizes
        ],
    )
