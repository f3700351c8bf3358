"""Whose data directory this is: one process at a time, one node for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Identity:
    """What identity.json says. Compare `incarnation` with what peers remember of this node."""

    cluster_id: str
    node_id: int
    name: str
    az: str
    incarnation: str  # drawn anew whenever a directory is created
    joined: bool = False  # the peers have accepted this incarnation
    peers: dict[int, str] = field(default_factory=dict)  # node id -> incarnation last seen


class DirectoryLock:
    """Exclusive use of a data directory until `release` or the end of the process."""

    @classmethod
    def acquire(cls, directory: Path) -> DirectoryLock:
        """Create the directory if need be, and lock it.

        Raises DirectoryInUse (with the holder's pid) or DirectoryUnusable.
        """
        raise NotImplementedError

    def check_in_place(self) -> None:
        """Raise StorageFailed if the directory was deleted or replaced under us."""
        raise NotImplementedError

    def release(self) -> None:
        """Let the directory go."""
        raise NotImplementedError


def load_identity(directory: Path) -> Identity | None:
    """Return the identity, or None for a directory that has never been used.

    Raises CorruptIdentity, IdentityLost (data without identity), DirectoryUnusable.
    """
    raise NotImplementedError


def save_identity(directory: Path, identity: Identity) -> None:
    """Write identity.json atomically and durably. Raises StorageFull, StorageFailed."""
    raise NotImplementedError


def check_identity(
    directory: Path, identity: Identity, *, cluster_id: str, node_id: int, name: str
) -> None:
    """Raise ForeignDirectory unless the identity is the expected one."""
    raise NotImplementedError
