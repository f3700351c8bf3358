"""The host's shell in a process: asyncio loop, writer threads, peers' streams, timers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from random import SystemRandom
from typing import Final, ParamSpec, TypeVar

from node.catalog_follower import CatalogFollower
from node.errands import Errands
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
from quorate.cluster.commands import (
    Bootstrap,
    CatalogCommand,
    encode_catalog_command,
    wire_catalog_command,
)
from quorate.cluster.placement import catalog_voters, place_partitions
from quorate.troubles import Troubles
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
        seeds: Seeds,
        log_store: LogStore,
        items: ItemStore,
        lock: DirectoryLock,
        servicer: NodeServicer,
        observed: Observed,
        dialer: Dialer,
        stop: asyncio.Event,
    ) -> None:
        """Take over open stores. `stop` is set when this node is to stop.

        It sets that itself, with `refusal`, when it learns that it must not take part.
        """
        self.log_store = log_store
        self.items = items
        self.refusal: JoinRefused | None = None  # why this node may not take part any more
        self._acquaintances = servicer.acquaintances
        self._identity = identity = self._acquaintances.identity
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
        self._errands = Errands()
        self._follower = CatalogFollower(
            identity, seeds, self._channels, self._errands, self.host, self.call
        )
        self._catalog_leader = CatalogLeader(
            self._channels,
            addresses=self._follower.addresses,
            catalog=lambda: self.host.catalog,
            clock=time.monotonic,
        )
        self._changes = 0  # of the catalog, under way
        self._not_changed = Troubles("catalog_not_changed", "catalog_changed")
        self._asking_why = False
        self._stop = stop
        self._links = PeerLinks(identity, self, self._errands, dialer)

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

    def wall_clock(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def schedule_turn(self) -> None:
        """Run a turn after what the loop has ready now, so that it takes all of that."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def send(self, outbox: PeerBatch) -> None:
        """Send to a peer; lost if there is no stream to it."""
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
        if address is None or not self.sender.has_room:
            failed = partial(self.host.snapshot_sent, group, message.to, ok=False)
            self._loop.call_soon(self.call, failed)
            return
        name = self._identity.names.get(message.to, "")
        self._errands.start(self.sender.send(group, message, address, name))

    def catalog_changed(self, catalog: Catalog) -> None:
        """Follow the nodes that come and go; wake those who watch the catalog."""
        self._acquaintances.follow(catalog)
        if self._acquaintances.has_been_removed:
            self._leave(NodeRemoved(self._identity, self._acquaintances.successor))
        else:
            self._links.follow(self._identity.addresses)
            self._servicer.follow_capacity(self.host, self.monotonic())
        for changed in self._servicer.catalog_waiters:
            changed.set()

    def want_catalog(self, epoch: int) -> None:
        """Ask other nodes for a catalog of this epoch or a newer one."""
        self._follower.want(epoch)

    def change_catalog(self, command: CatalogCommand) -> None:
        """Have the catalog's leader apply a command; lost if that takes too long."""
        replica = self.host.replicas.get(CATALOG_GROUP)
        if replica is not None and replica.core.role is Role.LEADER:
            self.host.change_catalog(encode_catalog_command(command), lambda *_: None)
        elif self._changes < CHANGES_MAX:
            self._changes += 1
            self._errands.start(self._change_catalog(command))

    async def _change_catalog(self, command: CatalogCommand) -> None:
        kind = type(command).__name__
        try:
            await self._catalog_leader.change(
                wire_catalog_command(command), time.monotonic() + CHANGE_SECONDS
            )
        except (Forbidden, NotChanged) as failure:
            self._not_changed.met(kind, command=kind, reason=failure)
        else:
            self._not_changed.over(kind, command=kind)
        finally:
            self._changes -= 1

    def log(self, event: str, **facts: object) -> None:
        """Log one fact."""
        log(event, **facts)

    # What metrics and probes ask for

    def peer_streams(self) -> dict[int, tuple[bool, float | None]]:
        """Return of each other node whether its stream is open, and the newest round trip."""
        return self._links.streams()

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
        if self._stop.is_set():
            return "it is stopping"
        return unready_reason(self.host, running_seconds=time.monotonic() - self._started)

    # Its own life

    @asynccontextmanager
    async def taking_part(self) -> AsyncIterator[None]:
        """Let the host live while the block runs. Nobody may call it who has not ended by then.

        So what the host uses is there for as long as anybody may call it: on leaving, its errands
        end first, then the threads' work, then its own turns. After that nothing calls it.
        """
        async with self._channels, self._errands:
            voters = catalog_voters(self._seeds.initial) if self._identity.initial else ()
            self._links.follow(self._identity.addresses)
            self.call(self.host.recover, voters, self.receiver.unfinished(self.items))
            yield
            await self._errands.end()
            await self._last_checkpoint()
            for thread in (self._log_thread, self._items_thread):
                await thread.stop()
            while self._turn_scheduled:  # noqa: ASYNC110 (they run out: nothing new arrives)
                await asyncio.sleep(0)
        self.sender.close()

    async def run(self) -> None:
        """Do what is to be done now and then, until told to stop; then hand leaderships over."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._tick()),
                tasks.create_task(self._check_in_place()),
                tasks.create_task(self._follower.follow()),
                tasks.create_task(scrub_for_ever(self.items, self._items_thread)),
                tasks.create_task(self._tidy_snapshots()),
            ]
            await self._stop.wait()
            log("stopping")
            if self.refusal is None:
                await self._drain()
            for task in running:
                task.cancel()

    def _leave(self, refusal: JoinRefused) -> None:
        """Stop for good: nothing that this node does may count any more."""
        if self.refusal is None:
            self.refusal = refusal
            self._stop.set()

    def peer_broken(self, node_id: int) -> None:
        """Tell the host that a peer may be dead."""
        self.call(self.host.peer_broken, node_id)

    def peer_connected(self, node_id: int) -> None:
        """Tell the host that a peer can be reached."""
        self.call(self.host.peer_connected, node_id)

    def peer_refused(self, node_id: int, address: str) -> None:
        """Find out why a peer does not let this node in."""
        del node_id
        if not self._asking_why:
            self._asking_why = True
            self._errands.start(self._ask_why(address))

    async def _ask_why(self, address: str) -> None:
        try:
            answer = await ask(self._identity, address, self._dialer)
            if answer is not None:
                check_answer(self._identity, address, answer)
        except JoinRefused as refusal:
            self._leave(refusal)
        finally:
            self._asking_why = False

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

    async def _drain(self) -> None:
        until = time.monotonic() + DRAIN_SECONDS
        while not self.call(self.host.drain) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(TICK_SECONDS)

    async def _last_checkpoint(self) -> None:
        """Write what is applied into the tree, so that the next start replays little."""
        await self._items_thread.all_done()  # a checkpoint that is under way
        self.call(self.host.checkpointer.start, time.monotonic())
