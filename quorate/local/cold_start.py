"""A new cluster whose processes are started in any order, each at its own moment.

`quorate up` starts them one after the other, always in the same order. Machines that are switched
on do not; what that may lead to is for the tests and the benches to find.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Final, Self

from quorate.local import admin_http
from quorate.local.background import ClusterFailed, free_ports, is_healthy
from quorate.local.processes import ProcessPlan, RouterPorts, plan_node, plan_router
from quorate.local.topology import AZ_NAMES, HOST, new_topology
from quorate.security.private_directory import DIRECTORY_MODE, private_opener
from quorate.security.sealing import create_key_file

SPREAD_SECONDS: Final = (0.0, 0.5, 2.0)
"""Within how many seconds all are started; which of these, the seed decides. Ours."""

POLL_SECONDS: Final = 0.1
"""Between two looks whether it is healthy: each costs the nodes some milliseconds. Ours."""

LINES_SHOWN: Final = 25
"""Lines of each process's log that are shown when it does not get healthy. Ours."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """How long a cluster took, in seconds: from its last process's start, and from its being up.

    A process is up when it answers at all: until then it is Python that starts, not the cluster.
    """

    since_started: float
    since_up: float


class ColdStart:
    """Nodes in three AZs and a router; `seed` decides who is started when.

    Use as a context manager, so that nothing is left running.
    """

    def __init__(self, folder: Path, *, nodes_per_az: int, partitions: int, seed: int) -> None:
        """Plan a cluster whose data and logs go into `folder`, which is made."""
        self._folder = folder
        self._seed = seed
        folder.mkdir(DIRECTORY_MODE, parents=True)
        key_file = folder / "key"
        create_key_file(key_file)
        count = nodes_per_az * len(AZ_NAMES)
        ports = free_ports(2 * count + 3)
        settled = new_topology(nodes_per_az, partitions, ports[:count])
        self._router = RouterPorts(http=ports[-3], grpc=ports[-2], admin=ports[-1])
        pid, level = os.getpid(), "info"
        plans = [
            plan_node(
                settled, node, admin_port=port, data_dir=folder, parent_pid=pid, log_level=level
            )
            for node, port in zip(settled.nodes, ports[count:-3], strict=True)
        ]
        plans.append(
            plan_router(
                settled, 1, self._router, key_file=key_file, parent_pid=pid, log_level=level
            )
        )
        rng = Random(seed)  # noqa: S311 - chance that can be had again
        rng.shuffle(plans)
        spread = rng.choice(SPREAD_SECONDS)
        delays = sorted(spread * rng.random() for _ in plans)
        self.order = list(zip(delays, plans, strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started = 0.0
        self._down = {*ports[count:-3], self._router.admin}  # admin faces that never answered yet

    def __enter__(self) -> Self:
        """Start all of them; returns when the last one was started."""
        with ExitStack() as undo:
            undo.callback(self.kill)
            began = time.monotonic()
            for delay, plan in self.order:
                time.sleep(max(0.0, began + delay - time.monotonic()))
                self._start(plan)
            self._started = time.monotonic()
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill all of them."""
        self.kill()

    def wait_healthy(self, *, timeout_seconds: float) -> Healthy:
        """Return when the cluster is healthy, with the time that took.

        Raises ClusterFailed if that takes too long or a process ends, with the seed, the order of
        the starts and the ends of all logs.
        """
        up_at = 0.0
        while True:
            up_at = up_at or self._look_whether_all_are_up()
            if up_at and self._is_healthy():
                now = time.monotonic()
                return Healthy(now - self._started, now - up_at)
            ended = [name for name, each in self._processes.items() if each.poll() is not None]
            if ended:  # mostly because somebody else has taken its port meanwhile
                raise ClusterFailed(f"{', '.join(ended)} ended\n{self._describe()}")
            if time.monotonic() - self._started > timeout_seconds:
                raise ClusterFailed(f"not healthy after {timeout_seconds:g} s\n{self._describe()}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """SIGKILL all of them and wait for their ends; may be called again."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()

    def _start(self, plan: ProcessPlan) -> None:
        with open(self._folder / f"{plan.name}.log", "wb", opener=private_opener) as log:
            self._processes[plan.name] = subprocess.Popen(  # noqa: S603 - our own command
                plan.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def _look_whether_all_are_up(self) -> float:
        """Return the time if every process answers by now, else 0."""
        for port in list(self._down):
            with contextlib.suppress(admin_http.AdminUnreachable):
                admin_http.get(f"{HOST}:{port}", "/health")
                self._down.remove(port)
        return 0.0 if self._down else time.monotonic()

    def _is_healthy(self) -> bool:
        """Whether the router is ready and sees nothing amiss."""
        admin = f"{HOST}:{self._router.admin}"
        with contextlib.suppress(admin_http.AdminUnreachable):
            code, _ = admin_http.get(admin, "/ready")
            if code == 200:
                code, body = admin_http.get(admin, "/status")
                return code == 200 and is_healthy(json.loads(body))
        return False

    def _describe(self) -> str:
        started = ", ".join(f"{plan.name} +{delay:.2f} s" for delay, plan in self.order)
        parts = [f"seed {self._seed}, started: {started}"]
        for name in sorted(self._processes):
            lines = (self._folder / f"{name}.log").read_text(errors="replace").splitlines()
            parts += [f"--- {name}", *lines[-LINES_SHOWN:]]
        return "\n".join(parts)
