"""The host's shell in a process: asyncio loop, writer threads, peers' streams, timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from random import SystemRandom
from typing import Final, ParamSpec, TypeVar

import grpc.aio

from node.acquaintances import Acquaintances
from node.exits import BUG_EXIT, STORAGE_ERROR_EXIT
from node.host import TICK_SECONDS, Host
from node.join import JoinRefused, NodeRemoved, Seeds, ask, check_answer
from node.logs import die, log
from node.machine.catalog import CatalogResult
from node.metrics.observed import Observed
from node.peer_batch import PeerBatch
from node.peers import PeerLinks, introduce
from node.readiness import unready_reason
from node.scrubber import scrub_for_ever
from node.server import NodeServicer
from node.snapshots.receiving import SnapshotReceiver
from node.snapshots.sending import SnapshotSender
from node.storage.errors import StorageError, StorageFailed, StoresDisagree
from node.storage.identity import DirectoryLock
from node.storage.items import ItemStore
from node.storage.log import LogRecord, LogStore
from node.writer_thread import WriterThread
from quorate.cluster.catalog import CATALOG_GROUP, Catalog
from quorate.cluster.catalog_leader import CatalogLeader, Forbidden, NodeChannels, NotChanged
from quorate.cluster.channels import Dialer
from quorate.cluster.codec import decode_catalog
from quorate.cluster.commands import (
    Bootstrap,
    CatalogCommand,
    encode_catalog_command,
    wire_catalog_command,
)
from quorate.cluster.placement import catalog_voters, place_partitions
from quorate.v1 import node_pb2, node_pb2_grpc
from raft.types import Message, Role

P = ParamSpec("P")
T = TypeVar("T")

FULL_RETRY_SECONDS: Final = 0.5
"""Pause before a write that found the disk full is tried again. Ours."""

IN_PLACE_SECONDS: Final = 5.0
"""How often the data directory is checked to be still the one that was opened. Ours."""

TIDY_SECONDS: Final = 5.0
"""How often what snapshots have left behind is looked at. Ours."""

HUNG_LOOKS_MAX: Final = 12
"""Looks, IN_PLACE_SECONDS apart, at one and the same disk write before the disk counts as failed: a
minute. Ours: leadership is given up long before; what does not come back must not fill memory."""

WATCH_RETRY_SECONDS: Final = 0.2
"""Pause before the catalog is watched at another node. Ours."""

CHANGE_SECONDS: Final = 2.0
"""Longest time a change of the catalog is tried; whoever wants it asks again. Ours."""

CHANGES_MAX: Final = 64
"""Most changes of the catalog under way at a time; further ones are dropped. Ours."""

DRAIN_SECONDS: Final = 3.0
"""Longest time a stopping node hands leaderships over. Ours."""


class ProcessShell:
    """Implements `node.host_shell.Shell`. All runs on one loop, but for the two writer threads."""

    def __init__(
        self,
        *,
        acquaintances: Acquaintances,
        seeds: Seeds,
        log_store: LogStore,
        items: ItemStore,
        lock: DirectoryLock,
        servicer: NodeServicer,
        observed: Observed,
        dialer: Dialer,
    ) -> None:
        """Take over open stores."""
        self.log_store = log_store
        self.items = items
        self.refusal: JoinRefused | None = None  # why this node may not take part any more
        self._acquaintances = acquaintances
        self._identity = identity = acquaintances.identity
        self._seeds = seeds
        self._lock = lock
        self._servicer = servicer
        self._observed = observed
        self._dialer = dialer
        self._started = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._log_thread = WriterThread("log-writer", self._loop)
        self._items_thread = WriterThread("items-writer", self._loop)
        self._turn_scheduled = False
        self._bootstrapping = False
        self.host = Host(
            node_id=identity.node_id,
            log=log_store,
            items=items,
            rng=SystemRandom(),
            shell=self,
            watch=observed.writes,
        )
        self.sender = SnapshotSender(
            partial(introduce, identity), dialer, self.host, items, self.call
        )
        self.receiver = SnapshotReceiver(servicer.snapshots, identity.node_id, self.host, self.call)
        self._channels = NodeChannels(dialer)
        self._catalog_leader = CatalogLeader(
            self._channels,
            addresses=self._catalog_addresses,
            catalog=lambda: self.host.catalog,
            clock=time.monotonic,
        )
        self._changes = 0  # of the catalog, under way
        self._asking_why = False
        self._links: PeerLinks | None = None
        self._stop: asyncio.Event | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._errands: set[asyncio.Task[None]] = set()

    def call(self, act: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Let the host do something; an exception out of it is a bug, and ends the process.

        The host's state would be half changed, and nothing may be acknowledged from it.
        """
        try:
            return act(*arguments, **named)
        except StoresDisagree as error:
            die(STORAGE_ERROR_EXIT, "data_lost", error=error)
        except StorageError as error:
            die(STORAGE_ERROR_EXIT, "storage_failed", error=error)
        except Exception as error:  # noqa: BLE001 - see above
            die(BUG_EXIT, "bug", error=repr(error))

    # What the host asks for

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()

    def schedule_turn(self) -> None:
        """Run a turn after what the loop has ready now, so that it takes all of that."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def send(self, outbox: PeerBatch) -> None:
        """Send to a peer; lost if there is no stream to it."""
        if self._links is not None:
            self._links.send(outbox)

    def write_log(self, record: LogRecord) -> None:
        """Commit on the log's thread."""
        self._log_thread.submit(lambda: self._commit(record), self._log_done)

    def _commit(self, record: LogRecord) -> None:
        began_at = time.monotonic()
        self.log_store.commit(record)
        self._observed.log_committed(record, time.monotonic() - began_at)

    def write_items(self, job: Callable[[], None], done: Callable[[bool], None]) -> None:
        """Run a job on the items store's thread."""
        self._items_thread.submit(job, done)

    def send_snapshot(self, group: int, message: Message) -> None:
        """Stream a snapshot in a task of its own, a few at a time."""
        if self.sender.is_sending(group, message.to):
            return  # the host will be told how that ends
        address = self._identity.addresses.get(message.to)
        if address is None or self._tasks is None or not self.sender.has_room:
            self._loop.call_soon(lambda: self.host.snapshot_sent(group, message.to, ok=False))
            return
        name = self._identity.names.get(message.to, "")
        self._start_errand(self.sender.send(group, message, address, name))

    def catalog_changed(self, catalog: Catalog) -> None:
        """Follow the nodes that come and go; wake those who watch the catalog."""
        self._acquaintances.follow(catalog)
        if self._acquaintances.has_been_removed:
            self._leave(NodeRemoved(self._identity, self._acquaintances.successor))
        elif self._links is not None:
            self._links.follow(self._identity.addresses)
            self._servicer.follow_capacity(self.host, self.monotonic())
        for changed in self._servicer.catalog_waiters:
            changed.set()

    def change_catalog(self, command: CatalogCommand) -> None:
        """Have the catalog's leader apply a command; lost if that takes too long."""
        replica = self.host.replicas.get(CATALOG_GROUP)
        if replica is not None and replica.core.role is Role.LEADER:
            self.host.change_catalog(encode_catalog_command(command), lambda *_: None)
        elif self._tasks is not None and self._changes < CHANGES_MAX:
            self._changes += 1
            self._start_errand(self._change_catalog(command))

    async def _change_catalog(self, command: CatalogCommand) -> None:
        try:
            await self._catalog_leader.change(
                wire_catalog_command(command), time.monotonic() + CHANGE_SECONDS
            )
        except (Forbidden, NotChanged) as failure:
            log("catalog_not_changed", command=type(command).__name__, reason=failure)
        finally:
            self._changes -= 1

    def log(self, event: str, **facts: object) -> None:
        """Log one fact."""
        log(event, **facts)

    # What metrics and probes ask for

    def open_streams(self) -> dict[int, bool]:
        """Return whether the stream to each other node is open."""
        return self._links.open_streams() if self._links is not None else {}

    @property
    def router_count(self) -> int:
        """How many routers' streams are open."""
        return self._servicer.router_count

    @property
    def refused_calls(self) -> int:
        """How many calls were refused at the door, in this process's life."""
        return self._servicer.refused_calls

    def unready_reason(self) -> str:
        """Return why this node should not be counted on, "" if it is ready."""
        if self._stop is None or self._stop.is_set():
            return "it is starting or stopping"
        return unready_reason(self.host, running_seconds=time.monotonic() - self._started)

    # Its own life

    async def run(self, stop: asyncio.Event) -> None:
        """Take part in the cluster until `stop` is set; then hand leaderships over.

        This node sets it itself, with `refusal`, when it learns that it must not take part.
        """
        self._stop = stop
        voters = catalog_voters(self._seeds.initial) if self._identity.initial else ()
        async with self._channels, asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            self._links = PeerLinks(self._identity, self, tasks, self._dialer)
            self._links.follow(self._identity.addresses)
            self.call(self.host.recover, voters, self.receiver.unfinished(self.items))
            running = [
                tasks.create_task(self._tick()),
                tasks.create_task(self._check_in_place()),
                tasks.create_task(self._follow_catalog()),
                tasks.create_task(scrub_for_ever(self.items, self._items_thread)),
                tasks.create_task(self._tidy_snapshots()),
            ]
            await stop.wait()
            log("stopping")
            if self.refusal is None:
                await self._drain()
            self._tasks = None
            self._links.stop()
            for task in (*running, *self._errands):
                task.cancel()

    def _start_errand(self, work: Coroutine[object, object, None]) -> None:
        """Run something that ends by itself, at the latest when this node stops."""
        assert self._tasks is not None
        task = self._tasks.create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    def _leave(self, refusal: JoinRefused) -> None:
        """Stop for good: nothing that this node does may count any more."""
        if self.refusal is None:
            self.refusal = refusal
            assert self._stop is not None
            self._stop.set()

    def peer_broken(self, node_id: int) -> None:
        """Tell the host that a peer may be dead."""
        self.call(self.host.peer_broken, node_id)

    def peer_refused(self, node_id: int, address: str) -> None:
        """Find out why a peer does not let this node in."""
        del node_id
        if self._tasks is not None and not self._asking_why:
            self._asking_why = True
            self._start_errand(self._ask_why(address))

    async def _ask_why(self, address: str) -> None:
        try:
            answer = await ask(self._identity, address, self._dialer)
            if answer is not None:
                check_answer(self._identity, address, answer)
        except JoinRefused as refusal:
            self._leave(refusal)
        finally:
            self._asking_why = False

    async def close(self) -> None:
        """Checkpoint and end the writer threads, once the service has stopped."""
        self.sender.close()
        await self._last_checkpoint()
        self._log_thread.stop()
        self._items_thread.stop()

    def _turn(self) -> None:
        self._turn_scheduled = False
        self.call(self.host.turn)

    def _log_done(self, stored: bool) -> None:  # noqa: FBT001 - a callback of WriterThread
        if stored:
            self.call(self.host.log_written)
        else:
            record = self.call(self.host.log_refused)
            self._loop.call_later(FULL_RETRY_SECONDS, self.write_log, record)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            asleep_at = time.monotonic()
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            delay = now - asleep_at - TICK_SECONDS
            self._observed.loop_delayed(delay)
            self.host.door.loop_delayed(delay)
            count = int((now - last) / TICK_SECONDS)
            if count:
                last += count * TICK_SECONDS
                self.call(self.host.tick, count)
                self._maybe_bootstrap()
                self._servicer.follow_capacity(self.host, now)

    def _maybe_bootstrap(self) -> None:
        """Make the first catalog, once this node leads a catalog group that has none."""
        host = self.host
        if host.catalog.epoch or self._bootstrapping or CATALOG_GROUP not in host.replicas:
            return
        if host.replicas[CATALOG_GROUP].core.role is not Role.LEADER:
            return
        identity = self._identity
        incarnations = {identity.node_id: identity.incarnation, **identity.peers}
        nodes = tuple(
            replace(node, incarnation=incarnations[node.id]) for node in self._seeds.initial
        )
        catalog = Catalog(
            cluster_id=identity.cluster_id,
            nodes=nodes,
            partitions=place_partitions(self._seeds.partitions, nodes),
        )
        # Derived, so that a second attempt after an unknown outcome is the same command.
        request_id = b"bootstrap".ljust(16, b"\0")
        self._bootstrapping = True

        def answer(outcome: object, result: CatalogResult) -> None:
            self._bootstrapping = False
            log("bootstrapped", outcome=outcome, epoch=result.epoch)

        host.change_catalog(encode_catalog_command(Bootstrap(request_id, catalog)), answer)

    async def _check_in_place(self) -> None:
        while True:
            await asyncio.sleep(IN_PLACE_SECONDS)
            try:
                self._lock.check_in_place()
                self.log_store.check_in_place()
                self.items.check_in_place()
            except StorageFailed as error:
                die(STORAGE_ERROR_EXIT, "data_directory_gone", error=error)
            for thread in (self._log_thread, self._items_thread):
                if thread.looks_at_one_job() > HUNG_LOOKS_MAX:
                    seconds = HUNG_LOOKS_MAX * IN_PLACE_SECONDS
                    die(STORAGE_ERROR_EXIT, "disk_hung", thread=thread.name, seconds=seconds)

    async def _tidy_snapshots(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            self.sender.tick(self._loop.time())
            await self.receiver.sweep(self._loop.time())

    async def _follow_catalog(self) -> None:
        """Watch the catalog at the nodes that replicate it, one after the other.

        Those do so, too: one that was replaced hears nothing from its group any more.
        """
        turn = self._identity.node_id  # so that not all watch the same one
        while True:
            addresses = self._catalog_addresses()
            if addresses:
                await self._watch_catalog(addresses[turn % len(addresses)])
            turn += 1
            await asyncio.sleep(WATCH_RETRY_SECONDS)

    async def _watch_catalog(self, address: str) -> None:
        async with self._dialer.open(address) as channel:
            stub = node_pb2_grpc.NodeServiceStub(channel)
            try:
                async for news in stub.WatchCatalog(node_pb2.WatchCatalogRequest()):
                    self.call(self.host.adopt_catalog, decode_catalog(news.catalog))
            except grpc.aio.AioRpcError as error:
                log("catalog_watch_ended", address=address, code=error.code())

    def _catalog_addresses(self) -> Sequence[str]:
        """Return where the catalog is; before that is known, every address that this node knows."""
        known = self._identity.addresses
        replicas = [
            known[node_id] for node_id in self.host.catalog.catalog_replicas if node_id in known
        ]
        return list(dict.fromkeys(replicas)) or self._seeds.to_ask(self._identity)

    async def _drain(self) -> None:
        until = time.monotonic() + DRAIN_SECONDS
        while not self.call(self.host.drain) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(TICK_SECONDS)

    async def _last_checkpoint(self) -> None:
        """Write what is applied into the tree, so that the next start replays little."""
        checkpointed = self._loop.create_future()
        checkpointer = self.host.checkpointer
        if checkpointer.start(time.monotonic()):
            self._items_thread.submit(lambda: None, checkpointed.set_result)
            await checkpointed
