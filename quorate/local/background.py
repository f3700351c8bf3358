"""A local cluster in the background: `quorate up` as a child process, and handles on its parts.

The demo, the benches and the tests with real processes start their clusters with this, so what
they run is exactly what a person runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from model.keys import KeySchema, collection_prefix, token_of
from quorate.cluster.catalog import PartitionRecord
from quorate.cluster.ring import Ring
from quorate.local import admin_http, control, ports
from quorate.local.processes import RouterPorts
from quorate.local.topology import HOST
from quorate.security.private_directory import private_opener

READY_TIMEOUT_SECONDS_DEFAULT: Final = 60.0
"""Longest wait for the cluster to serve. Ours: as the supervisor's own."""

STOP_TIMEOUT_SECONDS: Final = 30.0
"""Longest wait for `quorate up` to end after SIGINT. Ours: above the supervisor's own bounds."""

LINES_SHOWN: Final = 20
"""Lines of a failed cluster's output and logs that are shown. Ours."""

POLL_SECONDS: Final = 0.05
"""Between two looks at something that is about to happen. Ours."""


class ClusterFailed(Exception):
    """The cluster did not do what it was asked in time; the text has its last lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessView:
    """One process of the cluster as the supervisor sees it; `pid` is None if it does not run."""

    name: str
    kind: str
    az: str
    pid: int | None
    state: str
    ended: str
    ports: Mapping[str, int]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now, outside the ephemeral range."""
    return ports.choose_ports(
        count,
        start=random.SystemRandom().randrange(ports.PORT_MIN, ports.PORT_MAX),
        is_free=lambda port: ports.try_listen(HOST, port) is None,
        ephemeral=ports.ephemeral_range(),
    )


def wait_until(done: Callable[[], bool], *, what: str, timeout_seconds: float) -> None:
    """Return when `done()` is true; raises ClusterFailed, saying `what`, if it stays false."""
    deadline = time.monotonic() + timeout_seconds
    while not done():
        if time.monotonic() > deadline:
            raise ClusterFailed(f"not within {timeout_seconds:g} s: {what}")
        time.sleep(POLL_SECONDS)


def partition_of(
    status: Mapping[str, Any], table_name: str, partition_key: Mapping[str, str]
) -> int:
    """Return the id of the partition that holds a partition key value ({"S": ...}) of a table.

    `status` is a router's /status document.
    """
    (table_id,) = (table["id"] for table in status["tables"] if table["name"] == table_name)
    ((value_type, _),) = partition_key.items()
    schema = KeySchema(partition_name="any", partition_type=value_type)
    token = token_of(collection_prefix(table_id, schema, partition_key))
    ring = Ring(
        [
            PartitionRecord(id=partition["id"], low_token=int(partition["low_token"]), replicas=())
            for partition in status["partitions"]
        ]
    )
    return ring.partition_of(token).id


def leader_in(status: Mapping[str, Any], partition_id: int) -> str | None:
    """Return the name of the node that leads a partition, None if nobody does."""
    for partition in status["partitions"]:
        if partition["id"] == partition_id:
            leader: str | None = partition["leader"]
            return leader
    raise KeyError(partition_id)


def is_healthy(status: Mapping[str, Any]) -> bool:
    """Return whether every node answers, every partition has a leader and no replica lags."""
    return all(node["healthy"] for node in status["nodes"]) and all(
        partition["leader"] is not None
        and all(
            replica["healthy"] and replica["lag_entries"] == 0 for replica in partition["replicas"]
        )
        for partition in status["partitions"]
    )


class BackgroundCluster:
    """A `quorate up` of our own. Use as a context manager, so that nothing is left running."""

    def __init__(
        self,
        data_dir: Path,
        *,
        partitions: int | None = None,
        nodes_per_az: int | None = None,
        routers: int = 1,
        secure: bool = False,
        public: RouterPorts | None = None,
    ) -> None:
        """Plan a cluster in `data_dir`; without `public`, the router gets free ports."""
        self.data_dir = data_dir.absolute()
        if public is None:
            http, grpc, admin = free_ports(3)
            public = RouterPorts(http=http, grpc=grpc, admin=admin)
        self.public = public
        self._arguments = ["--routers", str(routers), *(["--secure"] if secure else [])]
        if partitions is not None:
            self._arguments += ["--partitions", str(partitions)]
        if nodes_per_az is not None:
            self._arguments += ["--nodes-per-az", str(nodes_per_az)]
        self.output_path = self.data_dir.with_name(f"{self.data_dir.name}.out")
        self.process: subprocess.Popen[bytes] | None = None

    # --- Life ---------------------------------------------------------------------------------

    def start(self, *, timeout_seconds: float = READY_TIMEOUT_SECONDS_DEFAULT) -> None:
        """Start and return when every partition has a leader; raises ClusterFailed."""
        self.spawn()
        try:
            self.wait_up(timeout_seconds=timeout_seconds)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise

    def spawn(self) -> None:
        """Start and return at once."""
        assert self.process is None
        self.output_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.output_path, "wb", opener=private_opener) as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def command(self) -> list[str]:
        """Return the command line of this cluster."""
        return [
            *(sys.executable, "-m", "quorate", "up", "--data-dir", str(self.data_dir)),
            *("--http-port", str(self.public.http), "--grpc-port", str(self.public.grpc)),
            *("--admin-port", str(self.public.admin), "--parent-pid", str(os.getpid())),
            *self._arguments,
        ]

    def output(self) -> str:
        """Return what `quorate up` has printed."""
        return self.output_path.read_text(errors="replace")

    def last_words(self) -> str:
        """Return the end of what `quorate up` printed, and of the logs of what ended early."""
        parts = [f"--- quorate up, data in {self.data_dir}:\n", *_tail(self.output_path)]
        with contextlib.suppress(control.NoSupervisor, control.ControlRefused):
            for process in self.processes().values():
                if process.pid is None:
                    parts.append(f"--- {process.name} {process.ended}:\n")
                    parts += _tail(self.data_dir / "run" / f"{process.name}.log")
        return "".join(parts)

    def wait_up(self, *, timeout_seconds: float = READY_TIMEOUT_SECONDS_DEFAULT) -> None:
        """Return when `quorate up` says that it is ready."""
        process = self.process
        assert process is not None

        def is_up() -> bool:
            if process.poll() is not None:
                raise ClusterFailed(f"quorate up ended with {process.returncode}:\n{self.output()}")
            return any(line.startswith("ready:") for line in self.output().splitlines())

        wait_until(is_up, what=f"{self.data_dir} is up", timeout_seconds=timeout_seconds)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal, wait for the end and return the exit code; may be called again."""
        process = self.process
        if process is None:
            return 0
        self.process = None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            return process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ClusterFailed(
                f"quorate up did not stop within {STOP_TIMEOUT_SECONDS:g} s:\n{self.output()}"
            ) from None

    def __enter__(self) -> Self:
        """Start the cluster, unless it runs already."""
        if self.process is None:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything; politely, unless something failed: then its last words are shown."""
        if kind is not None and issubclass(kind, Exception):
            sys.stderr.write(self.last_words())
        self.stop(signal.SIGINT if kind is None else signal.SIGKILL)

    # --- Where ----------------------------------------------------------------------------------

    @property
    def http_url(self) -> str:
        """Return the endpoint URL for AWS SDKs."""
        return f"http://{HOST}:{self.public.http}"

    @property
    def grpc_address(self) -> str:
        """Return host:port for `quorate.Client`."""
        return f"{HOST}:{self.public.grpc}"

    @property
    def admin_address(self) -> str:
        """Return host:port of the first router's admin face."""
        return f"{HOST}:{self.public.admin}"

    # --- State ----------------------------------------------------------------------------------

    def processes(self) -> dict[str, ProcessView]:
        """Return the processes by name, as the supervisor sees them now."""
        rows: Any = control.ask(self.data_dir, "list")["processes"]
        return {
            row["name"]: ProcessView(
                name=row["name"],
                kind=row["kind"],
                az=row["az"],
                pid=row["pid"],
                state=row["state"],
                ended=row["ended"],
                ports=_ports_in(row["listens"]),
            )
            for row in rows
        }

    def pid_of(self, name: str) -> int:
        """Return the pid of a running process."""
        pid = self.processes()[name].pid
        if pid is None:
            raise ClusterFailed(f"{name} does not run")
        return pid

    def status(self, admin_address: str | None = None) -> dict[str, Any]:
        """Return a router's /status document."""
        code, body = admin_http.get(admin_address or self.admin_address, "/status")
        if code != 200:
            raise ClusterFailed(f"/status answered {code}: {body.decode(errors='replace')}")
        document: dict[str, Any] = json.loads(body)
        return document

    def wait_ready(
        self, *, admin_address: str | None = None, timeout_seconds: float = 30.0
    ) -> None:
        """Return when a router says that every partition has a leader."""
        reason = ""

        def is_ready() -> bool:
            nonlocal reason
            try:
                code, body = admin_http.get(admin_address or self.admin_address, "/ready")
            except admin_http.AdminUnreachable as error:
                reason = str(error)
                return False
            reason = body.decode(errors="replace").strip()
            return code == 200

        try:
            wait_until(is_ready, what="ready", timeout_seconds=timeout_seconds)
        except ClusterFailed as failure:
            raise ClusterFailed(f"{failure} ({reason})") from None

    def wait_all_ready(self, *, timeout_seconds: float = 30.0) -> None:
        """Return when every process says that it is ready: the next one may be stopped."""
        for process in self.processes().values():
            self.wait_ready(
                admin_address=f"{HOST}:{process.ports['admin']}", timeout_seconds=timeout_seconds
            )

    def wait_healthy(self, *, timeout_seconds: float = 30.0) -> None:
        """Return when every node answers, every partition has a leader and no replica lags."""

        def is_whole() -> bool:
            try:
                status = self.status()
            except (admin_http.AdminUnreachable, ClusterFailed):
                return False
            return is_healthy(status)

        wait_until(is_whole, what="all replicas caught up", timeout_seconds=timeout_seconds)
        self.wait_ready(timeout_seconds=timeout_seconds)

    def leader_of(
        self, table_name: str, partition_key: Mapping[str, str], *, timeout_seconds: float = 10.0
    ) -> str:
        """Return the name of the node that leads the partition of a key value ({"S": ...})."""
        found: str | None = None

        def is_led() -> bool:
            nonlocal found
            status = self.status()
            found = leader_in(status, partition_of(status, table_name, partition_key))
            return found is not None

        wait_until(is_led, what="the partition has a leader", timeout_seconds=timeout_seconds)
        assert found is not None
        return found

    # --- Faults ---------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """SIGKILL a process, or all nodes of an AZ; returns when they are gone."""
        control.ask(self.data_dir, "kill", name)

    def pause(self, name: str) -> None:
        """SIGSTOP a process, or all nodes of an AZ."""
        control.ask(self.data_dir, "pause", name)

    def resume(self, name: str) -> None:
        """SIGCONT them."""
        control.ask(self.data_dir, "resume", name)

    def restart(self, name: str) -> None:
        """Start a process again, stopping it cleanly first if it runs."""
        control.ask(self.data_dir, "restart", name)

    def add_node(self, name: str, az: str) -> None:
        """Start one more node; it joins the cluster by itself."""
        control.ask(self.data_dir, "add", name, az)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send any signal to a running process, behind the supervisor's back."""
        os.kill(self.pid_of(name), number)

    def wait_ended(self, name: str, *, timeout_seconds: float = 15.0) -> str:
        """Return how a process ended, once it has."""
        wait_until(
            lambda: self.processes()[name].pid is None,
            what=f"{name} has ended",
            timeout_seconds=timeout_seconds,
        )
        return self.processes()[name].ended


def _tail(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines(keepends=True)[-LINES_SHOWN:]
    except OSError as error:
        return [f"{error}\n"]


def _ports_in(listens: str) -> dict[str, int]:
    """Return the ports in `http 8000, gRPC 8001, admin 8002` or `node 17001, admin 17002`."""
    return {
        face.lower(): int(port) for face, port in (part.split() for part in listens.split(", "))
    }
