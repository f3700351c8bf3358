"""What lies in the data directory of a local cluster, but for keys, certificates and data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quorate.bundle.parts import Bundle, plain
from quorate.local.control import ControlRefused, NoSupervisor, ask
from quorate.local.topology import HOST, Topology, TopologyRefused, read_stamp, stamp_path

LOG_BYTES_MAX: Final = 1 << 20
"""How much of each log's end is taken. Ours: some thousand lines."""

LOGS_MAX: Final = 64
"""Most logs that are taken. Ours."""

FILES_MAX: Final = 10_000
"""Most files that are listed. Ours."""

_ADMIN_PORT: Final = re.compile(r"\badmin (\d+)")
_SECRET: Final = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)


@dataclass(slots=True)
class LocalCluster:
    """A data directory's cluster: where its processes are, by name."""

    data_dir: Path
    topology: Topology | None = None
    processes: list[dict[str, object]] = field(default_factory=list)

    @property
    def node_addresses(self) -> list[str]:
        """Where the nodes are, over gRPC."""
        return [node.address for node in self.topology.all_nodes] if self.topology else []

    @property
    def admin_addresses(self) -> dict[str, str]:
        """Where the admin faces are, by process: as it runs now, else as the stamp says."""
        found = {
            node.name: f"{HOST}:{node.admin_port}"
            for node in (self.topology.all_nodes if self.topology else ())
            if node.admin_port
        }
        for process in self.processes:
            listens = _ADMIN_PORT.search(str(process.get("listens")))
            if listens:
                found[str(process["name"])] = f"{HOST}:{listens[1]}"
        return found

    def add_to(self, bundle: Bundle) -> None:
        """Add configuration, files by name and size, and the ends of the logs."""
        bundle.add("local/cluster.json", stamp_path(self.data_dir).read_bytes())
        bundle.add_json("local/processes.json", self.processes)
        for process in self.processes:
            pid = process.get("pid")
            if isinstance(pid, int):
                _add_process(bundle, plain(str(process["name"])), Path(f"/proc/{pid}"))
        bundle.add("local/files.txt", "".join(_list_files(self.data_dir)).encode())
        logs = sorted((self.data_dir / "run").glob("*.log"))
        if not logs:
            bundle.miss(f"logs: there are none in {self.data_dir / 'run'}")
        for path in logs[LOGS_MAX:]:
            bundle.miss(f"{path.name}: left out, only {LOGS_MAX} logs are taken")
        for path in logs[:LOGS_MAX]:
            try:
                bundle.add(f"logs/{plain(path.name)}", _end_of(path), tail=True)
            except OSError as error:
                bundle.miss(f"{path}: {error.strerror}")


def find_local_cluster(data_dir: Path, bundle: Bundle) -> LocalCluster | None:
    """Return the cluster whose data directory this is, None if it is none's."""
    cluster = LocalCluster(data_dir)
    try:
        cluster.topology = read_stamp(data_dir)
    except (OSError, TopologyRefused) as error:
        bundle.miss(f"local cluster: {error}")
        return None
    if cluster.topology is None:
        bundle.miss(
            f"logs and configuration: {data_dir} is not a local cluster's data directory; add the"
            " logs and the options of the nodes and routers in question"
        )
        return None
    try:
        listed = ask(data_dir.absolute(), "list")["processes"]
    except (NoSupervisor, ControlRefused) as error:
        bundle.miss(f"local/processes.json: {error}")
    else:
        assert isinstance(listed, list)
        cluster.processes = listed
    return cluster


def _add_process(bundle: Bundle, name: str, process: Path) -> None:
    """Add how a process was started, and its limits."""
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
        environment = (process / "environ").read_bytes().split(b"\0")
        limits = (process / "limits").read_bytes()
        status = (process / "status").read_bytes()
    except OSError as error:
        bundle.miss(f"local/{name}: its process is gone ({error.strerror})")
        return
    ours = sorted(
        each
        for each in environment
        if each.startswith(b"QUORATE_") and not _SECRET.search(each.decode(errors="replace"))
    )
    bundle.add(f"local/{name}/command.txt", b"\n".join(command))
    bundle.add(f"local/{name}/environment.txt", b"".join(each + b"\n" for each in ours))
    bundle.add(f"local/{name}/limits.txt", limits)
    bundle.add(f"local/{name}/process.txt", status)


def _list_files(data_dir: Path) -> Iterator[str]:
    """Yield a line for each file below: size, blocks that it takes, mode, path."""
    count = 0
    for folder, folders, files in os.walk(data_dir):
        folders.sort()
        for name in sorted(files):
            path = Path(folder) / name
            count += 1
            if count > FILES_MAX:
                yield "... and more\n"
                return
            try:
                found = path.lstat()
            except OSError:
                continue
            yield (
                f"{found.st_size:>14} {found.st_blocks * 512:>14} {found.st_mode & 0o777:o}"
                f" {path.relative_to(data_dir)}\n"
            )


def _end_of(path: Path) -> bytes:
    """Return the end of a log, from the beginning of a line."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_BYTES_MAX))
        end = file.read(LOG_BYTES_MAX)
    return end if size <= LOG_BYTES_MAX else end.partition(b"\n")[2]
