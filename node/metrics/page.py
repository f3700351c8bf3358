"""The page that Prometheus gets."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from node.metrics.observed import PREFIX, Observed
from node.metrics.reading import Reading, families, read
from node.shell import ProcessShell
from quorate import __version__
from quorate.exposition import expose
from quorate.security.watched_files import Expiring


class MetricsPage:
    """All metrics of one node."""

    def __init__(
        self,
        observed: Observed,
        *,
        labels: Mapping[str, str],
        data_dir: Path,
        certificate: Callable[[], Expiring] | None,
    ) -> None:
        """All samples have `labels`.

        `data_dir` lies on the disk that may fill up; `certificate` is what peers are shown.
        """
        self._observed = observed
        self._certificate = certificate
        self._data_dir = data_dir
        self._labels = labels

    async def scrape(
        self, shell: ProcessShell | None, headers: Mapping[bytes, bytes]
    ) -> tuple[bytes, bytes]:
        """Return header lines and the page, as a request's headers want it.

        Before the node takes part, `shell` is None and there is less on it.
        """
        ready = shell is not None and not shell.unready_reason()
        reading = None if shell is None else read(shell)
        metrics = self._metrics(reading, ready=ready)
        return await asyncio.to_thread(expose, metrics, self._labels, headers)

    def _metrics(self, reading: Reading | None, *, ready: bool) -> Iterator[Metric]:
        build = GaugeMetricFamily(PREFIX + "build_info", "Always 1.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build
        yield GaugeMetricFamily(PREFIX + "ready", "1 if /ready says so.", value=ready)
        disk = shutil.disk_usage(self._data_dir)
        yield GaugeMetricFamily(
            PREFIX + "disk_size_bytes", "Size of the data directory's disk.", value=disk.total
        )
        yield GaugeMetricFamily(
            PREFIX + "disk_free_bytes", "Free bytes of that disk, for this user.", value=disk.free
        )
        yield GaugeMetricFamily(
            PREFIX + "certificate_expires_timestamp_seconds",
            "When the certificate that the other processes are shown ends; nothing without one.",
            value=None if self._certificate is None else self._certificate().expires,
        )
        yield from self._observed.registry.collect()
        if reading is not None:
            yield from families(reading)
