"""Whose data directory this is: one process at a time, one node for ever.

A data directory holds `lock`, `identity.json`, `log/` and `items/`. Its incarnation is drawn when
it is first used, and its starts are counted; peers remember both, so a wiped directory or an old
copy is told from the one that gave its votes. What follows from that is decided elsewhere
(`node.join`, `node.acquaintances`): nothing here talks to peers.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
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
from node.storage.layout import other_version
from node.storage.snapshot_file import SNAPSHOTS_DIRECTORY
from quorate.security.private_directory import (
    DIRECTORY_MODE,
    NotPrivate,
    private_opener,
    tighten,
)

IDENTITY_VERSION: Final = 2
"""Version of identity.json. A reader refuses what it does not know; version 1 has no starts, and
all its nodes are initial ones."""

LOCK_FILE: Final = "lock"
IDENTITY_FILE: Final = "identity.json"
LOG_DIRECTORY: Final = "log"
ITEMS_DIRECTORY: Final = "items"

_ENTRIES: Final = (
    LOCK_FILE,
    *(IDENTITY_FILE, f"{IDENTITY_FILE}.new"),
    *(LOG_DIRECTORY, f"{LOG_DIRECTORY}.new"),
    *(ITEMS_DIRECTORY, f"{ITEMS_DIRECTORY}.new"),
    SNAPSHOTS_DIRECTORY,
)
"""Everything that a node puts into its directory."""

_BY_NODE_ID: Final = ("peers", "addresses", "names", "starts_seen")
"""The members of identity.json whose keys are node ids."""

_WHAT_TO_DO: Final = (
    "Restore identity.json from the same copy as the rest of the directory; or move the whole "
    "directory away and replace the node (quorate node replace)"
)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a process on a directory.

    `number` counts them; `token` is drawn anew, for of two copies that are started both come to
    the same number.
    """

    number: int = 0
    token: str = ""

    def is_outdated(self, latest: Start) -> bool:
        """Return whether this one is of another copy than the latest seen, or of an older one."""
        return self.number < latest.number or (
            self.number == latest.number and self.token != latest.token
        )


@dataclass(slots=True)
class Identity:
    """What identity.json says. Compare `incarnation` with what peers remember of this node.

    `joined`: both stores exist and the peers have accepted this incarnation. Save it as true
    before the first vote: from then on a missing store is never made anew. `initial`: one of the
    nodes that the cluster began with. `removed`: another node has taken its place for good.
    """

    cluster_id: str
    node_id: int  # 0: the cluster has not given it one yet
    name: str
    az: str
    incarnation: str  # drawn anew whenever a directory is first used
    joined: bool = False
    peers: dict[int, str] = field(default_factory=dict)  # node id -> incarnation last seen
    addresses: dict[int, str] = field(default_factory=dict)  # node id -> host:port last known
    names: dict[int, str] = field(default_factory=dict)  # node id -> name
    epoch: int = 0  # of the catalog that the three are from; 0: of no catalog yet
    initial: bool = False
    removed: bool = False
    start: Start = Start()  # the newest
    starts_seen: dict[int, Start] = field(default_factory=dict)  # node id -> its newest


_MEMBERS: Final = frozenset(Identity.__annotations__)


class DirectoryLock:
    """Exclusive use of a data directory until `release` or the end of the process."""

    __slots__ = ("_descriptor", "_directory", "_watch")

    def __init__(self, descriptor: int, path: Path) -> None:
        """Use `acquire`."""
        self._directory = path.parent
        self._descriptor = descriptor
        self._watch = FileWatch(path)

    @classmethod
    def acquire(cls, directory: Path) -> DirectoryLock:
        """Create the directory if need be, and lock it.

        Raises DirectoryInUse (with the holder's pid) or DirectoryUnusable.
        """
        path = directory / LOCK_FILE
        try:
            directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
            descriptor = private_opener(str(path), os.O_RDWR | os.O_CREAT)
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

    def tighten(self) -> int:
        """Close what is in the directory to other users; return how many modes were too wide.

        Raises DirectoryUnusable.
        """
        try:
            return tighten(self._directory, _ENTRIES)
        except NotPrivate as error:
            raise DirectoryUnusable(self._directory, str(error)) from None

    def check_in_place(self) -> None:
        """Raise StorageFailed if the directory was deleted or replaced under us."""
        self._watch.check()

    def release(self) -> None:
        """Let the directory go. Harmless when done already."""
        self._watch.close()
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
    except IsADirectoryError as error:
        raise CorruptIdentity("it is a directory", str(path), _WHAT_TO_DO) from error
    except OSError as error:
        raise DirectoryUnusable(directory, f"{IDENTITY_FILE}: {error.strerror}") from error
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
        with open(aside, "wb", opener=private_opener) as file:
            file.write(_encode(identity))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        sync_directory(directory)
    except OSError as error:
        raise storage_error(error, f"writing {path}") from error


def check_identity(
    directory: Path, identity: Identity, *, cluster_id: str, name: str, az: str
) -> None:
    """Raise ForeignDirectory unless the identity is the expected one."""
    found = (identity.cluster_id, identity.name, identity.az)
    expected = (cluster_id, name, az)
    if found != expected:
        raise ForeignDirectory(directory, _describe(*found), _describe(*expected))


def _describe(cluster_id: str, name: str, az: str) -> str:
    return f"node {name!r} in {az} of cluster {cluster_id!r}"


def _encode(identity: Identity) -> bytes:
    """Encode as JSON for people to read, with a checksum over its own canonical form."""
    fields = asdict(identity)
    for name in _BY_NODE_ID:
        fields[name] = {str(node_id): known for node_id, known in sorted(fields[name].items())}
    document = {"version": IDENTITY_VERSION, **fields}
    return orjson.dumps({**document, "crc32": _checksum(document)}, option=orjson.OPT_INDENT_2)


def _decode(raw: bytes) -> Identity:
    """Decode what `_encode` made. Raises ValueError, KeyError, TypeError or AttributeError."""
    document = orjson.loads(raw)
    checksum = document.pop("crc32")
    if checksum != _checksum(document):
        raise ValueError("its checksum does not match; it must not be edited")
    version = document.pop("version")
    if version == 1:
        return Identity(**_members(document), initial=document["joined"])
    if version != IDENTITY_VERSION:
        raise ValueError(other_version(version, IDENTITY_VERSION))
    document["start"] = Start(**document["start"])
    starts_seen = document["starts_seen"].items()
    document["starts_seen"] = {node_id: Start(**start) for node_id, start in starts_seen}
    return Identity(**_members(document))


def _members(document: dict[str, Any]) -> dict[str, Any]:
    """Return what this release knows, with node ids as numbers, which JSON's keys cannot be.

    A newer release of the same version may have added members that one can do without.
    """
    return {
        name: {int(node_id): known for node_id, known in value.items()}
        if name in _BY_NODE_ID
        else value
        for name, value in document.items()
        if name in _MEMBERS
    }


def _checksum(document: dict[str, object]) -> int:
    return crc32(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
