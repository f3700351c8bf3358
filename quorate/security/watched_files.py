"""Certificates that change while a process runs: what its files held last that was good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from quorate.logs import error, log, warn
from quorate.security.certificate_pair import CertificateRefused

POLL_SECONDS: Final = 5.0
"""How often `refresh` is to be called. Ours: a few calls of stat."""

WARNING_SECONDS: Final = 14 * 86_400
"""A certificate that ends so soon is warned about. Ours: time for a person to act."""

WARNING_PAUSE_SECONDS: Final = 86_400
"""Between two warnings about one certificate. Ours."""

Stamp = tuple[tuple[int, int], ...]


class Expiring(Protocol):
    """What is in the files; `expires` is in seconds after 1970."""

    @property
    def expires(self) -> float:
        """When nobody takes it any more."""
        ...


T = TypeVar("T", bound=Expiring)


class WatchedFiles(Generic[T]):
    """Some files, the certificate's first, whose newest good content is `current`."""

    def __init__(
        self,
        *paths: Path,
        load: Callable[[float], T],
        wall_clock: Callable[[], float],
    ) -> None:
        """Read the files: `load` gets the seconds after 1970 that `wall_clock` gives.

        Raises CertificateRefused, as `load` does.
        """
        self._paths = paths
        self._load = load
        self._wall_clock = wall_clock
        self._stamp = self._read_stamp()  # before the files: what changes meanwhile is seen later
        self._next_warning = 0.0
        self.current = load(wall_clock())
        self._warn_of_end()

    def refresh(self) -> None:
        """Take what the files hold now, if they have changed; what is broken is logged, not taken.

        Changes are seen by the files' times and inodes.
        """
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self.current = self._load(self._wall_clock())
            except CertificateRefused as refusal:
                error("old_certificate_stays", because=refusal)
            else:
                self._next_warning = 0.0
                log("new_certificate", ends=_date(self.current.expires))
        self._warn_of_end()

    def _warn_of_end(self) -> None:
        now = self._wall_clock()
        if now > self.current.expires - WARNING_SECONDS and now >= self._next_warning:
            self._next_warning = now + WARNING_PAUSE_SECONDS
            warn("certificate_ends", file=self._paths[0], on=_date(self.current.expires))

    def _read_stamp(self) -> Stamp:
        """Return what changes when a file does; a file that is not there has a stamp, too."""
        stamps = []
        for path in self._paths:
            try:
                status = path.stat()
            except OSError:
                stamps.append((0, 0))
            else:
                stamps.append((status.st_mtime_ns, status.st_ino))
        return tuple(stamps)


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%F %T} UTC"
