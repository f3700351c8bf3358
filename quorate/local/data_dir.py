"""The data directory of a local cluster: who holds it, and where things lie in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path


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
        """Make the directory if needed and lock it; raises DataDirRefused and changes nothing."""
        self.path = path
        self.run_path = path / "run"
        try:
            self.run_path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(
                self.run_path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
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

    def log_path(self, name: str) -> Path:
        """Return where the log of a process lies."""
        return self.run_path / f"{name}.log"

    def pid_path(self, name: str) -> Path:
        """Return where the pid of a running process lies."""
        return self.run_path / f"{name}.pid"

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
