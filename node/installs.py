"""Carries out the installs of a node: a transaction of one, then whatever else waits for the store.

Checkpoints of other groups, and installs of others, have their turns between two transactions. An
install that has begun has no way but on: it waits for room, for as long as that takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from node.storage.items import InstallRecord, ItemStore
from quorate.troubles import Troubles

FULL_RETRY_SECONDS: Final = 0.5
"""Pause before a transaction that found the disk full is tried again. Ours."""


class Shell(Protocol):
    """The part of the host's shell that installs need."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        ...

    def write_items(self, job: Callable[[], None], done: Callable[[bool], None]) -> None:
        """Run a job on the items store's thread, in order; then `done(whether there was room)`."""
        ...

    def log(self, event: str, **facts: object) -> None:
        """Log one fact."""
        ...


class SnapshotSource(Protocol):
    """A snapshot that has arrived whole and verified. See `node.storage.items_install`."""

    record: InstallRecord
    state: bytes  # what the replica keeps beside its items; there once the install is done

    @property
    def begun(self) -> bool:
        """Whether the old items are gone, so that there is no way but on."""
        ...

    def take_step(self, items: ItemStore) -> bool:
        """Do one transaction; whether there are more. Runs on the items store's thread."""
        ...

    def discard(self) -> None:
        """Delete what was received."""
        ...


@dataclass(slots=True)
class _Install:
    """One install; `more` is what its last step said."""

    source: SnapshotSource
    done: Callable[[bool], None]
    more: bool = True
    retry_at: float = 0.0


class Installs:
    """At most one install a group; the host sees to that."""

    def __init__(self, items: ItemStore, shell: Shell) -> None:
        """Start with nothing under way."""
        self._items = items
        self._shell = shell
        self._paused: list[_Install] = []
        self._waits = Troubles(
            "install_waits_for_room", "install_goes_on", clock=shell.monotonic, say=shell.log
        )

    def start(self, source: SnapshotSource, done: Callable[[bool], None]) -> None:
        """Install, then `done(True)`; `done(False)` if there was no room to begin.

        What was received is deleted before `done` is called.
        """
        self._submit(_Install(source, done))

    def discard(self, source: SnapshotSource) -> None:
        """Delete what nobody wants any more; not here, for a large file takes its time."""
        self._shell.write_items(source.discard, lambda _: None)

    def tick(self, now: float) -> None:
        """Try again what has waited for room long enough."""
        if not self._paused:
            return
        due = [install for install in self._paused if install.retry_at <= now]
        self._paused = [install for install in self._paused if install.retry_at > now]
        for install in due:
            self._submit(install)

    def _submit(self, install: _Install) -> None:
        def job() -> None:
            install.more = install.source.take_step(self._items)
            if not install.more:
                install.source.discard()

        self._shell.write_items(job, lambda stored: self._follow(install, stored=stored))

    def _follow(self, install: _Install, *, stored: bool) -> None:
        self._items.refresh()
        group = install.source.record.group
        if stored:
            self._waits.over(group, group=group)
        if stored and install.more:
            self._submit(install)
        elif stored:
            install.done(True)  # noqa: FBT003 - a callback of the host
        elif install.source.begun:
            self._waits.met(group, group=group)
            install.retry_at = self._shell.monotonic() + FULL_RETRY_SECONDS
            self._paused.append(install)
        else:
            self.discard(install.source)
            install.done(False)  # noqa: FBT003 - a callback of the host
