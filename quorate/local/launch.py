"""Runs a local cluster from start to end: checks first, then processes, then one line `ready`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from node.storage.errors import StorageError
from node.storage.identity import load_identity
from quorate.local import control, ports, topology
from quorate.local.certificates import has_certificates, make_missing, paths_of
from quorate.local.data_dir import DataDir, key_path
from quorate.local.processes import ProcessPlan, RouterPorts, plan_node, plan_router
from quorate.local.supervisor import StartFailed, Supervisor, print_event, print_line
from quorate.local.topology import HOST, LocalNode, Topology
from quorate.security.cluster_certificate import ClusterPaths
from quorate.security.cluster_roles import Role
from quorate.security.development_ca import AuthorityRefused
from quorate.security.private_directory import DIRECTORY_MODE
from quorate.security.sealing import create_key_file


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What `quorate up` was asked for; None leaves it to the stamp, or to the default.

    `secure` gives the processes certificates; a cluster that had some has them ever after.
    """

    data_dir: Path
    public: RouterPorts
    nodes_per_az: int | None = None
    partitions: int | None = None
    routers: int = 1
    secure: bool = False
    log_level: str = "info"


def launch(options: LaunchOptions) -> bool:
    """Run the cluster until SIGINT or SIGTERM; return False if it could not be started.

    Raises DataDirRefused, TopologyRefused, PortUnusable or AuthorityRefused before anything is
    started.
    """
    data_dir = DataDir(options.data_dir.absolute())
    if data_dir.modes_changed:
        print_line(f"{data_dir.path} was open to other users: it no longer is")
    try:
        _check_public_ports(options.public)
        settled = _settle_topology(data_dir.path, options)
        (data_dir.path / "nodes").mkdir(DIRECTORY_MODE, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            create_key_file(key_path(data_dir.path))
        if options.secure or has_certificates(data_dir.path):
            make_missing(data_dir.path, settled.cluster_id, _names(settled))
        routers = _router_ports(options, settled)
        settled = _settle_admin_ports(data_dir.path, settled, routers)
        return asyncio.run(_run(data_dir, settled, routers, options))
    finally:
        data_dir.close()


def _check_public_ports(public: RouterPorts) -> None:
    named = {
        "DynamoDB HTTP": (public.http, "QUORATE_HTTP_PORT"),
        "gRPC": (public.grpc, "QUORATE_GRPC_PORT"),
        "admin": (public.admin, "QUORATE_ADMIN_PORT"),
    }
    if len({port for port, _ in named.values()}) != len(named):
        raise ports.PortUnusable(
            f"the HTTP, gRPC and admin ports must differ: they are {public.http}, {public.grpc}"
            f" and {public.admin}"
        )
    for purpose, (port, setting) in named.items():
        ports.check_port(HOST, port, purpose=purpose, setting=setting)


def _is_free(port: int) -> bool:
    return ports.try_listen(HOST, port) is None


def _choose(count: int, taken: Sequence[int]) -> list[int]:
    # A random start: two clusters of one machine, started one after the other, rarely meet.
    start = random.SystemRandom().randrange(ports.PORT_MIN, ports.PORT_MAX)
    return ports.choose_ports(
        count, start=start, is_free=_is_free, ephemeral=ports.ephemeral_range(), taken=taken
    )


def _settle_topology(data_dir: Path, options: LaunchOptions) -> Topology:
    """Return the stamped topology, stamping a new one into an empty directory."""
    stamped = topology.read_stamp(data_dir)
    if stamped is not None:
        topology.check_same(
            stamped,
            data_dir=data_dir,
            nodes_per_az=options.nodes_per_az,
            partitions=options.partitions,
        )
        for node in _to_start(data_dir, stamped):
            ports.check_port(
                HOST,
                node.port,
                purpose=f"of node {node.name}, settled in {topology.stamp_path(data_dir)}",
                setting="nothing: it must be free for this cluster",
            )
        return stamped
    topology.check_unstamped(data_dir)
    nodes_per_az = options.nodes_per_az or 1
    public = [options.public.http, options.public.grpc, options.public.admin]
    chosen = _choose(nodes_per_az * len(topology.AZ_NAMES), public)
    settled = topology.new_topology(
        nodes_per_az, options.partitions or topology.PARTITIONS_DEFAULT, chosen
    )
    topology.write_stamp(data_dir, settled)
    return settled


def _router_ports(options: LaunchOptions, settled: Topology) -> list[RouterPorts]:
    """Return the ports of each router: the first has the public ones, the others any free ones."""
    public = options.public
    free = _choose(3 * (options.routers - 1), _taken(options.public, settled))
    others = [
        RouterPorts(http=free[at], grpc=free[at + 1], admin=free[at + 2])
        for at in range(0, len(free), 3)
    ]
    return [public, *others]


def _settle_admin_ports(
    data_dir: Path, settled: Topology, routers: Sequence[RouterPorts]
) -> Topology:
    """Return the topology with a port for each node's admin face, and stamp those that are new.

    A port that somebody else has meanwhile is no reason not to start.
    """
    of_routers = {port for each in routers for port in (each.http, each.grpc, each.admin)}
    without = [
        node.name
        for node in _to_start(data_dir, settled)
        if node.admin_port == 0 or node.admin_port in of_routers or not _is_free(node.admin_port)
    ]
    if not without:
        return settled
    taken = [port for router in routers for port in _taken(router, settled)]
    chosen = dict(zip(without, _choose(len(without), taken), strict=True))
    settled = topology.with_admin_ports(settled, chosen)
    topology.write_stamp(data_dir, settled)
    return settled


def _names(settled: Topology) -> list[str]:
    return [node.name for node in settled.all_nodes]


def _taken(public: RouterPorts, settled: Topology) -> list[int]:
    of_nodes = [port for node in settled.all_nodes for port in (node.port, node.admin_port)]
    return [public.http, public.grpc, public.admin, *of_nodes]


async def _run(
    data_dir: DataDir,
    settled: Topology,
    routers: Sequence[RouterPorts],
    options: LaunchOptions,
) -> bool:
    stop = asyncio.Event()
    plans = _plans(data_dir, settled, routers, options)
    supervisor = Supervisor(data_dir, plans, say=print_event)
    _stop_on_signals(supervisor, stop)
    growing = _Growing(data_dir, settled, options, supervisor)
    node_count = len(plans) - len(routers)
    planned = {plan.name for plan in plans}
    for node in settled.all_nodes:
        if node.name not in planned:
            print_line(
                f"{node.name} was replaced or removed: it is not started, its directory may be"
                " deleted"
            )
    counts = f"{node_count} nodes in {len(topology.AZ_NAMES)} AZs, {len(routers)} router(s)"
    how = " with certificates" if has_certificates(data_dir.path) else ""
    print_line(f"starting cluster {settled.cluster_id}{how}: {counts}; data in {data_dir.path}")
    listener = await control.serve(data_dir.socket_path, growing.handle)
    try:
        await supervisor.start([f"{HOST}:{router.admin}" for router in routers], stop)
        if not stop.is_set():
            _print_processes(supervisor)
            _print_ready(options.public)
            await stop.wait()
        print_line("stopping (once more to kill)")
        await supervisor.stop()
        print_line("stopped")
    except StartFailed as failure:
        print_line(f"quorate: {failure}")
        return False
    finally:
        listener.close()
        data_dir.socket_path.unlink(missing_ok=True)
    return True


def _plans(
    data_dir: DataDir,
    settled: Topology,
    routers: Sequence[RouterPorts],
    options: LaunchOptions,
) -> list[ProcessPlan]:
    own_pid, level = os.getpid(), options.log_level
    nodes = [
        plan_node(
            settled,
            node,
            admin_port=node.admin_port,
            data_dir=data_dir.path,
            certificate=_certificate(data_dir.path, Role.NODE, node.name),
            parent_pid=own_pid,
            log_level=level,
        )
        for node in _to_start(data_dir.path, settled)
    ]
    return nodes + [
        plan_router(
            settled,
            number,
            router,
            key_file=key_path(data_dir.path),
            certificate=_certificate(data_dir.path, Role.ROUTER),
            parent_pid=own_pid,
            log_level=level,
        )
        for number, router in enumerate(routers, start=1)
    ]


def _certificate(data_dir: Path, role: Role, name: str = "") -> ClusterPaths | None:
    return paths_of(data_dir, role, name) if has_certificates(data_dir) else None


def _to_start(data_dir: Path, settled: Topology) -> list[LocalNode]:
    """Return the nodes but those whose directory says that another one has their place."""
    return [node for node in settled.all_nodes if not _was_replaced(data_dir / "nodes" / node.name)]


def _was_replaced(directory: Path) -> bool:
    try:
        identity = load_identity(directory)
    except StorageError:
        return False  # the node says what is wrong
    return identity is not None and identity.removed


class _Growing:
    """The supervisor, to which nodes can be added while it runs."""

    def __init__(
        self,
        data_dir: DataDir,
        settled: Topology,
        options: LaunchOptions,
        supervisor: Supervisor,
    ) -> None:
        self._data_dir = data_dir
        self._settled = settled
        self._options = options
        self._supervisor = supervisor

    async def handle(self, action: str, name: str, az: str) -> dict[str, object]:
        """Do what a control request asks for; the handler of `quorate.local.control`."""
        if action != "add":
            return await self._supervisor.handle(action, name)
        try:
            ports_of_node = _choose(2, _taken(self._options.public, self._settled))
            grown = topology.add_node(self._settled, name, az, *ports_of_node)
            if has_certificates(self._data_dir.path):
                make_missing(self._data_dir.path, grown.cluster_id, [name])
        except (topology.TopologyRefused, ports.PortUnusable, AuthorityRefused) as refusal:
            raise control.ControlRefused(str(refusal)) from refusal
        plan = plan_node(
            grown,
            grown.added[-1],
            admin_port=grown.added[-1].admin_port,
            data_dir=self._data_dir.path,
            certificate=_certificate(self._data_dir.path, Role.NODE, name),
            parent_pid=os.getpid(),
            log_level=self._options.log_level,
        )
        self._supervisor.check_may_add(plan)
        topology.write_stamp(self._data_dir.path, grown)
        self._settled = grown
        return await self._supervisor.add(plan)


def _stop_on_signals(supervisor: Supervisor, stop: asyncio.Event) -> None:
    def asked() -> None:
        if stop.is_set():
            supervisor.kill_all()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked)


def _print_processes(supervisor: Supervisor) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("process", "AZ", "pid", "listens on"):
        table.add_column(heading)
    for child in supervisor.children.values():
        table.add_row(child.plan.name, child.plan.az, str(child.pid), child.plan.listens)
    Console(soft_wrap=True).print(table)


def _print_ready(public: RouterPorts) -> None:
    http = f"http://{HOST}:{public.http}"
    print_line(
        f"ready: DynamoDB HTTP {http}   gRPC {HOST}:{public.grpc}"
        f"   admin http://{HOST}:{public.admin}"
    )
    print_line(
        f"export AWS_ENDPOINT_URL_DYNAMODB={http} AWS_REGION=local AWS_ACCESS_KEY_ID=any"
        " AWS_SECRET_ACCESS_KEY=any"
    )
    # For the commands of another terminal, if these are not the default ports.
    print_line(f"export QUORATE_GRPC_PORT={public.grpc} QUORATE_ADMIN_PORT={public.admin}")
    command = _command()
    print_line("to try it, in another terminal:")
    print_line(f"  {command} table create songs --partition-key artist:S --if-not-exists")
    print_line(f"""  {command} put songs '{{"artist": "Nina Simone"}}' && {command} status""")


def _command() -> str:
    """Return how a shell in this folder calls the `quorate` command."""
    beside = Path(sys.executable).with_name("quorate")
    found = shutil.which("quorate")
    if found is not None and Path(found).resolve() == beside.resolve():
        return "quorate"
    if not beside.exists():
        return f"{shlex.quote(sys.executable)} -m quorate"
    is_below = beside.is_relative_to(Path.cwd())
    return shlex.quote(str(beside.relative_to(Path.cwd()) if is_below else beside))
