"""A node process from start to end: directory, identity, stores, service, loop."""

from __future__ import annotations

import asyncio
import gc
import secrets
import signal
import sys
import threading
import time
from contextlib import AsyncExitStack
from functools import partial
from math import inf
from pathlib import Path
from typing import Final

import grpc.aio
import uvloop
from prometheus_client import disable_created_metrics

from node.acquaintances import Acquaintances
from node.admin import serve_admin
from node.exits import (
    BUG_EXIT,
    HURRIED_EXIT,
    IDENTITY_EXIT,
    IN_USE_EXIT,
    REFUSED_EXIT,
    STORAGE_ERROR_EXIT,
)
from node.guard import Guard
from node.join import JoinRefused, NodeRemoved, Seeds, join
from node.logs import configure, die, log, warn
from node.metrics.observed import Observed
from node.metrics.page import MetricsPage
from node.options import NodeOptions
from node.server import NodeServicer
from node.shell import ProcessShell
from node.storage.errors import (
    CorruptIdentity,
    DataLost,
    DirectoryInUse,
    DirectoryUnusable,
    ForeignDirectory,
    ForeignStore,
    IdentityLost,
    StorageError,
    StorageFull,
)
from node.storage.identity import (
    DirectoryLock,
    Identity,
    Start,
    check_identity,
    load_identity,
    save_identity,
)
from node.storage.items import ItemStore
from node.storage.log import LogStore
from node.tracing import NodeTracing
from quorate.cluster.channels import (
    CONNECTIONS_PER_NETWORK_MAX,
    SERVER_OPTIONS,
    Dialer,
    server_credentials,
)
from quorate.exposition import identity_labels
from quorate.grpc_connections import GrpcConnections
from quorate.http.addresses import is_loopback, split_address
from quorate.security.certificate_pair import CertificateRefused
from quorate.security.cluster_certificate import ClusterFiles
from quorate.security.cluster_roles import Caller, Role
from quorate.security.memory import hide_memory
from quorate.security.watched_files import POLL_SECONDS
from quorate.tracing.tracer import tracer_from_environment

SWITCH_INTERVAL_SECONDS: Final = 0.0005
"""With Python's default of 5 ms the log's thread waits as long for the interpreter beside a busy
loop (measured)."""

GC_THRESHOLD: Final = 50_000
"""Allocations between two collections. Ours: neither messages nor requests make cycles; with the
default of 700 a sixth of what a thousand idle groups cost was looking for some (measured)."""

STOP_SECONDS: Final = 0.3
"""How long open calls may go on after the service has been told to stop. Ours."""

STOP_SECONDS_MAX: Final = 25.0
"""Longest time from the signal to the end, whatever the disk does. Ours: less than the 30 s that
container engines are told to wait."""


def run_process(options: NodeOptions) -> int:
    """Run a node until SIGTERM or SIGINT; return the process's exit code.

    0 stopped; 1 stopped in a hurry; 2 bad options; 3 storage error; 4 wrong or lost identity;
    5 directory in use.
    """
    if not __debug__:
        return _refuse("assertions are off (-O or PYTHONOPTIMIZE): they are safety checks here")
    problem = options.problem()
    if problem is not None:
        return _refuse(problem)
    configure(options.name, level=options.log_level, form=options.log_format)
    # Else each series has a second one.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
    try:
        files = _certificates(options)
    except CertificateRefused as refusal:
        return _refuse(str(refusal))
    try:
        lock = DirectoryLock.acquire(options.data_dir)
        if too_wide := lock.tighten():
            warn("directory_closed_to_others", directory=options.data_dir, modes_changed=too_wide)
    except DirectoryInUse as error:
        return _refuse(str(error), IN_USE_EXIT)
    except DirectoryUnusable as error:
        return _refuse(str(error))
    try:
        identity = _identity(options)
        # A node that has joined has both: an empty one would have forgotten what it promised.
        new = not identity.joined
        owner = identity.incarnation
        log_store = LogStore.open(
            options.data_dir / "log",
            map_size_bytes=options.map_size_bytes,
            create=new,
            owner=owner,
        )
        items = ItemStore.open(options.data_dir / "items", create=new, owner=owner)
    except (
        ForeignDirectory,
        ForeignStore,
        IdentityLost,
        CorruptIdentity,
        DataLost,
        JoinRefused,
    ) as error:
        return _refuse(str(error), IDENTITY_EXIT)
    except StorageError as error:
        return _refuse(str(error), STORAGE_ERROR_EXIT)
    return uvloop.run(_serve(options, files, lock, identity, log_store, items))


async def _serve(
    options: NodeOptions,
    files: ClusterFiles | None,
    lock: DirectoryLock,
    identity: Identity,
    log_store: LogStore,
    items: ItemStore,
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_die_of_bug)
    stop = _stop_when_told(loop)
    acquaintances = Acquaintances(identity, partial(_remember, options.data_dir))
    guard = Guard(options.cluster_id if files is not None else "")
    servicer = NodeServicer(acquaintances, options.data_dir, guard)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((guard.handlers(servicer),))
    if not _listen(server, options.listen, files):
        return _refuse(f"cannot listen on {options.listen}: the address is in use or not ours")
    await server.start()
    dialer = Dialer(files)
    housekeeping = loop.create_task(_keep_house(files, options.listen))

    seeds = _seeds(options)
    observed = _observed(options)
    metrics = _metrics_page(options, observed, files)
    refusal: JoinRefused | None = None
    async with serve_admin(options.admin, metrics, lambda: servicer.shell) as admin_refusal:
        if admin_refusal:
            await server.stop(0)
            return _refuse(admin_refusal)
        async with AsyncExitStack() as parts:
            try:
                if await join(identity, seeds, dialer, partial(_save, options.data_dir), stop):
                    shell = ProcessShell(
                        seeds=seeds,
                        log_store=log_store,
                        items=items,
                        lock=lock,
                        servicer=servicer,
                        observed=observed,
                        dialer=dialer,
                        stop=stop,
                    )
                    await parts.enter_async_context(shell.taking_part())
                    servicer.shell = shell
                    gc.freeze()
                    gc.set_threshold(GC_THRESHOLD)
                    log("serving", node=identity.node_id, listen=options.listen, az=options.az)
                    await shell.run()
            except JoinRefused as refused:
                refusal = refused
            # Callers first: what the host uses is there until nobody can call it any more.
            servicer.end_streams()
            await server.stop(STOP_SECONDS)
            await guard.wait_empty()
        if servicer.shell is not None:
            refusal = servicer.shell.refusal
        if isinstance(refusal, NodeRemoved):
            identity.removed = True
            _remember(options.data_dir, identity)
    housekeeping.cancel()
    observed.close()
    log_store.close()
    items.close()
    lock.release()
    if refusal is not None:
        return _refuse(str(refusal), IDENTITY_EXIT)
    log("stopped")
    return 0


async def _keep_house(files: ClusterFiles | None, listen: str) -> None:
    """Take new certificates, and close what is more than a network's share of connections."""
    _, port = split_address(listen)
    connections = GrpcConnections(CONNECTIONS_PER_NETWORK_MAX)
    await asyncio.gather(_refresh_for_ever(files), connections.sweep_forever(port))


def _observed(options: NodeOptions) -> Observed:
    tracer = tracer_from_environment("node", options.name, options.az)
    return Observed(
        slow_seconds=options.slow_request_ms / 1000 or inf,
        tracing=None if tracer is None else NodeTracing(tracer, options.name),
    )


def _metrics_page(
    options: NodeOptions, observed: Observed, files: ClusterFiles | None
) -> MetricsPage:
    return MetricsPage(
        observed,
        labels=identity_labels(cluster=options.cluster_id, az=options.az, name=options.name),
        data_dir=options.data_dir,
        certificate=None if files is None else lambda: files.current,
    )


def _seeds(options: NodeOptions) -> Seeds:
    return Seeds(
        initial=options.node_records(),
        addresses=options.join,
        own_address=options.address(),
        partitions=options.partitions,
    )


def _listen(server: grpc.aio.Server, address: str, files: ClusterFiles | None) -> bool:
    try:
        if files is None:
            return server.add_insecure_port(address) != 0
        return server.add_secure_port(address, server_credentials(files)) != 0
    except RuntimeError:
        return False


def _certificates(options: NodeOptions) -> ClusterFiles | None:
    """Return this node's certificate, None if it has none. Raises CertificateRefused."""
    host, _ = split_address(options.listen)
    if options.cluster_paths is None:
        if not is_loopback(host):
            warn(
                "INSECURE",
                listen=options.listen,
                because="no --cluster-cert: any caller is believed",
            )
        return None
    hide_memory()
    owner = Caller(Role.NODE, options.cluster_id, options.name)
    return ClusterFiles(options.cluster_paths, owner, time.time)


async def _refresh_for_ever(files: ClusterFiles | None) -> None:
    while files is not None:
        await asyncio.sleep(POLL_SECONDS)
        files.refresh()


def _stop_when_told(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    """Return what the first signal sets; the second one, or too long a stop, ends the process."""
    stop = asyncio.Event()
    watchdog = threading.Timer(
        STOP_SECONDS_MAX,
        lambda: die(HURRIED_EXIT, "stopped_in_a_hurry", after_seconds=STOP_SECONDS_MAX),
    )
    watchdog.daemon = True

    def told() -> None:
        if watchdog.is_alive():
            die(HURRIED_EXIT, "stopped_in_a_hurry", because="it was told twice")
        watchdog.start()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    return stop


def _identity(options: NodeOptions) -> Identity:
    """Return the directory's identity, drawn anew for one that was never used; count the start.

    Raises JoinRefused if it must not take part.
    """
    number = next((node.id for node in options.node_records() if node.name == options.name), 0)
    identity = load_identity(options.data_dir)
    if identity is None:
        identity = Identity(
            cluster_id=options.cluster_id,
            node_id=number,
            name=options.name,
            az=options.az,
            incarnation=secrets.token_hex(16),
        )
    check_identity(
        options.data_dir,
        identity,
        cluster_id=options.cluster_id,
        name=options.name,
        az=options.az,
    )
    if identity.removed:
        raise NodeRemoved(identity)
    if identity.initial and identity.node_id != number:
        raise JoinRefused(
            f"{options.data_dir} is initial node {identity.node_id}'s, and the members given make "
            f"it node {number}: give the members that the cluster began with"
        )
    identity.start = Start(identity.start.number + 1, secrets.token_hex(8))
    save_identity(options.data_dir, identity)
    return identity


def _remember(directory: Path, identity: Identity) -> None:
    """Save what was learned of other nodes; a full disk may forget some of it."""
    try:
        save_identity(directory, identity)
    except StorageFull as error:
        warn("identity_not_saved", error=error)
    except StorageError as error:
        die(STORAGE_ERROR_EXIT, "storage_failed", error=error)


def _save(directory: Path, identity: Identity) -> None:
    """Save what this node is about to act on."""
    try:
        save_identity(directory, identity)
    except StorageError as error:
        die(STORAGE_ERROR_EXIT, "storage_failed", error=error)


def _die_of_bug(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """End the process: an exception that nobody expected must not be served past."""
    del loop
    error = context.get("exception")
    if isinstance(error, AssertionError):
        die(BUG_EXIT, "bug", error=repr(error), message=context.get("message"))
    log("unexpected", error=repr(error), message=context.get("message"))


def _refuse(sentence: str, code: int = REFUSED_EXIT) -> int:
    print(f"quorate node: {sentence}", file=sys.stderr)  # noqa: T201 - for whoever started us
    return code
