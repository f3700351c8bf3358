"""The process: builds the parts, runs them in one loop, and stops without losing a request."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from math import inf
from typing import Final
from uuid import uuid4

import orjson
import uvloop
from prometheus_client import disable_created_metrics

from quorate import __version__
from quorate.cluster.catalog import NodeRecord
from quorate.cluster.channels import Dialer
from quorate.exposition import expose, identity_labels
from quorate.grpc_connections import SWEEP_SECONDS, GrpcConnections
from quorate.http.addresses import BadAddress, check_free, is_loopback, split_address
from quorate.http.admin import ADMIN_LIMITS, JSON, AdminFace
from quorate.http.limits import HttpLimits
from quorate.http.server import HttpServer
from quorate.logs import configure, log, warn
from quorate.security.certificate_pair import CertificateRefused
from quorate.security.cluster_certificate import ClusterFiles
from quorate.security.cluster_roles import Caller, Role
from quorate.security.memory import hide_memory
from quorate.security.sealing import KeyFileRefused, load_key_file
from quorate.security.server_certificate import CertificateFiles
from quorate.security.watched_files import POLL_SECONDS, Expiring
from quorate.tracing.tracer import tracer_from_environment
from router.admission.leasing import Leasing
from router.admission.report import CapacityCollector, describe_accounts
from router.admission.tables import TableAdmission
from router.authentication import Authentication
from router.authorization import AuthorizedOperations
from router.call_log import CallLog
from router.call_trace import CallTracing
from router.catalog_view import CatalogView
from router.catalog_watch import CatalogWatch
from router.cluster_service import ClusterService
from router.cluster_status import describe_cluster
from router.control import NodeControl
from router.dispatch import TICK_SECONDS, Dispatch
from router.grpc_face import CONNECTIONS_PER_NETWORK_MAX, GrpcFace
from router.http_face import HttpFace
from router.large_requests import SWITCH_SECONDS, LargeRequests
from router.metrics import CertificateCollector, RouterMetrics
from router.operations import OPERATIONS
from router.options import RouterOptions
from router.public_faces import PublicFaces
from router.service import Service
from router.streams import Streams
from router.upstream import Upstream
from router.user_service import UserService
from router.wakefulness import Wakefulness

OPEN_FILES_WANTED: Final = 65_536
OPEN_FILES_SPARE: Final = 256
"""Files and sockets besides the clients' connections. Ours."""

STOP_MARGIN_SECONDS: Final = 0.5
"""At a stop, calls in flight get their time-out and this. Ours."""

HURRIED_EXIT: Final = 1
"""Exit code after a second signal: some clients may not have been answered."""

START_SECONDS_MAX: Final = 3.0
"""Longest wait for a way to every partition before clients are let in. Ours: after that they had
better hear what is wrong."""

LOOK_SECONDS: Final = 0.02
"""Between two looks whether a start can go on. Ours."""

GC_THRESHOLD: Final = 50_000
"""Allocations between two collections. Ours: requests make no cycles, so few are needed."""


class Refused(Exception):
    """The options cannot be served; the message is one sentence that says why."""


def serve(options: RouterOptions) -> None:
    """Run until SIGTERM or SIGINT. Raises Refused before anything was served."""
    configure(options.name, level=options.log_level, form=options.log_format)
    # Else each series has a second one.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    if any((options.key_file, options.tls_key, options.cluster_paths)):
        hide_memory()
    sys.setswitchinterval(SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))


async def _serve(options: RouterOptions) -> None:
    process = RouterProcess(options)
    refused: BaseException | None = None
    try:
        await process.run()
    except* Refused as refusals:
        refused = refusals.exceptions[0]
    if refused is not None:
        raise refused  # not above: what is raised in an except* may become a group again


class RouterProcess:
    """Everything that one router consists of."""

    def __init__(self, options: RouterOptions) -> None:
        """Raises Refused if the options contradict themselves."""
        self.options = options
        self._addresses = {
            "HTTP": self._address(options.http, is_public=True),
            "gRPC": self._address(options.grpc, is_public=True),
            "admin": self._address(options.admin, is_public=False),
        }
        self.authentication = self._authentication()
        self.certificates = self._certificates()
        self.cluster_files = self._cluster_files()
        if not options.nodes:
            raise Refused("at least one node's address is needed to learn the catalog from")
        # Not the loop's time: uvloop's has milliseconds. Both count from the same start.
        self.clock = time.monotonic
        self.started = self.clock()
        self.stop_wanted = asyncio.Event()
        self.listening = asyncio.Event()
        self.http_port = self.grpc_port = self.admin_port = 0  # known when listening
        self.view = CatalogView(options.cluster_id)
        self.dialer = Dialer(self.cluster_files)
        self.grpc_connections = GrpcConnections(CONNECTIONS_PER_NETWORK_MAX)
        self.control = NodeControl(
            options.nodes, lambda: self.view.catalog, self.clock, self.dialer
        )
        self.watch = CatalogWatch(self.view, self.control)
        self.large_requests = LargeRequests()
        self.admission = TableAdmission(self.clock)
        self.leasing = Leasing(
            self.admission,
            self.control.stub,
            router=f"{options.name}/{uuid4().hex}",  # names need not be unique, pools want it
            catalog=lambda: self.view.catalog,
            clock=self.clock,
        )
        self.dispatch = Dispatch(
            az=options.az,
            clock=self.clock,
            on_stale_catalog=self._refresh,
        )
        # Of all clocks this one goes on while the machine is suspended.
        self.wakefulness = Wakefulness(
            partial(time.clock_gettime, time.CLOCK_BOOTTIME), self._slept
        )
        self._faces: PublicFaces | None = None  # once there are any
        self._tasks: asyncio.TaskGroup | None = None
        self._slept_count = 0
        self.tracer = tracer_from_environment("router", options.name, options.az)
        self.metrics = RouterMetrics(
            self.clock,
            version=__version__,
            call_log=CallLog(time.time, slow_seconds=options.slow_request_ms / 1000 or inf),
        )

    async def run(self) -> None:
        """Serve until told to stop. Raises Refused (in a group) if an address is taken."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        async with self.control, asyncio.TaskGroup() as tasks:
            service = self._make_service(tasks)
            streams = Streams(self.dispatch, tasks, self._make_upstream)
            self.view.on_change(streams.catalog_changed)
            self.view.on_change(self.authentication.catalog_changed)
            self.view.on_change(self.admission.catalog_changed)
            http_face = self._make_http_face(service)
            http = self._make_http(http_face)
            admin = self._make_admin(tasks)
            make_grpc = partial(self._make_grpc, service)
            faces = PublicFaces(service, http_face, http, make_grpc, self.clock)
            self._faces, self._tasks = faces, tasks
            self._show_readings(http)
            self.metrics.registry.register(CapacityCollector(self.admission))
            self.metrics.registry.register(self._certificate_ends())
            self._check_addresses()
            await self._start("admin", admin.start(*self._addresses["admin"]))
            self.admin_port = admin.port
            running = [
                tasks.create_task(work)
                for work in (
                    self.watch.watch_forever(),
                    self.watch.refresh_forever(),
                    self._tick_forever(service),
                    self.leasing.run_forever(),
                    self._report_health(faces),
                    self._refresh_certificates_forever(),
                    http.sweep_forever(),
                    admin.sweep_forever(),
                    self._sweep_grpc_forever(faces),
                    self._bound_connections_forever(),
                )
            ]
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            await self._wait_until_able()
            if not self.stop_wanted.is_set():
                await self._listen(faces)
            await self.stop_wanted.wait()
            await self._drain(faces, admin)
            streams.stop()
            for task in running:
                task.cancel()
        if self.tracer is not None:
            self.tracer.close()

    def _told_to_stop(self) -> None:
        """Begin to drain; told twice, somebody is in a hurry."""
        if self.stop_wanted.is_set():
            warn("told_twice_to_stop", in_flight=self.dispatch.pending_count)
            os._exit(HURRIED_EXIT)
        self.stop_wanted.set()

    def _address(self, text: str, *, is_public: bool) -> tuple[str, int]:
        try:
            host, port = split_address(text)
        except BadAddress as error:
            raise Refused(str(error)) from error
        may_be_open = self.options.insecure or self.options.require_auth
        if is_public and not may_be_open and not is_loopback(host):
            raise Refused(
                f"listening on {host} needs --require-auth, or --insecure to serve anybody"
            )
        return host, port

    def _authentication(self) -> Authentication:
        path = self.options.key_file
        if path is None and self.options.require_auth:
            raise Refused(
                "--require-auth needs --key-file: without it no signature can be verified"
            )
        try:
            key_file = None if path is None else load_key_file(path)
        except KeyFileRefused as refusal:
            raise Refused(str(refusal)) from None
        return Authentication(
            key_file=key_file,
            always_required=self.options.require_auth,
            region=self.options.region,
            wall_clock=time.time,
            # With TLS a page of another name is shown no certificate that its browser takes.
            is_for_this_machine=is_loopback(self._addresses["HTTP"][0])
            and self.options.tls_cert is None,
        )

    def _certificates(self) -> CertificateFiles | None:
        certificate, key = self.options.tls_cert, self.options.tls_key
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise Refused("--tls-cert and --tls-key belong together")
        try:
            return CertificateFiles(certificate, key, time.time)
        except CertificateRefused as refusal:
            raise Refused(str(refusal)) from None

    def _cluster_files(self) -> ClusterFiles | None:
        options = self.options
        if options.cluster_paths is None:
            hosts = {node: self._address(node, is_public=False)[0] for node in options.nodes}
            far = [node for node, host in hosts.items() if not is_loopback(host)]
            if far:
                warn(
                    "INSECURE",
                    nodes=",".join(far),
                    because="no --cluster-cert: whoever is on the way reads and changes everything",
                )
            return None
        try:
            owner = Caller(Role.ROUTER, options.cluster_id)
            return ClusterFiles(options.cluster_paths, owner, time.time)
        except CertificateRefused as refusal:
            raise Refused(str(refusal)) from None

    def _certificate_ends(self) -> CertificateCollector:
        ends: dict[str, Callable[[], Expiring]] = {}
        if (certificates := self.certificates) is not None:
            ends["clients"] = lambda: certificates.current
        if (cluster_files := self.cluster_files) is not None:
            ends["nodes"] = lambda: cluster_files.current
        return CertificateCollector(ends)

    async def _refresh_certificates_forever(self) -> None:
        watched = [files for files in (self.certificates, self.cluster_files) if files is not None]
        while watched:
            await asyncio.sleep(POLL_SECONDS)
            for files in watched:
                files.refresh()

    def _make_service(self, tasks: asyncio.TaskGroup) -> Service:
        service = Service(
            AuthorizedOperations(OPERATIONS, self.authentication),
            view=self.view,
            watch=self.watch,
            control=self.control,
            dispatch=self.dispatch,
            admission=self.admission,
            large_requests=self.large_requests,
            tasks=tasks,
        )
        service.tracing = None if self.tracer is None else CallTracing(self.tracer)
        return service

    def _make_admin(self, tasks: asyncio.TaskGroup) -> HttpServer:
        face = AdminFace(
            {b"/metrics": self._scrape, b"/status": self._status},
            unready_reason=self._unready_reason,
            tasks=tasks,
            unserving_reason=self._unserving_reason,
        )
        return HttpServer(face.handle, ADMIN_LIMITS)

    def _make_http_face(self, service: Service) -> HttpFace:
        return HttpFace(
            service,
            self.metrics,
            self.clock,
            authentication=self.authentication,
            request_timeout_ms=self.options.request_timeout_ms,
            call_soon=asyncio.get_running_loop().call_soon,
            cors_origins=self.options.cors_origins,
            probe_status=self.options.probe_status,
        )

    def _make_http(self, face: HttpFace) -> HttpServer:
        connections_max = _connections_max(self.options.connections_max)
        limits = HttpLimits(
            connections_max=connections_max,
            # Unless told, one address does not get them all.
            connections_per_network_max=(
                self.options.connections_per_network_max or max(1, connections_max // 2)
            ),
        )
        certificates = self.certificates
        tls = None if certificates is None else lambda: certificates.current.context
        age_seconds_max = self.options.connection_age_seconds or inf
        return HttpServer(face.handle, limits, tls=tls, door=face, age_seconds_max=age_seconds_max)

    def _make_grpc(self, service: Service) -> GrpcFace:
        return GrpcFace(
            service,
            self.metrics,
            self.clock,
            authentication=self.authentication,
            operator_services=[
                served(
                    view=self.view,
                    control=self.control,
                    authentication=self.authentication,
                    clock=self.clock,
                    timeout_seconds=self.options.request_timeout_ms / 1000,
                )
                for served in (UserService, ClusterService)
            ],
            options=self.options,
            certificates=self.certificates,
        )

    def _check_addresses(self) -> None:
        """Find out at once what `_listen` would find out later. Raises Refused."""
        for name, (host, port) in self._addresses.items():
            try:
                check_free(host, port)
            except OSError as error:
                raise self._cannot_listen(name, error) from None

    async def _wait_until_able(self) -> None:
        """Wait until requests have somewhere to go, so that no balancer sends them too early."""
        until = self.clock() + START_SECONDS_MAX
        while self._unable_reason() and self.clock() < until:
            if self.stop_wanted.is_set():
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _listen(self, faces: PublicFaces) -> None:
        """Let clients in."""
        try:
            await self._start("HTTP", faces.http.start(*self._addresses["HTTP"]))
            await self._start("gRPC", faces.grpc.start(*self._addresses["gRPC"]))
        except Refused:
            await faces.grpc.stop(0)
            raise
        self.http_port, self.grpc_port = faces.http.port, faces.grpc.port
        self.listening.set()
        log(
            "serving",
            http=self.options.http,
            grpc=self.options.grpc,
            admin=self.options.admin,
            tls=self.certificates is not None,
            az=self.options.az,
        )
        hosts = {self._addresses[face][0] for face in ("HTTP", "gRPC")}
        beyond = sorted(host for host in hosts if not is_loopback(host))
        if self.certificates is None and beyond:
            warn(
                "INSECURE",
                listen=",".join(beyond),
                because="no --tls-cert: whoever is on the way reads every item, and can repeat or,"
                " on gRPC, change requests",
            )

    async def _start(self, name: str, start: Coroutine[object, object, None]) -> None:
        """Start to listen. Raises Refused."""
        try:
            await start
        except OSError as error:
            raise self._cannot_listen(name, error) from None

    def _cannot_listen(self, name: str, error: OSError) -> Refused:
        host, port = self._addresses[name]
        return Refused(f"cannot listen on {host}:{port} for {name}: {_reason(error)}")

    def _make_upstream(self, node: NodeRecord) -> Upstream:
        return Upstream(
            node,
            self.dispatch,
            dialer=self.dialer,
            clock=self.clock,
            wakefulness=self.wakefulness,
            epoch=lambda: self.view.epoch,
            on_epoch=self.watch.noticed_epoch,
        )

    def _refresh(self) -> None:
        self.watch.refresh()

    async def _tick_forever(self, service: Service) -> None:
        while True:
            asleep_at = self.clock()
            await asyncio.sleep(TICK_SECONDS)
            self.wakefulness.look()
            self.metrics.loop_delayed(self.clock() - asleep_at - TICK_SECONDS)
            service.tick()

    async def _sweep_grpc_forever(self, faces: PublicFaces) -> None:
        """End what nobody uses."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            faces.grpc.sweep()

    async def _bound_connections_forever(self) -> None:
        """Close gRPC's connections that are more than a network's share."""
        await self.listening.wait()
        await self.grpc_connections.sweep_forever(self.grpc_port)

    def _slept(self, seconds: float) -> None:
        """Do nothing of what was sent before this process woke: its ids may be forgotten."""
        self._slept_count += 1
        warn("slept", seconds=round(seconds, 1), dropped=self.dispatch.pending_count)
        if self._faces is None or not self.listening.is_set():
            return
        self._faces.drop_all()
        if not self.stop_wanted.is_set():
            assert self._tasks is not None
            self._tasks.create_task(self._begin_anew(self._faces))

    async def _begin_anew(self, faces: PublicFaces) -> None:
        await self._start("gRPC", faces.begin_anew(self._addresses["gRPC"][0]))

    async def _report_health(self, faces: PublicFaces) -> None:
        """Serving begins with the first catalog and ends with the process."""
        await self.listening.wait()
        await self.view.wait_for(1, float("inf"))
        await faces.grpc.set_serving(serving=True)

    def _unserving_reason(self) -> str:
        """Return why no client is let in, "" if clients are: no matter whom it can serve."""
        if self.stop_wanted.is_set():
            return "stopping"
        return "" if self.listening.is_set() else "not listening yet"

    def _unready_reason(self) -> str:
        if self.stop_wanted.is_set():
            return "stopping"
        return self._unable_reason() or self._unserving_reason()

    def _unable_reason(self) -> str:
        """Return why some requests would have nowhere to go, "" if all have."""
        if not self.view.epoch:
            return "no catalog yet"
        without = [
            str(partition.id)
            for partition in self.view.catalog.partitions
            if not self.dispatch.is_led(partition.id)
        ]
        return f"no leader known for partitions {', '.join(without)}" if without else ""

    async def _scrape(self, headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
        options = self.options
        labels = identity_labels(cluster=options.cluster_id, az=options.az, name=options.name)
        # The numbers are picked up here, where they change; text is made of them elsewhere.
        families = list(self.metrics.registry.collect())
        return await asyncio.to_thread(expose, families, labels, headers)

    async def _status(self, _: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
        statuses = await self.control.statuses(table_sizes=True)
        router: dict[str, object] = {
            "name": self.options.name,
            "pid": os.getpid(),
            "uptime_seconds": round(self.clock() - self.started, 3),
            "version": __version__,
            "signatures": "required" if self.authentication.is_required else "not required",
            "tables": describe_accounts(self.admission),
        }
        document = describe_cluster(self.view.catalog, statuses, router)
        return JSON, orjson.dumps(document, option=orjson.OPT_INDENT_2)

    async def _drain(self, faces: PublicFaces, admin: HttpServer) -> None:
        """Take no more requests and answer those in flight; bounded by their time-outs."""
        log("stopping", in_flight=self.dispatch.pending_count)
        await faces.drain(self.options.request_timeout_ms / 1000 + STOP_MARGIN_SECONDS)
        admin.stop_accepting()
        admin.abort_all()
        self.large_requests.close()

    def _show_readings(self, http: HttpServer) -> None:
        show, count = self.metrics.gauge, self.metrics.counter
        prefix = "quorate_router"
        counters = self.dispatch.counters
        show(f"{prefix}_in_flight", "Requests at nodes.", lambda: self.dispatch.pending_count)
        show(
            f"{prefix}_in_flight_max",
            "Requests at nodes above which calls are refused at the door.",
            lambda: self.dispatch.in_flight_max,
        )
        show(f"{prefix}_catalog_epoch", "Epoch of the cached catalog.", lambda: self.view.epoch)
        show(f"{prefix}_http_connections", "Open connections.", lambda: http.connection_count)
        show(
            f"{prefix}_http_connections_max",
            "Connections above which further ones are turned away.",
            lambda: http.limits.connections_max,
        )
        show(f"{prefix}_ready", "1 if every partition has a leader.", lambda: self.is_ready)
        count(f"{prefix}_retries", "Requests sent again.", lambda: counters.retries)
        count(
            f"{prefix}_sleeps",
            "Times this process stood still and dropped what was sent before it woke.",
            lambda: self._slept_count,
        )
        count(f"{prefix}_batches", "Messages sent to nodes.", lambda: counters.batches)
        self.metrics.count_unread(http.refusals)
        count(f"{prefix}_refused_full", "Refused at the door.", lambda: counters.refused_full)
        count(
            f"{prefix}_unknown_outcomes",
            "Writes whose outcome stayed unknown.",
            lambda: counters.unknown_outcomes,
        )
        count(
            f"{prefix}_leader_changes",
            "Leader changes seen.",
            lambda: self.dispatch.leaders.changes,
        )
        count(
            f"{prefix}_http_refused",
            "HTTP requests refused before they were read.",
            lambda: sum(http.refusals.values()),
        )
        count(
            f"{prefix}_tls_handshakes_failed",
            "TLS handshakes of HTTP clients refused, broken off or too slow.",
            lambda: http.handshakes_failed,
        )

    @property
    def is_ready(self) -> bool:
        """Whether this router has a catalog and a way to every partition's leader."""
        return not self._unready_reason()


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "the address is taken or not ours"


def _connections_max(wanted: int) -> int:
    """Raise the limit of open files as far as allowed; return the connections that fit in it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        soft_wanted = min(hard, max(soft, OPEN_FILES_WANTED))
    else:
        soft_wanted = max(soft, OPEN_FILES_WANTED)
    if soft_wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft_wanted, hard))
    return max(1, min(wanted, soft_wanted - OPEN_FILES_SPARE))
