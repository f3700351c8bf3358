"""Data directories that nobody but their owner may look into, whatever the umask."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

DIRECTORY_MODE: Final = 0o700
FILE_MODE: Final = 0o600

_OTHERS: Final = 0o077
_OTHERS_BESIDE_GROUP: Final = 0o007


class NotPrivate(Exception):
    """A directory or file is open to others and stays so; the text is one sentence."""


def private_opener(path: str, flags: int) -> int:
    """Make a file its owner's alone if it is made: for `open(..., opener=)`."""
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)


def tighten(directory: Path, names: Iterable[str]) -> int:
    """Take from others what they may do in a directory, and in these of its entries.

    Return how many modes were changed: files that an earlier umask left open, or Kubernetes, which
    opens a volume to a group. Raises NotPrivate.
    """
    changed = int(_tighten(directory, may_be_roots=True))
    for name in names:
        entry = directory / name
        # What a link leads to is tightened, and what is in it if it is a directory.
        inside = sorted(entry.iterdir()) if entry.is_dir() else []
        changed += sum(_tighten(path) for path in (entry, *inside))
    return changed


def _tighten(path: Path, *, may_be_roots: bool = False) -> bool:
    try:
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        # The root of a volume is root's, and open to our group: nobody else is in that.
        is_roots = may_be_roots and status.st_uid == 0 != os.geteuid()
        if not mode & (_OTHERS_BESIDE_GROUP if is_roots else _OTHERS):
            return False
        path.chmod(mode & ~_OTHERS)
        if not stat.S_IMODE(path.stat().st_mode) & _OTHERS:
            return True
        why = "its file system keeps no modes"
    except FileNotFoundError:  # not made yet, or just removed
        return False
    except OSError as error:
        why = error.strerror or str(error)
    raise NotPrivate(
        f"{path} is open to other users of this machine and cannot be closed to them ({why}): "
        "give it to the user that runs this, or use a directory below it"
    )
