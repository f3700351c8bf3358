"""The machine that the command runs on, and what is installed there."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "quorate", "quorate-server", "cryptography", "googleapis-common-protos", "grpcio",
    "grpcio-health-checking", "grpcio-reflection", "grpcio-status", "httptools", "lmdb", "orjson",
    "prometheus-client", "protobuf", "rich", "sortedcontainers", "typer", "uvloop",
)  # fmt: skip
"""What both distributions are made of; a test compares."""


def describe_versions() -> dict[str, object]:
    """Return the versions of Python and of each package; null: it is not installed."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "packages": {name: _version_of(name) for name in PACKAGES},
    }


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def describe_host(data_dir: Path) -> dict[str, object]:
    """Return what the machine is made of; the disk is that of the data directory, if any."""
    document: dict[str, object] = {
        "system": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": _text(Path("/proc/loadavg")),
        "memory": _text(Path("/proc/meminfo")).splitlines()[:5],
        "pressure_io": _text(Path("/proc/pressure/io")).splitlines(),
    }
    if data_dir.is_dir():
        usage = shutil.disk_usage(data_dir)
        document["disk"] = {
            "total_bytes": usage.total,
            "free_bytes": usage.free,
            "file_system": _file_system_of(data_dir.resolve()),
        }
    return document


def _file_system_of(path: Path) -> str:
    """Return type and options of the mount that a path is on."""
    best = ("", "")
    for line in _text(Path("/proc/self/mounts")).splitlines():
        _, point, kind, options, *_ = line.split()
        if path.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, f"{kind} {options}")
    return best[1]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
