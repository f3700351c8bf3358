"""Power fails while a node makes its data directory: it starts again as if nothing had been.

Before it has joined nobody has heard of it, so it may begin anew; what it must not do is take the
half-made for whole, or refuse for ever. `make sweep` cuts at every sync.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.storage.check import check_data_directory
from quorate.local.background import free_ports, wait_until
from quorate.local.processes import plan_node
from quorate.local.topology import new_topology
from tests.processes.faults.disk_shim import Act, DiskShim, environment
from tests.processes.faults.loop_disk import LoopDisk

STEP = 1 if os.environ.get("QUORATE_SWEEP") == "whole" else 3
START_SECONDS = 60.0
"""Longest start on a busy machine. Ours: as the supervisor's."""

SYNCS_MIN = 10
"""A first start has at least so many: identity, log, items."""


@dataclass(slots=True)
class LoneNode:
    """A node whose peers never answer: it makes its directory, and waits."""

    disk: LoopDisk
    shim: DiskShim
    command: tuple[str, ...]
    library: Path
    log: Path

    @property
    def directory(self) -> Path:
        return self.disk.mount_point

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self.command,
                env=os.environ | environment(self.library, {"": self.shim}),
                stderr=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def making_its_stores(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start it; the block is entered when it waits for its peers, or has ended."""
        with self.running() as process:
            wait_until(
                lambda: process.poll() is not None or b"waiting_for_peers" in self.log.read_bytes(),
                what="it waits for its peers",
                timeout_seconds=START_SECONDS,
            )
            yield process

    def is_cut_off_at(self, act: Act, n: int) -> bool:
        """Start it on an empty disk; return whether it came to its n-th sync."""
        self.shim.arm(act, at=n)
        with self.making_its_stores() as process:
            return process.poll() == -signal.SIGKILL

    def wipe(self) -> None:
        for path in self.directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@pytest.fixture
def node(loop_disks: None, shim_library: Path, tmp_path: Path) -> Iterator[LoneNode]:
    folder = tmp_path.resolve()
    *ports, admin_port = free_ports(4)
    topology = new_topology(1, 3, ports)
    (own, *_) = topology.nodes
    plan = plan_node(
        topology,
        own,
        admin_port=admin_port,
        data_dir=folder,
        parent_pid=os.getpid(),
        log_level="info",
    )
    disk = LoopDisk(folder / "image", folder / "nodes" / own.name, size_mib=64)
    shim = DiskShim(disk.mount_point, folder / "control")
    yield LoneNode(disk, shim, plan.arguments, shim_library, folder / "log")
    shim.close()
    disk.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("act", [Act.CUT_BEFORE, Act.CUT_AFTER])
def test_power_cut_in_a_first_start_leaves_nothing_that_hinders_the_next(
    node: LoneNode, act: Act
) -> None:
    n = 1 if act is Act.CUT_BEFORE else 2
    while node.is_cut_off_at(act, n):
        node.disk.power_on()
        node.shim.disarm()
        with node.making_its_stores() as process:
            process.terminate()
            assert process.wait(START_SECONDS) == 0, n
        assert check_data_directory(node.directory).findings == [], n
        node.wipe()
        n += STEP
    assert n > SYNCS_MIN
