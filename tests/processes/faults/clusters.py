"""Real clusters whose disks obey: every node's files are under a shim, perhaps on a loop disk."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from quorate.local.background import BackgroundCluster, ClusterFailed, free_ports
from quorate.local.topology import new_topology, write_stamp
from tests.processes.conftest import TABLE, make_table
from tests.processes.faults.disk_shim import DiskShim, environment
from tests.processes.faults.loop_disk import LoopDisk

NODES = ("a1", "b1", "c1")
PARTITIONS = 3


@dataclass(slots=True)
class FaultyCluster:
    """A cluster, and by node its shims and, if it has one, its disk.

    `shims` see all files of a node, `log_shims` those of its log, `items_shims` those of its items.
    Only one of the kinds is there: see `part`.
    """

    cluster: BackgroundCluster
    shims: Mapping[str, DiskShim]
    disks: Mapping[str, LoopDisk]

    def node_directory(self, name: str) -> Path:
        return self.cluster.data_dir / "nodes" / name

    def node_log(self, name: str) -> str:
        """Return what a node has logged so far."""
        return (self.cluster.data_dir / "run" / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """SIGKILL a node; harmless if it does not run."""
        pid = self.cluster.processes()[name].pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.cluster.wait_ended(name)

    def heal(self) -> None:
        """End all faults, start what does not run, and wait until no replica lags."""
        for shim in self.shims.values():
            shim.disarm()
        for name in NODES:
            self.start(name)
        self.cluster.wait_healthy()

    def start(self, name: str) -> None:
        """Start a node; harmless if it runs."""
        if self.cluster.processes()[name].pid is None:
            self.cluster.restart(name)


@contextlib.contextmanager
def faulty_cluster(
    folder: Path, library: Path, *, part: str = "", on_disks: bool = False, disk_mib: int = 256
) -> Iterator[FaultyCluster]:
    """Run a cluster with the table TABLE in `folder`; everything is undone at the end.

    `part` is the subdirectory of each node that its shim sees: "", "log" or "items".
    """
    folder = folder.resolve()
    data_dir = folder / "data"
    data_dir.mkdir()
    write_stamp(data_dir, new_topology(1, PARTITIONS, free_ports(len(NODES))))
    directories = {name: data_dir / "nodes" / name for name in NODES}
    with ExitStack() as stack:
        shims = {
            name: DiskShim(directory / part, folder / f"{name}.control")
            for name, directory in directories.items()
        }
        for shim in shims.values():
            stack.callback(shim.close)
        disks = {}
        if on_disks:
            for name, directory in directories.items():
                disk = LoopDisk(folder / f"{name}.image", directory, size_mib=disk_mib)
                stack.callback(disk.close)
                disks[name] = disk
        # The cluster's processes inherit what is set while they are started.
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in environment(library, shims).items():
                patch.setenv(variable, value)
            cluster = BackgroundCluster(data_dir)
            cluster.start()
        stack.callback(_stop, cluster)
        make_table(cluster, TABLE)
        yield FaultyCluster(cluster, shims, disks)


def _stop(cluster: BackgroundCluster) -> None:
    """Kill what runs: a story may have ruined any part of it."""
    with contextlib.suppress(ClusterFailed):
        cluster.stop(signal.SIGTERM)
