"""What the host needs of the world: a process gives it, or a simulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from node.peer_batch import PeerBatch
from node.storage.log import LogRecord
from quorate.cluster.catalog import Catalog
from quorate.cluster.commands import CatalogCommand
from raft.types import Message


class Shell(Protocol):
    """What the host needs of the world."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    def wall_clock(self) -> float:
        """Return seconds since 1970, as far as this machine knows; the clock may be set."""
        ...

    def schedule_turn(self) -> None:
        """Call `Host.turn` soon."""
        ...

    def send(self, outbox: PeerBatch) -> None:
        """Send a batch to the node that it is for; it may be lost."""
        ...

    def write_log(self, record: LogRecord) -> None:
        """Commit a record on the log's thread, then call `log_written` or `log_refused`."""
        ...

    def write_items(self, job: Callable[[], None], done: Callable[[bool], None]) -> None:
        """Run a job on the items store's thread, in order; then `done(whether there was room)`."""
        ...

    def send_snapshot(self, group: int, message: Message) -> None:
        """Stream a replica's items to `message.to`, then call `snapshot_sent`."""
        ...

    def catalog_changed(self, catalog: Catalog) -> None:
        """Take note of a new catalog."""
        ...

    def want_catalog(self, epoch: int) -> None:
        """Find a catalog of this epoch or a newer one: a router has it, and this node does not."""
        ...

    def change_catalog(self, command: CatalogCommand) -> None:
        """Have the catalog's leader apply a command, wherever it is; it may be lost."""
        ...

    def log(self, event: str, **facts: object) -> None:
        """Log one fact."""
        ...
