"""The two wheels, and environments that have nothing but what the wheels ask for.

Dependencies come from the environment that runs the tests, so the network is not needed.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A built wheel."""

    path: Path

    def files(self) -> set[str]:
        """Return what it puts into site-packages, its own metadata left out."""
        with zipfile.ZipFile(self.path) as archive:
            names = archive.namelist()
        return {name for name in names if ".dist-info/" not in name}

    def metadata(self) -> Message:
        with zipfile.ZipFile(self.path) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
            return Parser().parsestr(archive.read(name).decode())

    def requirements(self, *extras: str) -> list[Requirement]:
        """Return what it requires, and its extras."""
        return list(_wanted(self.metadata().get_all("Requires-Dist") or [], extras))


def build_wheels(folder: Path) -> tuple[Wheel, Wheel]:
    """Build the client's wheel and the server's, as `make dist` does."""
    subprocess.run(
        [
            *(*PIP, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"),
            *("--wheel-dir", folder, ROOT, ROOT / "packaging" / "server"),
        ],
        check=True,
    )
    (client,) = folder.glob("quorate-*.whl")
    (server,) = folder.glob("quorate_server-*.whl")
    return Wheel(client), Wheel(server)


class Environment:
    """A virtual environment with what some requirements ask for, and theirs, and nothing else."""

    def __init__(self, folder: Path, requirements: Sequence[Requirement]) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.bin = folder / "bin"
        self.python = self.bin / "python"
        (self.packages,) = folder.glob("lib/python*/site-packages")
        for found in _closure(requirements):
            for file in found.files or ():
                target = self.packages / file.parts[0]
                if file.parts[0] not in ("..", "__pycache__") and not target.exists():
                    target.symlink_to(Path(str(found.locate_file(file.parts[0]))))

    def install(self, *wheels: Wheel) -> None:
        subprocess.run(
            [
                *(*PIP, "--python", self.python, "install", "--quiet", "--no-deps", "--no-index"),
                *(wheel.path for wheel in wheels),
            ],
            check=True,
        )

    def run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of this environment, or its Python, elsewhere than in the tree."""
        name, *arguments = command
        return subprocess.run(
            [self.bin / name, *arguments], cwd=cwd, capture_output=True, text=True, check=False
        )


def _wanted(texts: Sequence[str], extras: Sequence[str] = ()) -> Iterator[Requirement]:
    for requirement in map(Requirement, texts):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _closure(requirements: Sequence[Requirement]) -> list[Distribution]:
    """Return the installed distributions that satisfy requirements, and theirs."""
    found: dict[str, Distribution] = {}
    pending = list(requirements)
    while pending:
        requirement = pending.pop()
        installed = distribution(requirement.name)
        assert requirement.specifier.contains(installed.version), f"{requirement} is not satisfied"
        if requirement.name not in found:
            found[requirement.name] = installed
            pending += _wanted(installed.requires or [], tuple(requirement.extras))
    return list(found.values())
