"""Whose data directory this is: one process at a time, one node for ever.

A data directory holds `lock`, `identity.json`, `log/` and `items/`. Its incarnation is drawn when
it is first used; peers remember it, so a wiped or an old copy is told from the directory that
gave their votes. What follows from that is decided elsewhere: nothing here talks to peers.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final
from zlib import crc32

import orjson

from node.storage.environment import FileWatch, storage_error, sync_directory
from node.storage.errors import (
    CorruptIdentity,
    DataLost,
    DirectoryInUse,
    DirectoryUnusable,
    ForeignDirectory,
    IdentityLost,
)

IDENTITY_VERSION: Final = 1
"""Version of identity.json. A reader refuses what it does not know."""

LOCK_FILE: Final = "lock"
IDENTITY_FILE: Final = "identity.json"
LOG_DIRECTORY: Final = "log"
ITEMS_DIRECTORY: Final = "items"

_WHAT_TO_DO: Final = (
    "Restore identity.json from the same copy as the rest of the directory; or move the whole "
    "directory away and let the cluster add this node anew"
)


@dataclass(slots=True)
class Identity:
    """What identity.json says. Compare `incarnation` with what peers remember of this node.

    `joined`: both stores exist and the peers have accepted this incarnation. Save it as true
    before the first vote: from then on a missing store is never made anew.
    """

    cluster_id: str
    node_id: int
    name: str
    az: str
    incarnation: str  # drawn anew whenever a directory is first used
    joined: bool = False
    peers: dict[int, str] = field(default_factory=dict)  # node id -> incarnation last seen


class DirectoryLock:
    """Exclusive use of a data directory until `release` or the end of the process."""

    __slots__ = ("_descriptor", "_watch")

    def __init__(self, descriptor: int, path: Path) -> None:
        """Use `acquire`."""
        self._descriptor = descriptor
        self._watch = FileWatch(path)

    @classmethod
    def acquire(cls, directory: Path) -> DirectoryLock:
        """Create the directory if need be, and lock it.

        Raises DirectoryInUse (with the holder's pid) or DirectoryUnusable.
        """
        path = directory / LOCK_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DirectoryUnusable(directory, error.strerror or str(error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).strip()
            os.close(descriptor)
            raise DirectoryInUse(directory, int(holder) if holder.isdigit() else None) from error
        except OSError as error:
            os.close(descriptor)
            raise DirectoryUnusable(directory, error.strerror or str(error)) from error
        return cls(descriptor, path)

    def check_in_place(self) -> None:
        """Raise StorageFailed if the directory was deleted or replaced under us."""
        self._watch.check()

    def release(self) -> None:
        """Let the directory go. Harmless when done already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def load_identity(directory: Path) -> Identity | None:
    """Return the identity, or None for a directory that has never been used.

    Raises CorruptIdentity, IdentityLost (data without identity), DataLost (an identity that has
    joined, without its data), DirectoryUnusable.
    """
    path = directory / IDENTITY_FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        if any((directory / name).exists() for name in (LOG_DIRECTORY, ITEMS_DIRECTORY)):
            raise IdentityLost(directory) from None
        return None
    except OSError as error:
        raise DirectoryUnusable(directory, error.strerror or str(error)) from error
    try:
        identity = _decode(raw)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptIdentity(f"it is damaged ({error})", str(path), _WHAT_TO_DO) from error
    for name in (LOG_DIRECTORY, ITEMS_DIRECTORY) if identity.joined else ():
        if not (directory / name).exists():
            raise DataLost(directory, name)
    return identity


def save_identity(directory: Path, identity: Identity) -> None:
    """Write identity.json atomically and durably. Raises StorageFull, StorageFailed."""
    path = directory / IDENTITY_FILE
    aside = path.with_suffix(".json.new")
    try:
        with aside.open("wb") as file:
            file.write(_encode(identity))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        sync_directory(directory)
    except OSError as error:
        raise storage_error(error, f"writing {path}") from error


def check_identity(
    directory: Path, identity: Identity, *, cluster_id: str, node_id: int, name: str
) -> None:
    """Raise ForeignDirectory unless the identity is the expected one."""
    found = (identity.cluster_id, identity.node_id, identity.name)
    expected = (cluster_id, node_id, name)
    if found != expected:
        raise ForeignDirectory(directory, _describe(*found), _describe(*expected))


def _describe(cluster_id: str, node_id: int, name: str) -> str:
    return f"node {name!r} (id {node_id}) of cluster {cluster_id!r}"


def _encode(identity: Identity) -> bytes:
    """Encode as JSON for people to read, with a checksum over its own canonical form."""
    fields = asdict(identity)
    fields["peers"] = {str(node_id): seen for node_id, seen in sorted(identity.peers.items())}
    document = {"version": IDENTITY_VERSION, **fields}
    return orjson.dumps({**document, "crc32": _checksum(document)}, option=orjson.OPT_INDENT_2)


def _decode(raw: bytes) -> Identity:
    """Decode what `_encode` made. Raises ValueError, KeyError or TypeError."""
    document = orjson.loads(raw)
    checksum = document.pop("crc32")
    if checksum != _checksum(document):
        raise ValueError("its checksum does not match; it must not be edited")
    if document["version"] != IDENTITY_VERSION:
        raise ValueError(f"version {document['version']}; this release reads {IDENTITY_VERSION}")
    return Identity(
        document["cluster_id"],
        document["node_id"],
        document["name"],
        document["az"],
        document["incarnation"],
        document["joined"],
        {int(node_id): seen for node_id, seen in document["peers"].items()},
    )


def _checksum(document: dict[str, object]) -> int:
    return crc32(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
