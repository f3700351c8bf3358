"""What is observed as it happens: log commits and the loop's delays, some microseconds each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector

from node.logs import log
from node.write_watch import WriteWatch
from quorate.buckets import DELAY_SECONDS

if TYPE_CHECKING:
    from node.storage.log import LogRecord
    from node.tracing import NodeTracing

PREFIX: Final = "quorate_node_"

COMMIT_BUCKETS_SECONDS: Final = (
    0.00025, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016, 0.024, 0.032, 0.064,
    0.128, 0.256, 0.512, 1.0, 2.0,
)  # fmt: skip
"""From a write cache that does not sync to a disk that gives up; closest together where disks are
that do. Ours."""

ENTRY_BUCKETS: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Entries in one log commit: at most one a group, or what a follower is sent. Ours."""

BYTE_BUCKETS: Final = tuple(float(1 << power) for power in range(8, 25, 2))
"""256 bytes to 16 MiB. Ours."""


class Observed:
    """Histograms, and what the system knows of the process, in a registry of their own."""

    def __init__(self, *, slow_seconds: float, tracing: NodeTracing | None = None) -> None:
        """Start with nothing observed. Entries that take longer than `slow_seconds` are logged."""
        self._tracing = tracing
        self.writes = WriteWatch(log, time.time, slow_seconds=slow_seconds, tracing=tracing)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._commit_seconds = self._histogram(
            "log_commit_duration_seconds",
            "Time that a commit of the log took on its thread, its fsync included.",
            COMMIT_BUCKETS_SECONDS,
        )
        self._commit_entries = self._histogram(
            "log_commit_entries", "Raft entries in a commit of the log.", ENTRY_BUCKETS
        )
        self._commit_bytes = self._histogram(
            "log_commit_size_bytes", "Bytes of a commit of the log.", BYTE_BUCKETS
        )
        self._loop_delay = self._histogram(
            "loop_delay_seconds",
            "How late the loop's tick came: what everything on it had to wait for.",
            DELAY_SECONDS,
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, text, buckets=buckets, registry=self.registry)

    def close(self) -> None:
        """Let the last spans leave."""
        if self._tracing is not None:
            self._tracing.close()

    def log_committed(self, record: LogRecord, seconds: float) -> None:
        """Observe one commit. On any thread."""
        self._commit_seconds.observe(seconds)
        self._commit_entries.observe(record.entry_count)
        self._commit_bytes.observe(record.size_bytes)

    def loop_delayed(self, seconds: float) -> None:
        """Observe how late one tick came."""
        self._loop_delay.observe(max(0.0, seconds))
