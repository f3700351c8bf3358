"""Reading files that hold secrets: never one that others may touch."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class PrivateFileRefused(Exception):
    """The file cannot be used; the text is one sentence, without anything that is in the file."""


def read_private_file(path: Path, *, what: str, bytes_max: int) -> bytes:
    """Return what is in a file, up to `bytes_max`; `what` names it in the sentence.

    Raises PrivateFileRefused, also if anybody but its owner may touch the file.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read(bytes_max)
    except OSError as error:
        raise PrivateFileRefused(f"cannot read the {what} {path}: {error.strerror}") from None
    # What root has given to our group alone is as good as ours: so Kubernetes mounts Secrets.
    open_bits = 0o037 if status.st_uid == 0 != os.geteuid() else 0o077
    if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) & open_bits:
        raise PrivateFileRefused(f"the {what} {path} is open to others: chmod 600 it")
    if status.st_uid not in (os.geteuid(), 0):
        raise PrivateFileRefused(f"the {what} {path} belongs to another user")
    return text


def create_private_file(path: Path, content: bytes) -> None:
    """Make a file of its owner's alone, and sync it. Raises FileExistsError or another OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
