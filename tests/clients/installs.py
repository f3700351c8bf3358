"""Puts a client into a folder of its own, `.clients/NAME`, and tells its version.

A folder is renewed when what is pinned in `tests/clients/NAME` changes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / ".clients"

NPM_SECONDS_MAX: Final = 300.0
"""Longest wait for npm. Ours: twenty times what the largest client took."""


def install_from_pypi(name: str) -> Path:
    """Install what `NAME/requirements.txt` pins; return the Python that has it."""
    venv = INSTALLED / name
    pins = HERE / name / "requirements.txt"
    if not _is_fresh(venv, pins):
        INSTALLED.mkdir(exist_ok=True)
        subprocess.run([ROOT / "packaging" / "setup.sh", venv, "-r", pins], check=True)
        _mark(venv, pins)
    return venv / "bin" / "python"


def install_from_npm(name: str) -> Path:
    """Install what `NAME/package-lock.json` pins; return the folder node_modules."""
    folder = INSTALLED / name
    pins = HERE / name / "package-lock.json"
    if not _is_fresh(folder, pins):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(pins.with_name("package.json"), folder)
        shutil.copy(pins, folder)
        subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"],
            cwd=folder,
            check=True,
            timeout=NPM_SECONDS_MAX,
        )
        _mark(folder, pins)
    return folder / "node_modules"


def version_on_pypi(name: str) -> str:
    """Return the version that `NAME/requirements.txt` pins for the package of that name."""
    pins = (HERE / name / "requirements.txt").read_text().split()
    return dict(pin.split("==") for pin in pins)[name]


def version_on_npm(name: str, package: str) -> str:
    """Return the version that `NAME/package-lock.json` pins for a package."""
    packages = json.loads((HERE / name / "package-lock.json").read_text())["packages"]
    version: str = packages[f"node_modules/{package}"]["version"]
    return version


def _is_fresh(folder: Path, pins: Path) -> bool:
    mark = folder / ".installed"
    return mark.exists() and mark.read_text() == pins.read_text()


def _mark(folder: Path, pins: Path) -> None:
    (folder / ".installed").write_text(pins.read_text())
