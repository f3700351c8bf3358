"""The test's side of disk_shim.c: compiles it, and steers it while processes run under it."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from collections.abc import Mapping
from enum import IntEnum, unique
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("disk_shim.c")

FOR_GOOD: Final = (1 << 64) - 1
"""`last` of a fault that does not pass."""


@unique
class Act(IntEnum):
    """What happens at a call. Keep in step with disk_shim.c."""

    NOTHING = 0
    KILL_BEFORE = 1
    KILL_AFTER = 2
    CUT_BEFORE = 3  # power cut (ext4), then SIGKILL
    CUT_AFTER = 4
    FAIL = 5  # value: errno
    LIE = 6  # a sync returns 0 and nothing is synced
    DELAY = 7  # value: microseconds
    TEAR = 8  # a write stops after `value` bytes, then SIGKILL
    STOP_SHORT = 9  # a write stops after `value` bytes, and says so


@unique
class Target(IntEnum):
    """Which calls are numbered. Keep in step with disk_shim.c."""

    SYNCS = 0
    WRITES = 1
    PAGES = 2  # the writes that are not of LMDB's meta pages
    METAS = 3  # those that are


class DiskShim:
    """The files under one directory, and what shall happen to them."""

    _LAYOUT: Final = struct.Struct("=10Q")
    _COUNTS: Final = struct.Struct("=5Q")  # syncs, writes, pages, metas, bytes: the first five
    _FAULT: Final = struct.Struct("=4Q")  # target, first, last, (act,) value
    _NO_COUNTS: Final = (0, 0, 0, 0, 0)
    _ACT_AT: Final = 8 * 8

    def __init__(self, directory: Path, control: Path) -> None:
        self.directory = directory
        self.control = control
        control.write_bytes(bytes(self._LAYOUT.size))
        with control.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self._LAYOUT.size)

    def close(self) -> None:
        self._map.close()

    @property
    def syncs(self) -> int:
        return self._counts()[0]

    @property
    def writes(self) -> int:
        return self._counts()[1]

    @property
    def written_bytes(self) -> int:
        return self._counts()[4]

    @property
    def pages(self) -> int:
        return self._counts()[2]

    def arm(
        self,
        act: Act,
        *,
        at: int = 1,
        last: int | None = None,
        target: Target = Target.SYNCS,
        value: int = 0,
    ) -> None:
        """Do `act` at the call `at` from now on, and until call `last`: itself, by default."""
        self.disarm()  # `act` is written last: no process sees half of it
        last = at if last is None else last
        fault = (target, at, last, Act.NOTHING, value)
        self._LAYOUT.pack_into(self._map, 0, *self._NO_COUNTS, *fault)
        struct.pack_into("=Q", self._map, self._ACT_AT, act)

    def disarm(self) -> None:
        struct.pack_into("=Q", self._map, self._ACT_AT, Act.NOTHING)

    def _counts(self) -> tuple[int, ...]:
        return self._COUNTS.unpack_from(self._map)


def compile_shim(folder: Path) -> Path | None:
    """Compile into `folder` and return the library, None if there is no compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "disk_shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def environment(library: Path, shims: Mapping[str, DiskShim]) -> dict[str, str]:
    """Return the variables under which a process's files are at the shims' mercy."""
    rules = [f"{shim.directory}={shim.control}" for shim in shims.values()]
    return {"LD_PRELOAD": str(library), "DISK_SHIM": ":".join(rules)}
