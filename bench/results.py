"""Keeps what was measured, with what it was measured on, in bench/results/NAME.json."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def machine() -> dict[str, object]:
    """Return what the figures depend on."""
    return {
        "processors": os.cpu_count(),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "lmdb": version("lmdb"),
        "load_average": os.getloadavg()[0],
    }


def append(name: str, document: dict[str, Any]) -> Path:
    """Add one run to the results of a bench, a JSON list, and return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    runs = json.loads(path.read_text()) if path.exists() else []
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    runs.append({"at": stamp, "commit": _commit(), "machine": machine(), **document})
    path.write_text(json.dumps(runs, indent=1) + "\n")
    return path


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return min, p50, p95 and max."""
    ordered = sorted(values)
    return {
        "min": ordered[0],
        "p50": round(statistics.median(ordered), 1),
        "p95": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
        "max": ordered[-1],
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
