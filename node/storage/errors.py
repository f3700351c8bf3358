"""What can go wrong with a data directory, by what the node must do about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class StorageError(Exception):
    """Base of everything that `node.storage` raises on purpose."""


class StorageFailed(StorageError):
    """The disk or LMDB did something unexpected: the process must exit, and never retry."""


class StorageFull(StorageError):
    """No room for this write: it was refused before its sync and nothing has changed."""


@dataclass(eq=False)
class Corrupt(StorageError):
    """Bytes read back are not the bytes written. Base of `CorruptLog` and its siblings."""

    what: str
    where: str
    what_to_do: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}. {self.what_to_do}"


class CorruptLog(Corrupt):
    """The log cannot be trusted: this node must not vote or acknowledge with it."""


class CorruptItems(Corrupt):
    """The items store cannot be trusted: the replicas in it must be filled from others."""


class CorruptIdentity(Corrupt):
    """The identity file is damaged."""


@dataclass(eq=False)
class StoresDisagree(StorageError):
    """Log and items are each whole, but a replica cannot have left behind both of them."""

    group: int
    why: str

    def __str__(self) -> str:
        return (
            f"log/ and items/ do not fit together: group {self.group}: {self.why}. They are not of "
            "one node, or not of one moment. Restore the directory whole; or move it away and "
            "replace the node (quorate node replace)"
        )


@dataclass(eq=False)
class NotADataDirectory(StorageError):
    """The directory to look at has nothing of a node in it."""

    path: Path

    def __str__(self) -> str:
        return (
            f"{self.path} is not a node's data directory: it has no identity.json, log/ or items/. "
            "Give the directory of one node, DATA/nodes/NAME"
        )


@dataclass(eq=False)
class DirectoryInUse(StorageError):
    """Another process holds the data directory."""

    path: Path
    pid: int | None

    def __str__(self) -> str:
        holder = f"process {self.pid}" if self.pid is not None else "another process"
        return f"{self.path} is in use by {holder}; stop it first, or use another data directory"


@dataclass(eq=False)
class DirectoryUnusable(StorageError):
    """The data directory cannot be created, read or written."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} cannot be used as a data directory: {self.reason}"


@dataclass(eq=False)
class ForeignDirectory(StorageError):
    """The data directory belongs to another cluster or another node."""

    path: Path
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.path} belongs to {self.found}, not to {self.expected}; "
            "give this node its own data directory"
        )


@dataclass(eq=False)
class ForeignStore(StorageError):
    """The log or the items were made in another data directory than the identity beside them."""

    path: str
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"{self.path} is of another data directory (incarnation {self.found}) than the "
            f"identity.json beside it ({self.expected}): its votes and acknowledgements are not "
            "this node's. Restore the directory whole; or move it away and replace the node "
            "(quorate node replace)"
        )


@dataclass(eq=False)
class IdentityLost(StorageError):
    """There is data, but no identity file: nobody can say whose votes these are."""

    path: Path

    def __str__(self) -> str:
        return (
            f"{self.path} holds data but no identity.json: it may be half restored or half "
            "deleted. Restore identity.json from the same copy as the data; or move the whole "
            "directory away and replace the node (quorate node replace)"
        )


@dataclass(eq=False)
class DataLost(StorageError):
    """The identity has taken part in a cluster, but its log or its items are gone."""

    path: Path
    missing: str

    def __str__(self) -> str:
        return (
            f"{self.path} has an identity that has taken part in a cluster, but {self.missing}/ is "
            "missing: this node has forgotten its votes and must not vote again under this "
            "identity. Restore the directory whole; or move it away and replace the node (quorate "
            "node replace)"
        )
