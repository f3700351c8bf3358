"""Metrics as text, in the form and the coding that the scraper asks for.

Every sample says which cluster, AZ and process it is of: the process knows, a scraper may not, and
an address says nothing to whoever is woken.
"""

from __future__ import annotations

import copy
import gzip
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import exposition
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, gzip_accepted
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

OPENMETRICS: Final = b"application/openmetrics-text"

GZIP_LEVEL: Final = 1
"""zlib's level. Ours: the page shrinks to a tenth, and higher levels take several times as long."""


def identity_labels(*, cluster: str, az: str, name: str) -> dict[str, str]:
    """Return the labels that every sample of a process has."""
    return {"cluster": cluster, "az": az, "name": name}


def expose(
    families: Iterable[Metric], labels: Mapping[str, str], headers: Mapping[bytes, bytes]
) -> tuple[bytes, bytes]:
    """Return (header lines, body) for a request's headers. It takes milliseconds: use a thread."""
    collected = _Labelled(families, labels)
    if _takes_openmetrics(headers.get(b"accept", b"")):
        body = openmetrics.generate_latest(collected)  # type: ignore[no-untyped-call]
        content_type = openmetrics.CONTENT_TYPE_LATEST
    else:
        body, content_type = exposition.generate_latest(collected), CONTENT_TYPE_PLAIN_0_0_4
    lines = b"Content-Type: %b\r\n" % content_type.encode()
    if gzip_accepted(headers.get(b"accept-encoding", b"").decode("latin-1")):
        body = gzip.compress(body, GZIP_LEVEL, mtime=0)
        lines += b"Content-Encoding: gzip\r\n"
    return lines, body


def _takes_openmetrics(accept: bytes) -> bool:
    return any(part.partition(b";")[0].strip() == OPENMETRICS for part in accept.split(b","))


class _Labelled(Collector):
    """Metrics that are there already, each sample with more labels."""

    def __init__(self, families: Iterable[Metric], labels: Mapping[str, str]) -> None:
        self._families = families
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """Return them."""
        for family in self._families:
            labelled = copy.copy(family)
            labelled.samples = [
                sample._replace(labels={**self._labels, **sample.labels})
                for sample in family.samples
            ]
            yield labelled
