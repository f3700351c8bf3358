"""The data directory of a local cluster: who holds it, and where things lie in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Final

from quorate.security.private_directory import (
    DIRECTORY_MODE,
    NotPrivate,
    private_opener,
    tighten,
)

_ENTRIES: Final = ("cluster.json", "users.key", "run", "nodes")


def key_path(path: Path) -> Path:
    """Return where the key file lies in a data directory."""
    return path / "users.key"


class DataDirRefused(Exception):
    """The data directory cannot be used; the text is one sentence."""


class DataDir:
    """A data directory held by this process. Close it to let go.

    cluster.json is the stamp, users.key the cluster's key file, certs/ its certificates if it has
    some, nodes/NAME a node's own directory,
    run/ what concerns this run: the lock, the control socket, and a pid file and a log for each
    process.
    """

    def __init__(self, path: Path) -> None:
        """Make the directory if needed, lock it, and close it to other users.

        `modes_changed` is how many of its modes were too wide. A node's own directory is closed by
        the node. Raises DataDirRefused.
        """
        self.path = path
        self.run_path = path / "run"
        try:
            path.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            self.run_path.mkdir(DIRECTORY_MODE, exist_ok=True)
            self._lock = private_opener(str(self.run_path / "lock"), os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise DataDirRefused(
                f"the data directory {path} cannot be written ({error.strerror}):"
                " set QUORATE_DATA_DIR or --data-dir to one that can"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 32, 0).decode(errors="replace").strip()
            os.close(self._lock)
            raise DataDirRefused(
                f"the data directory {path} is held by another running cluster (pid"
                f" {holder or 'unknown'}): stop it first, or use another directory"
            ) from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        try:
            self.modes_changed = tighten(path, _ENTRIES)
        except NotPrivate as error:
            self.close()
            raise DataDirRefused(str(error)) from None

    def log_path(self, name: str) -> Path:
        """Return where the log of a process lies."""
        return self.run_path / f"{name}.log"

    def pid_path(self, name: str) -> Path:
        """Return where the pid of a running process lies."""
        return self.run_path / f"{name}.pid"

    def open_log(self, name: str) -> BinaryIO:
        """Open the log of a process, to add to it."""
        return open(self.log_path(name), "ab", opener=private_opener)

    def write_pid(self, name: str, pid: int) -> None:
        """Write down the pid of a running process."""
        with open(self.pid_path(name), "w", opener=private_opener) as file:
            file.write(f"{pid}\n")

    @property
    def socket_path(self) -> Path:
        """Return where the control socket lies."""
        return self.run_path / "control.sock"

    def close(self) -> None:
        """Let go of the directory; one that nothing was put into is removed again."""
        os.ftruncate(self._lock, 0)
        if not (self.path / "cluster.json").exists():
            with contextlib.suppress(OSError):  # not empty: not ours to remove
                (self.run_path / "lock").unlink()
                self.run_path.rmdir()
                self.path.rmdir()
        os.close(self._lock)
