"""Where the stores of these tests live, and the cluster that most stories begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.node.harness import Cluster

MEMORY = Path("/dev/shm")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: the stores sync thousands of times."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(prefix="quorate-", dir=MEMORY) as name:
        yield Path(name)


@pytest.fixture
def cluster(directory: Path) -> Iterator[Cluster]:
    """Three nodes, one partition led by node 1, a table with id 1, nothing on its way."""
    cluster = Cluster(directory)
    cluster.bootstrap(partitions=1)
    yield cluster
    cluster.close()
